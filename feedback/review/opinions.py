"""What several reviewers' decisions come to: all transitions of an entry's standing, as a pure function.

unreviewed → settled            one decision is enough
unreviewed → awaiting → settled a second opinion is wanted; two that agree settle it
awaiting, settled → disputed    two people disagree
disputed → settled              a third person decides, or one of the two comes round
anything → settled              an operator's final word; only another one changes it
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from feedback.key_facts import contains_facts
from feedback.states import FeedbackStatus, ReviewDecision

WITHOUT_NOTE = "a reviewer decided so."
"""Why something was turned down, where the reviewer didn't say."""


class State(StrEnum):
    UNREVIEWED = "unreviewed"  # nobody has decided
    AWAITING_SECOND = "awaiting_second"  # one person has decided, another must, unseen
    DISPUTED = "disputed"  # two people disagree: a third decides, or an operator's final word
    SETTLED = "settled"  # what counts is clear


@dataclass(frozen=True)
class Words:
    """A right reply and what it must contain."""

    content: str
    key_facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Opinion:
    reviewer: str
    decision: ReviewDecision
    words: Words | None = None
    """What would be taught: the reviewer's own or the giver's; None if it is not about words."""
    final: bool = False


@dataclass(frozen=True)
class Standing:
    state: State
    counts: int | None = None
    """Which of the opinions counts; None unless it is settled."""
    between: frozenset[str] = frozenset()
    """Whose opinions are disputed."""


def agree(one: Opinion, other: Opinion) -> bool:
    """Whether both would learn from it, or neither; an edit counts as a yes.

    Two who would teach different words agree unless one's words lack what the other says they must contain.

    >>> tall, short = Words("It is 330 m tall.", ("330 m",)), Words("It is 324 m tall.", ("324 m",))
    >>> yes, edit = ReviewDecision.APPROVED, ReviewDecision.EDITED
    >>> agree(Opinion("ada", yes), Opinion("bob", ReviewDecision.REJECTED))
    False
    >>> agree(Opinion("ada", yes, tall), Opinion("bob", edit, Words("It's 330 m high.")))
    True
    >>> agree(Opinion("ada", edit, tall), Opinion("bob", edit, short))
    False
    """
    if learns(one.decision) != learns(other.decision):
        return False
    if not learns(one.decision) or one.words is None or other.words is None:
        return True
    there = contains_facts(one.words.content, other.words.key_facts)
    return there and contains_facts(other.words.content, one.words.key_facts)


def learns(decision: ReviewDecision) -> bool:
    return decision != ReviewDecision.REJECTED


def status_after(decision: ReviewDecision, note: str | None) -> tuple[FeedbackStatus, str | None]:
    """The state, and its reason, of feedback that is settled by `decision`."""
    if learns(decision):
        return FeedbackStatus.RECEIVED, None
    return FeedbackStatus.DECLINED, note or WITHOUT_NOTE


def standing(opinions: Sequence[Opinion], *, second_wanted: bool) -> Standing:
    """Where an entry stands after `opinions`, oldest first. A reviewer's later opinion replaces the earlier one.

    >>> yes, no = Opinion("ada", ReviewDecision.APPROVED), Opinion("bob", ReviewDecision.REJECTED)
    >>> standing([yes], second_wanted=False).counts
    0
    >>> standing([yes], second_wanted=True).state.value
    'awaiting_second'
    >>> third = Opinion("cyd", ReviewDecision.REJECTED)
    >>> [standing(said, second_wanted=True).state.value for said in ([yes, no], [yes, no, third])]
    ['disputed', 'settled']
    """
    now = Standing(State.UNREVIEWED)
    latest: dict[str, int] = {}
    for position, opinion in enumerate(opinions):
        if now.counts is not None and opinions[now.counts].final and not opinion.final:
            continue
        latest.pop(opinion.reviewer, None)  # the latest one is last
        others = list(latest.values())
        latest[opinion.reviewer] = position
        now = _after(now, opinions, position, others[-1] if others else None, second_wanted)
    return now


def _after(now: Standing, opinions: Sequence[Opinion], new: int, other: int | None, second_wanted: bool) -> Standing:
    opinion = opinions[new]
    settles = opinion.final or (now.state == State.DISPUTED and opinion.reviewer not in now.between)
    if settles or (other is None and not second_wanted):
        return Standing(State.SETTLED, new)
    if other is None:
        return Standing(State.AWAITING_SECOND)
    if not agree(opinion, opinions[other]):
        return Standing(State.DISPUTED, between=frozenset({opinion.reviewer, opinions[other].reviewer}))
    # who mended the words saw what the other overlooked
    mended = opinion.decision == ReviewDecision.APPROVED and opinions[other].decision == ReviewDecision.EDITED
    return Standing(State.SETTLED, other if mended else new)
