"""What flows through the pipeline: one item a piece of feedback, and a note for each that was dropped.

A million of them have to fit into memory: an item is small, and everything said about one reply shares an exchange.
Neither is changed by a stage: what changes is replaced.
"""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from feedback.states import FeedbackKind, MessageStatus, ReviewDecision, Side

IMPORTED = "import:"
"""What the source of an imported piece of feedback begins with; the file's name follows."""
Turns = tuple[tuple[str, str], ...]
"""((role, content), …), oldest first."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A reply and what led to it."""

    id: int  # of the reply's message
    conversation: int
    history: Turns
    reply: str
    version: str | None = None  # sha256 of the adapter that wrote it, or `base`; None: came from elsewhere
    store: bool | None = None  # the request's grant
    status: MessageStatus = MessageStatus.COMPLETE
    cut_off: bool = False  # it reached the token limit

    @property
    def question(self) -> str:
        """What was asked, for comparing: all turns but the system's."""
        return "\n".join(content for role, content in self.history if role != "system")


@dataclass(slots=True, eq=False)
class Item:
    id: int  # of the feedback
    kind: FeedbackKind
    exchange: Exchange
    created_at: float  # seconds since 1970
    contributor: str | None = None  # None: anonymous
    side: Side | None = None  # the contributor's, fixed for good; others get theirs in split
    score: float | None = None
    correction: str | None = None
    key_facts: tuple[str, ...] = ()
    expires_at: float | None = None  # when a correction stops being true, in seconds since 1970
    rejected: Exchange | None = None  # the other side of a preference
    tie: Literal["good", "bad"] | None = None  # both sides are
    training: bool | None = None  # the giver's grant
    review: ReviewDecision | None = None
    source: str | None = None  # `operator`: one's own word, or `import:FILE`: brought in by one; None: anybody's
    merged: tuple[int, ...] = ()  # feedback that said the same and counts with it
    voices: int = 1  # contributors among those who said it; a nobody counts as one alone
    synthetic: bool = False
    quarantined: bool = False  # its giver is held back

    @property
    def feedback_ids(self) -> tuple[int, ...]:
        return (self.id, *self.merged)

    @property
    def taught(self) -> str:
        """The text that this item calls good (or, for a low rating, bad)."""
        return self.correction or self.exchange.reply

    @property
    def good(self) -> bool:
        """Whether it says that its text is one to give."""
        return self.tie == "good" if self.tie else self.kind != FeedbackKind.RATING or (self.score or 0) > 0

    @property
    def trusted(self) -> bool:
        """Somebody who may decide has decided: nobody else's word is needed."""
        return self.source is not None or self.review == ReviewDecision.APPROVED


class Dropped(NamedTuple):
    id: int  # of the feedback
    stage: str
    reason: str
    to_review: bool = False  # a person is to look at it; else it is just not used
    follows: bool = False  # it counted with another one, as duplicates said, and goes with that one


class Drops:
    """Everything that was dropped; a million of them in eight megabytes."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str, bool, bool], array[int]] = {}

    def add(self, dropped: Iterable[Dropped]) -> None:
        for number, stage, reason, to_review, follows in dropped:
            self._ids.setdefault((stage, reason, to_review, follows), array("q")).append(number)

    def __iter__(self) -> Iterator[Dropped]:
        return (Dropped(number, *why) for why, ids in self._ids.items() for number in ids)

    def by_reason(self, *, followers: bool = True) -> dict[tuple[str, str, bool], Sequence[int]]:
        """(stage, reason, whether a person is to look at it) → ids of feedback, in the order of the stages."""
        found: dict[tuple[str, str, bool], array[int]] = {}
        for (stage, reason, to_review, follows), ids in self._ids.items():
            if followers or not follows:
                found.setdefault((stage, reason, to_review), array("q")).extend(ids)
        return dict(found)


Stage = Callable[[list[Item]], tuple[list[Item], list[Dropped]]]


_AROUND_WORDS = re.compile(r"(?<!\S)[^\w\s+#-]++|(?<=[\w+#%-])[^\w\s+#%-]++(?!\S)")
_ASCII = map(chr, range(128))
_BEFORE_WORDS = "".join(sign for sign in _ASCII if not sign.isalnum() and not sign.isspace() and sign not in "_+#-")
_AFTER_WORDS = _BEFORE_WORDS.replace("%", "")


def tidy(text: str) -> str:
    """Case, spacing and the punctuation around words don't tell what two people said apart; a sign does.

    >>> tidy(" In  C++,   it is -5. ")
    'in c++ it is -5'
    """
    if text.isascii():  # the same by cheaper means
        words = text.lower().split()
        bare = [one if one.isalnum() else one.rstrip(_AFTER_WORDS).lstrip(_BEFORE_WORDS) for one in words]
        return " ".join(filter(None, bare))
    return " ".join(_AROUND_WORDS.sub(" ", text.casefold()).split())


def normalise(text: str) -> str:
    """Nor does punctuation, where likeness is all that matters.

    >>> normalise("  How much,\\nplease?")
    'how much please'
    """
    return re.sub(r"\W+", " ", text.casefold()).strip()


def oldest_first(item: Item) -> tuple[float, int]:
    """A sort key that no two items share: what came in first doesn't depend on the order of the input."""
    return item.created_at, item.id


def drop(item: Item, stage: str, reason: str) -> list[Dropped]:
    """A note for the item and for everything that counts with it."""
    return [Dropped(number, stage, reason, follows=number != item.id) for number in item.feedback_ids]


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
            dropped += drop(item, stage, reason)
    return kept, dropped
