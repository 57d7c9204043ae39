"""What the console's addresses and forms ask for, read alike everywhere: states, places in lists, reasons."""

from enum import StrEnum
from typing import TypeVar

from feedback.errors import InvalidInput
from service.web.page import Form, Page

MOST_REASON = 500
SAID_HERE = "asked for in the console"
Word = TypeVar("Word", bound=StrEnum)


def one_of(words: type[Word], page: Page, name: str) -> Word | None:
    """The state that a parameter names; None where it is empty. Raises InvalidInput."""
    said = page.asked(name)
    if said is not None and said not in list(words):
        raise InvalidInput(f"`{name}` is one of {', '.join(words)}.", param=name)
    return words(said) if said is not None else None


def place(text: str | None) -> int | None:
    """A row's or a version's number; None for what isn't one.

    >>> place("12"), place("-1"), place("9" * 30), place(None)
    (12, None, None, None)
    """
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None


def reason(form: Form) -> str:
    """As it is kept in the audit log."""
    given = form.given("reason") or SAID_HERE
    if len(given) > MOST_REASON:
        raise InvalidInput(f"A reason has {MOST_REASON} characters at most, not {len(given)}.", param="reason")
    return given
