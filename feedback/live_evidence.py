"""What people's words, errors and times say of a version that serves beside another, so far.

Five kinds of evidence, each an e-value (evidence.py) against "no worse than the other": blind choices, ratings,
reports, failed replies, slow replies. Their weighted mean is an e-value too (Vovk & Wang 2021, "E-values: calibration,
combination and applications"), so that looking at five things doesn't raise more false alarms than looking at one.
Promises one vote a contributor in each kind; whoever is anonymous has none. Leaves out what follows (rollout.py).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from feedback.evidence import Evidence
from feedback.models import Conversation, Feedback, Message
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus

WEIGHTS = {"choices": 0.4, "ratings": 0.2, "reports": 0.2, "errors": 0.1, "slowness": 0.1}
MORE_REPORTS = 1.25
MORE_ERRORS = 1.25
SLOWER = 1.25
"""How many times more of it the new version may have before it counts against it."""
MOST_TIMES = 2_000
"""Replies of each version whose times are compared, the newest."""


@dataclass(frozen=True)
class LiveEvidence:
    choices: Evidence
    """Blind choices between the two: a win is one for the new version."""
    ratings: Evidence
    """Pairs of one rating each, of which one is good: a win is the new version's."""
    reports: Evidence
    """A win is a report about the new version."""
    errors: Evidence
    """A win is a failed reply of the new version."""
    slowness: Evidence
    """Pairs of one reply each: a win is one in which the new version is slower by SLOWER."""
    replies: tuple[int, int]
    """Of the new version and the other, since the trial began."""

    def against(self) -> dict[str, float]:
        """By kind, the e-value that the new version is worse."""
        return {
            "choices": self.choices.worse,
            "ratings": self.ratings.worse,
            "reports": self.reports.better,
            "errors": self.errors.better,
            "slowness": self.slowness.better,
        }

    @property
    def worse(self) -> float:
        """That the new version is worse in any of it."""
        return sum(WEIGHTS[kind] * value for kind, value in self.against().items())

    @property
    def better(self) -> float:
        """That people like it better: choices and ratings, by their weights."""
        liked = {"choices": self.choices.better, "ratings": self.ratings.better}
        return sum(WEIGHTS[kind] * value for kind, value in liked.items()) / sum(WEIGHTS[kind] for kind in liked)

    def worst(self) -> str:
        """The kind that speaks most against it, in words."""
        kind = max(WEIGHTS, key=lambda one: WEIGHTS[one] * self.against()[one])
        found: Evidence = getattr(self, kind)
        total = found.wins + found.losses
        return {
            "choices": f"{found.losses} of {total} blind choices went to the other version",
            "ratings": f"in {found.losses} of {total} pairs of ratings the other version had the good one",
            "reports": f"{found.wins} of {total} reports are about it, of {self._share()} of the replies",
            "errors": f"{found.wins} of {total} failed replies are its own, of {self._share()} of the replies",
            "slowness": f"in {found.wins} of {total} pairs of replies it took {SLOWER:g} times as long or more",
        }[kind]

    def _share(self) -> str:
        new, old = self.replies
        return f"{new / max(1, new + old):.0%}"


def gather(session: Session, assistant_id: int, new: int, old: int, since: datetime) -> LiveEvidence:
    """`new` and `old`: ids of adapter versions that have served beside each other since then."""
    replies = _count(session, assistant_id, (new, old), since, None)
    failed = _count(session, assistant_id, (new, old), since, MessageStatus.FAILED)
    return LiveEvidence(
        choices=_choices(session, assistant_id, new, old, since),
        ratings=_ratings(session, assistant_id, new, old, since),
        reports=_more_than_its_share(_reports(session, assistant_id, (new, old), since), replies, MORE_REPORTS),
        errors=_more_than_its_share(failed, replies, MORE_ERRORS),
        slowness=_slowness(session, assistant_id, new, old, since),
        replies=replies,
    )


def _choices(session: Session, assistant_id: int, new: int, old: int, since: datetime) -> Evidence:
    """The first choice of each contributor between a reply of one and a reply of the other; ties say nothing."""
    chosen = (
        select(Feedback, Message.adapter_version_id)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .where(*_said(assistant_id, FeedbackKind.PREFERENCE, since), col(Message.adapter_version_id).in_((new, old)))
        .order_by(col(Feedback.id))
    )
    votes = [(one, version) for one, version in session.exec(chosen) if "rejected_message_id" in one.value]
    rejected_ids = {one.value["rejected_message_id"] for one, _ in votes}
    versions = dict(
        session.exec(select(Message.id, Message.adapter_version_id).where(col(Message.id).in_(rejected_ids))).all()
    )
    first: dict[str | None, bool] = {}
    for one, version in votes:
        if {version, versions.get(one.value["rejected_message_id"])} == {new, old}:
            first.setdefault(one.contributor_id, version == new)
    return Evidence(sum(first.values()), len(first) - sum(first.values()))


