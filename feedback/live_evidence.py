"""What people's words, errors and times say of a version that serves beside another, so far.

Five kinds of evidence, each an e-value (evidence.py) against "no worse than the other": blind choices, ratings,
reports, failed replies, slow replies. Their weighted mean is an e-value too (Vovk & Wang 2021, "E-values: calibration,
combination and applications"), so that looking at five things doesn't raise more false alarms than looking at one.

Promises that only chance decided which of the two a reply was by (not an alpha group's key, nor a client that named a
version), that each contributor has one vote in each kind, their first, and that what counted once counts for good: what
curation, or a newer word, makes of feedback afterwards changes nothing, only a person's rejection does, and
quarantine: who is held back has no vote. Nor has whoever is anonymous. Leaves out what follows (rollout.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from feedback.contributors import is_heard
from feedback.database import in_portions
from feedback.evidence import Evidence
from feedback.models import Feedback, Message, Release
from feedback.review import is_rejected
from feedback.states import FeedbackKind, MessageStatus

WEIGHTS = {"choices": 0.4, "ratings": 0.2, "reports": 0.2, "errors": 0.1, "slowness": 0.1}
MORE = 1.25
"""How many times more reports, or failures, than its share a version may have before they count against it."""
SLOWER = 1.5
"""How many times as long a reply may take as one by the other version about that time."""
MOST_TIMES = 2_000
"""Replies whose times are compared, the first since the trial began."""
OWN_FAULT = ("error", "timeout")
"""Ends of replies that failed by themselves; a request that no version could answer is none of them."""


@dataclass(frozen=True)
class Event:
    """Something that was said of, or happened to, one of two versions."""

    of_new: bool
    value: float
    """Good or bad (1, 0), or seconds."""


@dataclass(frozen=True)
class LiveEvidence:
    choices: Evidence
    """Blind choices between the two: a win is one for the new version."""
    ratings: Evidence
    """Pairs of ratings, one of each version, that came one after the other: a win is the new version's better one."""
    reports: Evidence
    """People, of this stage: a win is a report about the new version."""
    errors: Evidence
    """Conversations, of this stage: a win is a failed reply of the new version."""
    slowness: Evidence
    """Pairs of replies, one of each version, that came one after the other: a win is one that took SLOWER as long."""
    replies: tuple[int, int]
    """Of the new version and the other, since the trial began."""
    stages: int = 1
    """How many stages there will be: reports and errors are judged anew in each, by their mean over all."""
    carried: float = 0.0
    """Reports' and errors' part of the weighted mean from stages that are over, summed."""

    def against(self) -> dict[str, float]:
        """By kind, the e-value that the new version is worse."""
        return {
            "choices": self.choices.worse,
            "ratings": self.ratings.worse,
            "reports": self.reports.better / self.stages,
            "errors": self.errors.better / self.stages,
            "slowness": self.slowness.better,
        }

    @property
    def of_stage(self) -> float:
        """This stage's part of what `worse` sums up over stages."""
        found = self.against()
        return WEIGHTS["reports"] * found["reports"] + WEIGHTS["errors"] * found["errors"]

    @property
    def worse(self) -> float:
        """That the new version is worse in any of it."""
        return self.carried + sum(WEIGHTS[kind] * value for kind, value in self.against().items())

    @property
    def better(self) -> float:
        """That people like it better: choices and ratings, by their weights."""
        liked = {"choices": self.choices.better, "ratings": self.ratings.better}
        return sum(WEIGHTS[kind] * value for kind, value in liked.items()) / sum(WEIGHTS[kind] for kind in liked)

    def worst(self) -> str:
        """The kind that speaks most against it, in words."""
        found = self.against()
        kind = max(WEIGHTS, key=lambda one: WEIGHTS[one] * found[one])
        evidence: Evidence = getattr(self, kind)
        total, share = evidence.wins + evidence.losses, f"{evidence.share:.0%}"
        return {
            "choices": f"{evidence.losses} of {total} blind choices went to the other version",
            "ratings": f"in {evidence.losses} of {total} pairs of ratings the other version had the better one",
            "reports": f"{evidence.wins} of {total} people's reports are about it, where {share} would be much",
            "errors": f"{evidence.wins} of {total} failed replies are its own, where {share} would be much",
            "slowness": f"in {evidence.wins} of {total} pairs of replies it took {SLOWER:g} times as long or more",
        }[kind]


def gather(session: Session, new: Release, old: Release, *, percent: float, stages: int) -> LiveEvidence:
    """`percent`: the new version's share of the conversations in this stage."""
    since = new.tried_at or new.live_at or new.created_at
    stage = new.stage_at or since
    pair = (new.id, old.id)
    odds = MORE * percent / max(100 - percent, 1e-9)
    share = min(odds / (1 + odds), 1 - 1e-9) if percent else 0.5
    return LiveEvidence(
        choices=_choices(session, pair, since),
        ratings=sign_test(_ratings(session, pair, since)),
        reports=_counted(_reports(session, pair, stage), share),
        errors=_counted(_failures(session, pair, stage), share),
        slowness=slower(_times(session, pair, since)),
        replies=_replies(session, pair, since),
        stages=stages,
        carried=new.carried_evidence,
    )


def sign_test(events: Iterable[Event]) -> Evidence:
    """Pairs whose values differ: if both versions are as good, the better one is either's.

    >>> sign_test([Event(True, 1), Event(False, 0), Event(True, 1), Event(False, 1), Event(False, 1), Event(True, 0)])
    Evidence(wins=1, losses=1, share=0.5)
    """
    pairs = in_pairs(events)
    return Evidence(sum(new > old for new, old in pairs), sum(new < old for new, old in pairs))


