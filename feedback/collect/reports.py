"""Reports: something is wrong with a reply. A report opens a case for a person; it never trains by itself."""

from typing import Any

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput

CATEGORIES = ("abuse", "bias", "privacy", "wrong", "other")


def parse(value: Any) -> Parsed:
    if value not in CATEGORIES:
        raise InvalidInput(f"A report's `value` is one of {', '.join(CATEGORIES)}.", param="value")
    return Parsed({"category": value}, report_category=value)