def _ratings(session: Session, assistant_id: int, new: int, old: int, since: datetime) -> Evidence:
    """Each contributor's first rating of each version, in the order they came; the n-th of one with the n-th of the
    other. If both are as good, the one good rating of a pair is either's (a sign test)."""
    rated = (
        select(Feedback.contributor_id, Message.adapter_version_id, Feedback.score)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .where(*_said(assistant_id, FeedbackKind.RATING, since), col(Message.adapter_version_id).in_((new, old)))
        .order_by(col(Feedback.id))
    )
    first: dict[tuple[str | None, int | None], bool] = {}
    for contributor, version, score in session.exec(rated):
        first.setdefault((contributor, version), (score or 0.0) > 0)
    good = {version: [one for (_, of), one in first.items() if of == version] for version in (new, old)}
    return sign_test(good[new], good[old])


def sign_test(new: Sequence[bool], old: Sequence[bool]) -> Evidence:
    """
    >>> sign_test([True, True, False, False], [False, True, True])
    Evidence(wins=1, losses=1, share=0.5)
    """
    pairs = list(zip(new, old, strict=False))
    return Evidence(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))


def _reports(session: Session, assistant_id: int, versions: tuple[int, int], since: datetime) -> tuple[int, int]:
    """People who reported a reply of each."""
    found = select(Message.adapter_version_id, func.count(func.distinct(Feedback.contributor_id))).join(
        Message, col(Message.id) == col(Feedback.message_id)
    )
    told = found.where(
        *_said(assistant_id, FeedbackKind.REPORT, since), col(Message.adapter_version_id).in_(versions)
    ).group_by(col(Message.adapter_version_id))
    counts = dict(session.exec(told).all())
    return counts.get(versions[0], 0), counts.get(versions[1], 0)


def _more_than_its_share(counts: tuple[int, int], replies: tuple[int, int], factor: float) -> Evidence:
    """Whether more of them are the new version's than `factor` times its share of the replies explains."""
    odds = factor * max(1, replies[0]) / max(1, replies[1])
    return Evidence(counts[0], counts[1], share=odds / (1 + odds))


def _count(
    session: Session, assistant_id: int, versions: tuple[int, int], since: datetime, status: MessageStatus | None
) -> tuple[int, int]:
    counted = select(Message.adapter_version_id, func.count()).where(
        *_replies(assistant_id, versions, since), *([] if status is None else [col(Message.status) == status])
    )
    counts = dict(session.exec(counted.group_by(col(Message.adapter_version_id))).all())
    return counts.get(versions[0], 0), counts.get(versions[1], 0)


def _slowness(session: Session, assistant_id: int, new: int, old: int, since: datetime) -> Evidence:
    """Seconds a token of complete replies, paired in the order they came. As often as not: even."""
    times = {version: list(_seconds_a_token(session, assistant_id, version, since)) for version in (new, old)}
    pairs = list(zip(times[new], times[old], strict=False))
    slower = sum(after > SLOWER * before for after, before in pairs)
    return Evidence(slower, len(pairs) - slower)


def _seconds_a_token(session: Session, assistant_id: int, version: int, since: datetime) -> Iterable[float]:
    timed = (
        select(Message.created_at, Message.completed_at, Message.completion_tokens)
        .where(*_replies(assistant_id, (version, version), since), Message.status == MessageStatus.COMPLETE)
        .order_by(col(Message.id).desc())
        .limit(MOST_TIMES)
    )
    for began, ended, tokens in session.exec(timed):
        if ended is not None and tokens:
            yield (ended - began).total_seconds() / tokens


def _replies(assistant_id: int, versions: tuple[int, int], since: datetime) -> tuple[ColumnElement[bool], ...]:
    ours = select(Conversation.id).where(
        Conversation.assistant_id == assistant_id, col(Conversation.ui_task).is_(False)
    )
    return (
        col(Message.conversation_id).in_(ours),
        col(Message.adapter_version_id).in_(versions),
        col(Message.created_at) >= since,
    )


def _said(assistant_id: int, kind: FeedbackKind, since: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        col(Feedback.assistant_id) == assistant_id,
        col(Feedback.kind) == kind,
        col(Feedback.created_at) >= since,
        col(Feedback.contributor_id).is_not(None),
        col(Feedback.status).not_in((FeedbackStatus.REPLACED, FeedbackStatus.DECLINED)),
        col(Feedback.imported_at).is_(None),
    )
