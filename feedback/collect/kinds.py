"""What every kind of feedback turns into before it is stored. The kinds themselves have a file each."""

from dataclasses import dataclass, field
from typing import Any

MAX_TAGS = 20
MAX_TAG = 50
"""Characters a tag may have."""


@dataclass(frozen=True)
class Parsed:
    value: dict[str, Any] = field(default_factory=dict)
    """The kind's payload, as the `feedback` table keeps it."""
    score: float | None = None
    """A rating as -1 … +1; a tie as +1 (both good) or -1 (both bad)."""
    about: str | None = None
    """What a contributor has one current word on; None: words add up instead of replacing each other."""
    report_category: str | None = None
