"""What flows through the pipeline: one item a piece of feedback, and a note for each that was dropped."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from feedback.states import FeedbackKind, MessageStatus, ReviewDecision, Side

Turns = tuple[tuple[str, str], ...]
"""((role, content), …), oldest first."""


@dataclass(frozen=True)
class Item:
    feedback_ids: tuple[int, ...]
    kind: FeedbackKind
    history: Turns
    reply: str
    reply_version: str | None  # sha256 of the adapter that wrote it, or `base`; None: imported, nobody knows
    created_at: datetime
    contributor: str | None = None  # None: anonymous
    side: Side | None = None  # the contributor's, fixed for good; anonymous items get theirs in split
    score: float | None = None
    correction: str | None = None
    key_facts: tuple[str, ...] = ()
    rejected: str | None = None  # the other side of a preference
    rejected_version: str | None = None
    store: bool | None = None  # the request's grant
    training: bool | None = None  # the giver's grant
    review: ReviewDecision | None = None
    reply_status: MessageStatus = MessageStatus.COMPLETE
    rejected_status: MessageStatus = MessageStatus.COMPLETE
    cluster: str = ""  # set in split

    @property
    def prompt_text(self) -> str:
        """What was asked, for comparing: all turns but the system's."""
        return "\n".join(content for role, content in self.history if role != "system")

    @property
    def taught(self) -> str:
        """The text that this item calls good (or, for a low rating, bad)."""
        return self.correction or self.reply


@dataclass(frozen=True)
class Dropped:
    feedback_ids: tuple[int, ...]
    stage: str
    reason: str


Stage = Callable[[list[Item]], tuple[list[Item], list[Dropped]]]


_AROUND_WORDS = re.compile(r"(?<!\S)[^\w\s+#-]+|[^\w\s+#%-]+(?!\S)")


def tidy(text: str) -> str:
    """Case, spacing and the punctuation around words don't tell what two people said apart; a sign does.

    >>> tidy(" In  C++,   it is -5. ")
    'in c++ it is -5'
    """
    return " ".join(_AROUND_WORDS.sub(" ", text.casefold()).split())


def normalise(text: str) -> str:
    """Nor does punctuation, where likeness is all that matters.

    >>> normalise("  How much,\\nplease?")
    'how much please'
    """
    return re.sub(r"\W+", " ", text.casefold()).strip()


def drop_where(
    items: Iterable[Item], stage: str, why: Callable[[Item], str | None]
) -> tuple[list[Item], list[Dropped]]:
    """Keep the items for which `why` has nothing to say."""
    kept: list[Item] = []
    dropped: list[Dropped] = []
    for item in items:
        reason = why(item)
        if reason is None:
            kept.append(item)
        else:
            dropped.append(Dropped(item.feedback_ids, stage, reason))
    return kept, dropped