def slower(events: Iterable[Event]) -> Evidence:
    """
    >>> slower([Event(True, 9.0), Event(False, 4.0), Event(False, 4.0), Event(True, 5.0)])
    Evidence(wins=1, losses=1, share=0.5)
    """
    pairs = in_pairs(events)
    wins = sum(new >= SLOWER * old for new, old in pairs)
    return Evidence(wins, len(pairs) - wins)


def in_pairs(events: Iterable[Event]) -> list[tuple[float, float]]:
    """(new, old) of neighbours in time, each used once: what came later never changes a pair that was made.

    >>> in_pairs([Event(False, 1), Event(False, 2), Event(True, 3), Event(True, 4), Event(False, 5)])
    [(3, 2), (4, 5)]
    """
    pairs: list[tuple[float, float]] = []
    waiting: Event | None = None
    for event in events:
        if waiting is None or waiting.of_new == event.of_new:
            waiting = event
            continue
        pairs.append((event.value, waiting.value) if event.of_new else (waiting.value, event.value))
        waiting = None
    return pairs


def _counted(of_new: Sequence[bool], share: float) -> Evidence:
    """Whether more of them are the new version's than MORE times its share explains."""
    return Evidence(sum(of_new), len(of_new) - sum(of_new), share)


def _choices(session: Session, pair: tuple[int, int], since: datetime) -> Evidence:
    """The first blind choice of each contributor between a reply of one and a reply of the other; ties say nothing."""
    chosen = (
        select(Feedback.contributor_id, Feedback.value, Message.release_id)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .where(*_said(FeedbackKind.PREFERENCE, pair, since), col(Message.completion_id).startswith("cmp-"))
        .order_by(col(Feedback.id))
    )
    votes = [
        (contributor, value["rejected_message_id"], release)
        for contributor, value, release in session.exec(chosen)
        if "rejected_message_id" in value
    ]
    releases: dict[int, int | None] = {}
    for some in in_portions({rejected for _, rejected, _ in votes}):
        releases |= dict(session.exec(select(Message.id, Message.release_id).where(col(Message.id).in_(some))).all())
    first: dict[str | None, bool] = {}
    for contributor, rejected, release in votes:
        if {release, releases.get(rejected)} == set(pair):
            first.setdefault(contributor, release == pair[0])
    return Evidence(sum(first.values()), len(first) - sum(first.values()))


def _ratings(session: Session, pair: tuple[int, int], since: datetime) -> list[Event]:
    """Each contributor's first rating of each version, in the order they came."""
    rated = (
        select(Feedback.contributor_id, Message.release_id, Feedback.score)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .where(*_said(FeedbackKind.RATING, pair, since))
        .order_by(col(Feedback.id))
    )
    first: dict[tuple[str | None, int | None], Event] = {}
    for contributor, release, score in session.exec(rated):
        first.setdefault((contributor, release), Event(release == pair[0], score or 0.0))
    return list(first.values())


def _reports(session: Session, pair: tuple[int, int], since: datetime) -> list[bool]:
    """Of each contributor the first report: whether it is about the new version."""
    told = (
        select(Feedback.contributor_id, Message.release_id)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .where(*_said(FeedbackKind.REPORT, pair, since))
        .order_by(col(Feedback.id))
    )
    first: dict[str | None, bool] = {}
    for contributor, release in session.exec(told):
        first.setdefault(contributor, release == pair[0])
    return list(first.values())


def _failures(session: Session, pair: tuple[int, int], since: datetime) -> list[bool]:
    """Of each conversation in which a reply failed by itself: whether that was the new version's."""
    failed = (
        select(Message.conversation_id, func.min(Message.release_id))
        .where(*_by(pair, since), col(Message.finish_reason).in_(OWN_FAULT))
        .group_by(col(Message.conversation_id))
    )
    return [release == pair[0] for _, release in session.exec(failed)]


def _times(session: Session, pair: tuple[int, int], since: datetime) -> list[Event]:
    """How long people waited for whole replies, the first of each conversation, in the order they came."""
    timed = (
        select(Message.conversation_id, Message.release_id, Message.created_at, Message.completed_at)
        .where(*_by(pair, since), Message.status == MessageStatus.COMPLETE)
        .order_by(col(Message.id))
        .limit(MOST_TIMES)
    )
    first: dict[int, Event] = {}
    for conversation, release, began, ended in session.exec(timed):
        if ended is not None:
            first.setdefault(conversation, Event(release == pair[0], (ended - began).total_seconds()))
    return list(first.values())


def _replies(session: Session, pair: tuple[int, int], since: datetime) -> tuple[int, int]:
    counted = select(Message.release_id, func.count()).where(*_by(pair, since)).group_by(col(Message.release_id))
    counts = dict(session.exec(counted).all())
    return counts.get(pair[0], 0), counts.get(pair[1], 0)


def _by(pair: tuple[int, int], since: datetime) -> tuple[ColumnElement[bool], ...]:
    return col(Message.release_id).in_(pair), col(Message.created_at) >= since


def _said(kind: FeedbackKind, pair: tuple[int, int], since: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        *_by(pair, since),
        col(Feedback.kind) == kind,
        col(Feedback.contributor_id).is_not(None),
        is_heard(),
        ~is_rejected(),
    )
