"""Text that people type, brought into the form in which it is stored."""

import unicodedata

from ._refusals import refusal


def single_line(text: str, *, what: str, length_max: int) -> str:
    """`text` in Unicode's composed form, trimmed, each run of white space one blank.

    Raises refusal `TextEmpty` or `TextTooLong`; `what` names the text in the message, lengths are in characters.
    """
    return _bounded(" ".join(unicodedata.normalize("NFC", text).split()), what=what, length_max=length_max)


def paragraphs(text: str, *, what: str, length_max: int) -> str:
    """`text` in Unicode's composed form without white space around it; line breaks inside are kept.

    Raises refusal `TextEmpty` or `TextTooLong`, as `single_line`.
    """
    return _bounded(unicodedata.normalize("NFC", text).strip(), what=what, length_max=length_max)


def _bounded(text: str, *, what: str, length_max: int) -> str:
    if not text:
        raise refusal("TextEmpty", f"{what} is empty.")
    if len(text) > length_max:
        raise refusal("TextTooLong", f"{what} has {len(text)} characters; at most {length_max} are allowed.")
    return text
