"""Schemas that cannot be: `load_app` names file, line, table and index, and says how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from concave.functions.loader import LoadError, load_app

Write = Callable[[dict[str, str]], Path]

IMPORTS = "from concave import define_table, v\n"
USERS = 'users = define_table(name=v.string(), home=v.object({"city": v.string()}))'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes modules, each with the imports on its first line; returns the app's directory."""

    def write(modules: dict[str, str]) -> Path:
        app = tmp_path / "app"
        app.mkdir()
        for name, text in modules.items():
            (app / name).write_text(IMPORTS + text)
        return app

    return write


def problems(app: Path) -> list[str]:
    with pytest.raises(LoadError) as raised:
        load_app(app)
    head, *lines = str(raised.value).splitlines()
    count = len(raised.value.problems)
    assert head == f"the app in {app} cannot be loaded ({count} problem{'s' if count != 1 else ''}):"
    return [line.strip() for line in lines if line.startswith("  app/")]


def test_a_duplicate_table(write: Write) -> None:
    app = write({"people.py": USERS + "\n", "staff.py": "\n\nusers = define_table(badge=v.string())\n"})
    [problem] = problems(app)
    assert problem == (
        "app/staff.py:4: the table `users` is defined twice; the other is at app/people.py:2: "
        "rename one of the variables"
    )


def test_one_table_with_two_names(write: Write) -> None:
    [problem] = problems(write({"people.py": f"{USERS}\nstaff = users\n"}))
    assert problem.startswith("app/people.py:2: one table is bound to two names, `users` and `staff`.")
    assert "call define_table(...) a second time" in problem


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (
            '.index("by_nmae", ["nmae"])',
            "index `by_nmae`: the field `nmae` can never exist: the documents cannot have a field `nmae`. "
            "Did you mean `name`?",
        ),
        (
            '.index("by_town", ["home.town"])',
            "index `by_town`: the field `home.town` can never exist: `home` cannot have a field `town`. "
            "There are `city`.",
        ),
        (
            '.index("by_part", ["name.first"])',
            "index `by_part`: the field `name.first` can never exist: `name` cannot have a field `first`. "
            "Only objects have fields that can be indexed.",
        ),
        ('.index("none", [])', "index `none`: the index has no fields. Name at least one field."),
        ('.index("by_both", ["name", "name"])', "index `by_both`: `name` is there twice. Name it once."),
        ('.index("by_name", ["_id"])', "index `by_name`: `_id` cannot be indexed. To load by id use `ctx.db.get`."),
        ('.index("by_time", ["_creationTime"])', "index `by_time`: `_creationTime` cannot be named. Leave it out"),
        ('.index("by_id", ["name"])', "index `by_id`: the name `by_id` belongs to the system. Rename the index"),
        ('.index("by name", ["name"])', "index `by name`: 'by name' is no valid index name."),
        (
            '.index("by_name", ["name"]).index("by_name", ["home"])',
            "index `by_name`: another index of this name is defined at app/people.py:2. Rename one",
        ),
        (
            '.index("by_name", ["name"]).index("by_title", ["name"])',
            "index `by_title`: index `by_name` at app/people.py:2 has the same fields. Keep one of them.",
        ),
        (
            '.search_index("search", search_field="text")',
            "index `search`: the search field `text` can never exist",
        ),
    ],
)
def test_an_index_that_cannot_be(write: Write, index: str, says: str) -> None:
    [problem] = problems(write({"people.py": USERS + index + "\n"}))
    assert problem.startswith(f"app/people.py:2: table `users`, {says}")


def test_an_index_with_too_many_columns(write: Write) -> None:
    fields = "{f'f{n}': v.string() for n in range(16)}"
    names = "[f'f{n}' for n in range(%d)]"
    app = write({"wide.py": f"users = define_table({fields}).index('wide', {names % 16})\n"})
    [problem] = problems(app)
    assert problem.startswith("app/wide.py:2: table `users`, index `wide`: 16 fields, 15 are allowed. Leave out")
    (app / "wide.py").write_text(f"{IMPORTS}users = define_table({fields}).index('wide', {names % 15})\n")
    assert list(load_app(app).schema.tables) == ["users"]


def test_too_many_indexes(write: Write) -> None:
    app = write(
        {
            "many.py": """
users = define_table({f"f{n}": v.string() for n in range(33)})
for n in range(33):
    users.index(f"by_{n}", [f"f{n}"])
"""
        }
    )
    [problem] = problems(app)
    assert problem.startswith("app/many.py:5: table `users`, index `by_32`: 33 indexes, 32 are allowed. Remove some")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (
            'users = define_table(team=v.id("taems"))\nteams = define_table(name=v.string())',
            'table `users`: at `.team`: v.id("taems") names a table that the schema lacks. Did you mean `teams`?',
        ),
        ("_users = define_table(name=v.string())", "table `_users`: names that start with `_` belong to the system."),
        ("users = define_table(v.string())", "table `users`: documents cannot be v.string(). A table holds objects"),
        ("users = define_table(name=str)", "define_table at app/people.py:2, field `name`: <class 'str'> is no valida"),
        ("users = define_table({'a b': v.string()})", "table `users`: at `.`: 'a b' is no valid field name"),
        ("users = define_table({'$a': v.string()})", "table `users`: at `.`: '$a' is no valid field name"),
        (
            "users = define_table(a=v.string()).index('by_a', 'a')",
            "the fields of index `by_a` must be a list of strings",
        ),
    ],
)
def test_a_table_that_cannot_be(write: Write, table: str, says: str) -> None:
    [problem] = problems(write({"people.py": table + "\n"}))
    assert problem.startswith(f"app/people.py:2: {says}")


def test_all_problems_are_told_at_once(write: Write) -> None:
    app = write(
        {
            "a.py": USERS + '.index("by_x", ["x"])\n',
            "b.py": "rooms = define_table(owner=v.id('usres'))\n",
            "c.py": "def broken(:\n",
            "d.py": "import nowhere_to_be_found\n",
        }
    )
    found = problems(app)
    assert [problem.partition(": ")[0] for problem in found] == ["app/a.py:2", "app/b.py:2", "app/c.py:2", "app/d.py:2"]


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("def broken(:\n", 2, "SyntaxError: invalid syntax"),
        ("x = (1,\n", 2, "SyntaxError: '(' was never closed"),
        ("import nowhere_to_be_found\n", 2, "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("from concave import no_such_thing\n", 2, "ImportError: cannot import name 'no_such_thing'"),
        ("from .elsewhere import x\n", 2, "ModuleNotFoundError: No module named"),
        ("raise SystemExit('enough')\n", 2, "SystemExit: enough"),
        ("users = define_table(name=v.strnig())\n", 2, "AttributeError: "),
        ("def f():\n\tif True:\n        pass\n", 4, "TabError: "),
        ("def f():\n    return 1 / 0\n\nf()\n", 3, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported(write: Write, source: str, line: int, says: str) -> None:
    [problem] = problems(write({"people.py": source}))
    assert problem.startswith(f"app/people.py:{line}: {says}")
