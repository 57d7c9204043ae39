"""What the console's forms have in common: whole numbers, and reasons."""

from feedback.errors import InvalidInput
from service.web.page import Form

MOST_REASON = 500
SAID_HERE = "asked for in the console"


def whole_number(form: Form, name: str) -> int | None:
    """None where it was left empty. Raises InvalidInput for what is no number."""
    given = form.given(name)
    if given is None:
        return None
    try:
        return int(given[:20])
    except ValueError:
        raise InvalidInput(f"'{given[:40]}' is no whole number.", param=name) from None


def reason(form: Form) -> str:
    """As it is kept in the audit log."""
    given = form.given("reason") or SAID_HERE
    if len(given) > MOST_REASON:
        raise InvalidInput(f"A reason has {MOST_REASON} characters at most, not {len(given)}.", param="reason")
    return given
