"""What is said in the demonstration workspace. No functions, only text; `demo.py` writes it."""

from dataclasses import dataclass, field

HOUR = 60
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Person:
    displayName: str
    title: str
    role: str


@dataclass(frozen=True, slots=True)
class Line:
    """One message. `author` and the people in `reactions` (emoji -> names, blanks between) are first names."""

    minutes_ago: int
    author: str
    body: str
    reactions: dict[str, str] = field(default_factory=dict)
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    name: str
    topic: str
    isDefault: bool
    lines: tuple[Line, ...]


PEOPLE = (
    Person("Maya Okafor", "Design lead", "owner"),
    Person("Jonas Berg", "Engineering", "admin"),
    Person("Priya Raman", "Product", "member"),
    Person("Tomás Herrera", "Customer support", "member"),
    Person("Lin Zhao", "Engineering", "member"),
)

GENERAL = Channel(
    "general",
    "Announcements and everything that concerns all of us",
    True,
    (
        Line(
            2 * DAY + 5 * HOUR,
            "Maya",
            "Good morning, everyone! Planning is at ten, as always in the big room.",
            {"👋": "Jonas Lin"},
        ),
        Line(
            2 * DAY + 5 * HOUR - 4,
            "Priya",
            "I will bring the numbers from last week. Short version: sign-ups are up by a fifth.",
            {"🎉": "Maya Jonas Tomás Lin", "🚀": "Maya"},
        ),
        Line(
            2 * DAY + 5 * HOUR - 6,
            "Tomás",
            "And support tickets are *not*. I am slightly suspicious.",
            {"😂": "Priya Maya Lin"},
        ),
        Line(
            2 * DAY + 3 * HOUR,
            "Jonas",
            "Notes:\n• onboarding ships on Thursday\n• Lin and I take the import\n• Maya shows the empty states",
            {"👍": "Maya Priya Lin"},
            edited=True,
        ),
        Line(DAY + 4 * HOUR, "Lin", "The import handles the 40,000 row file now. It takes eleven seconds here."),
        Line(DAY + 4 * HOUR - 1, "Lin", "It was four minutes on Monday."),
        Line(
            DAY + 4 * HOUR - 3,
            "Priya",
            "That is the customer from Lyon, isn't it? They will be delighted.",
            {"❤️": "Lin"},
        ),
        Line(DAY + 4 * HOUR - 9, "Tomás", "I'll write to them this afternoon. May I promise it for Thursday?"),
        Line(DAY + 4 * HOUR - 11, "Jonas", "Promise Friday, deliver on Thursday.", {"😂": "Tomás Priya", "👍": "Lin"}),
        Line(3 * HOUR, "Maya", "The empty states are in the design channel. Please be merciless, but before lunch."),
        Line(52, "Priya", "Release notes are drafted. Can somebody check the paragraph about permissions?"),
        Line(47, "Jonas", "Reading it now."),
        Line(
            31,
            "Jonas",
            "One sentence is wrong: guests see only the channels they were invited to. I have fixed it in the draft.",
            {"👀": "Priya"},
            edited=True,
        ),
        Line(28, "Priya", "Thank you! Then we are ready for tomorrow.", {"🚀": "Maya Lin Jonas"}),
        Line(
            6,
            "Tomás",
            "Lyon has answered already: “C'est magnifique.” I think that is good.",
            {"🎉": "Maya Priya Lin", "❤️": "Jonas"},
        ),
    ),
)

RANDOM = Channel(
    "random",
    "Coffee, cats, weekend plans",
    True,
    (
        Line(DAY + 7 * HOUR, "Tomás", "The coffee machine says “descale me”. It has been saying so since spring."),
        Line(DAY + 7 * HOUR - 2, "Lin", "It is a lifestyle, not a request.", {"😂": "Tomás Maya Priya"}),
        Line(
            DAY + 6 * HOUR,
            "Maya",
            "I did it. Ten minutes, and it sounds like a different machine.",
            {"❤️": "Tomás Lin Jonas Priya"},
        ),
        Line(DAY + HOUR, "Priya", "Who is in for the climbing hall on Saturday?"),
        Line(DAY + HOUR - 3, "Jonas", "In.", {"👍": "Priya"}),
        Line(DAY + HOUR - 8, "Lin", "In, if somebody holds the rope who has done it before."),
        Line(DAY + HOUR - 9, "Jonas", "I have done it before. Twice, even."),
        Line(
            4 * HOUR,
            "Tomás",
            "My cat has learned to open the fridge. Asking for advice, and for a lock.",
            {"😂": "Lin Maya", "👀": "Priya"},
        ),
    ),
)

DESIGN = Channel(
    "design",
    "Screens, words and the spaces between them",
    False,
    (
        Line(DAY + 3 * HOUR, "Maya", "First round of the empty states. One drawing each, one sentence, one button."),
        Line(DAY + 3 * HOUR - 7, "Priya", "I like that there is always exactly one thing to do next.", {"👍": "Maya"}),
        Line(DAY + 3 * HOUR - 12, "Lin", "The one for search says “Nothing found”. Could it say what it searched for?"),
        Line(
            DAY + 3 * HOUR - 14,
            "Maya",
            "Good point. “Nothing found for invoices in this channel”?",
            {"👍": "Lin Priya"},
        ),
        Line(
            3 * HOUR - 2, "Maya", "Second round: shorter sentences, larger buttons, and the search one names the word."
        ),
        Line(2 * HOUR + 40, "Jonas", "In the dark theme the drawings have a white edge, on my screen at least."),
        Line(2 * HOUR + 31, "Maya", "Seen and repaired. It was the export, not your screen.", {"🎉": "Jonas"}),
    ),
)

ENGINEERING = Channel(
    "engineering",
    "How it works, and why it sometimes does not",
    False,
    (
        Line(DAY + 6 * HOUR, "Jonas", "I would like to cut the import into pages of 500 rows, one transaction each."),
        Line(DAY + 6 * HOUR - 5, "Lin", "And if it stops in the middle?"),
        Line(
            DAY + 6 * HOUR - 6,
            "Jonas",
            "Each page writes down where it ended, in the same transaction. Starting again goes on from there.",
            {"👍": "Lin"},
        ),
        Line(
            DAY + 5 * HOUR,
            "Lin",
            "Measured it: 500 is good, 1,000 no faster, 5,000 collides with people who are working at the same time.",
        ),
        Line(DAY + 5 * HOUR - 2, "Jonas", "500 it is.", {"🚀": "Lin"}),
        Line(5 * HOUR, "Lin", "Test for the interrupted import is in. It pulls the plug at every page boundary."),
        Line(5 * HOUR - 3, "Jonas", "Did it find anything?"),
        Line(
            5 * HOUR - 4,
            "Lin",
            "One. The last page was counted twice if the plug was pulled exactly after it.",
            {"👀": "Jonas Priya"},
        ),
        Line(4 * HOUR + 20, "Jonas", "This is why we write such tests.", {"❤️": "Lin"}),
        Line(HOUR, "Priya", "Lovely. Is there a sentence about this that I may put into the release notes?"),
        Line(HOUR - 2, "Lin", "“An interrupted import goes on where it stopped.”", {"👍": "Priya Jonas"}),
    ),
)

CHANNELS = (GENERAL, RANDOM, DESIGN, ENGINEERING)
