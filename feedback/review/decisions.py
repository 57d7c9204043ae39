"""A person decides on a piece of feedback: learn from it, learn the mended words, or don't.

What the decisions of several people come to is opinions.py's; this stores them and puts the feedback into the
state that follows: nothing awaits a second opinion, or is disputed, and is learned from meanwhile.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlmodel import Session, col, select

from feedback import assistants, audit, cases
from feedback.collect import corrections
from feedback.collect.intake import check_texts
from feedback.database import in_portions
from feedback.errors import Conflict, InvalidInput
from feedback.models import Assistant, Feedback, Message, Review
from feedback.review import claims, reports
from feedback.review.opinions import Opinion, Standing, State, Words, standing, status_after
from feedback.states import LEARNABLE, CaseStatus, FeedbackKind, FeedbackStatus, ReviewDecision

AWAITING = "Two people decide about it."
DISPUTED = "Two people disagree about it: a third one decides."


def decide(
    session: Session,
    feedback: Feedback,
    decision: ReviewDecision,
    *,
    actor: str,
    note: str | None = None,
    comment: str | None = None,
    edited: Any = None,
    final: bool = False,
) -> Review:
    """Store a decision and what follows from it. The same one again changes nothing.

    `note` is for the giver, `comment` for other reviewers; `edited` are the words to learn instead, as a correction's
    `value`; `final` settles it whatever others said. Raises Conflict if somebody else has it, or has settled it.
    """
    _lock(session, feedback)
    said = reviews_of(session, feedback)
    review = Review(
        feedback_id=feedback.id,
        decision=decision,
        edited=_checked_words(session, feedback, decision, edited),
        note=note,
        comment=comment,
        actor=actor,
        final=final,
    )
    mine = [one for one in said if one.actor == actor]
    if mine and _same(mine[-1], review):
        if feedback.kind != FeedbackKind.REPORT:  # whose case may have been opened again since
            _put(session, feedback, said, actor=actor)
        return mine[-1]
    before = standing_of(feedback, said)
    if not final:
        _refuse_if_others(session, feedback, said, before, actor)
    unseen = before.state in (State.UNREVIEWED, State.AWAITING_SECOND)
    review.independent = unseen and not (mine or final) and (not said or any(one.independent for one in said))
    session.add(review)
    session.flush()
    if not said and feedback.kind in LEARNABLE and _is_picked(session, feedback):
        feedback.wants_second_opinion = True
    feedback.claimed_by = feedback.claimed_until = None
    audit.record(session, actor, "feedback.review", feedback.public_id, decision=decision, final=final)
    _put(session, feedback, [*said, review], actor=actor)
    return review


def ask_second_opinion(session: Session, feedback: Feedback, *, actor: str) -> None:
    """From now on two people must agree about it, unless an operator settled it."""
    _lock(session, feedback)
    if feedback.wants_second_opinion:
        return
    feedback.wants_second_opinion = True
    audit.record(session, actor, "feedback.second_opinion", feedback.public_id)
    said = reviews_of(session, feedback)
    for review in said:
        review.independent = False  # it was settled, and so everybody could see it: no second one is unseen by it
    _put(session, feedback, said, actor=actor)


def latest_reviews(
    session: Session, feedback_ids: Iterable[int]
) -> dict[int, tuple[ReviewDecision, dict[str, Any] | None]]:
    """What counts of the reviewers' decisions, with their words where they mended them.

    Nothing for what nobody decided on, awaits a second opinion or is disputed.
    """
    counting = select(Review).where(col(Review.counts).is_(True))
    return {
        review.feedback_id: (review.decision, review.edited)
        for some in in_portions(feedback_ids)
        for review in session.exec(counting.where(col(Review.feedback_id).in_(some)))
    }


def all_reviews(session: Session, assistant: Assistant) -> dict[int, tuple[ReviewDecision, dict[str, Any] | None]]:
    """The same for everything said to an assistant."""
    counting = (
        select(Review)
        .join(Feedback, col(Feedback.id) == col(Review.feedback_id))
        .where(Feedback.assistant_id == assistant.id, col(Review.counts).is_(True))
    )
    return {review.feedback_id: (review.decision, review.edited) for review in session.exec(counting)}


def is_rejected() -> ColumnElement[bool]:
    """Whether the decision that counts for a piece of feedback turns it down."""
    counting = exists().where(col(Review.feedback_id) == col(Feedback.id), col(Review.counts).is_(True))
    return counting.where(col(Review.decision) == ReviewDecision.REJECTED)


def is_undecided() -> ColumnElement[bool]:
    """Whether people have begun to decide on a piece of feedback and haven't settled it."""
    reviewed = exists().where(col(Review.feedback_id) == col(Feedback.id))
    begun = or_(col(Feedback.wants_second_opinion), reviewed)
    settled = reviewed.where(col(Review.counts).is_(True))
    return and_(col(Feedback.status) == FeedbackStatus.IN_REVIEW, begun, ~settled)


def latest_decisions(session: Session, feedback_ids: Iterable[int]) -> dict[int, ReviewDecision]:
    """`latest_reviews` without the words."""
    return {one: decision for one, (decision, _) in latest_reviews(session, feedback_ids).items()}


def reviews_of(session: Session, feedback: Feedback) -> Sequence[Review]:
    return session.exec(select(Review).where(Review.feedback_id == feedback.id).order_by(col(Review.id))).all()


def standing_of(feedback: Feedback, reviews: Sequence[Review]) -> Standing:
    opinions = [Opinion(one.actor, one.decision, _words(feedback, one), one.final) for one in reviews]
    return standing(opinions, second_wanted=feedback.wants_second_opinion)


def _put(session: Session, feedback: Feedback, reviews: Sequence[Review], *, actor: str) -> None:
    """Bring the feedback, the reviews that count and, for a report, its case into the state that `reviews` come to."""
    stands = standing_of(feedback, reviews)
    counting = None if stands.counts is None else reviews[stands.counts]
    for review in reviews:
        review.counts = False
    session.flush()  # only one may count at any time
    if counting is not None:
        counting.counts = True
    if feedback.status != FeedbackStatus.REPLACED:
        feedback.status, feedback.status_reason = _status(stands, counting)
    session.add(feedback)
    session.flush()
    if feedback.kind == FeedbackKind.REPORT:
        reports.follow(session, feedback, counting, actor=actor)


def _status(stands: Standing, counting: Review | None) -> tuple[FeedbackStatus, str | None]:
    if counting is not None:
        return status_after(counting.decision, counting.note)
    return FeedbackStatus.IN_REVIEW, DISPUTED if stands.state == State.DISPUTED else AWAITING


def _lock(session: Session, feedback: Feedback) -> None:
    """One decision at a time; a report's case is locked first, as everywhere."""
    if feedback.kind == FeedbackKind.REPORT:
        cases.of_reply(session, feedback.message_id, lock=True)
    session.refresh(feedback, with_for_update={"key_share": True})


def _refuse_if_others(
    session: Session, feedback: Feedback, said: Sequence[Review], before: Standing, actor: str
) -> None:
    if before.counts is not None and said[before.counts].final:
        raise Conflict(
            f"{said[before.counts].actor} has settled this for good: only an operator's final word changes it.",
            param="final",
        )
    if claims.is_held_by_another(feedback, actor):
        raise Conflict(f"{feedback.claimed_by} looks at it until {feedback.claimed_until:%H:%M} UTC.", param="id")
    if feedback.kind == FeedbackKind.REPORT:
        case = cases.of_reply(session, feedback.message_id)
        if case is not None and case.status == CaseStatus.INVESTIGATING:
            cases.require_own(case, actor)


def _checked_words(session: Session, feedback: Feedback, decision: ReviewDecision, edited: Any) -> Any:
    if (decision == ReviewDecision.EDITED) != (edited is not None):
        raise InvalidInput("`edited` has the right reply if, and only if, the decision is 'edited'.", param="edited")
    if edited is None:
        return None
    if feedback.kind != FeedbackKind.CORRECTION:
        raise InvalidInput(f"Only corrections have words to edit, and this is a {feedback.kind}.", param="decision")
    check_texts(edited, None, ())
    words = corrections.parse(session.get_one(Message, feedback.message_id), edited).value
    if "expires_at" in feedback.value and not (isinstance(edited, dict) and "expires_at" in edited):
        words["expires_at"] = feedback.value["expires_at"]  # who mends a word doesn't mean that it holds for ever
    return words


def _same(one: Review, other: Review) -> bool:
    fields = ("decision", "edited", "note", "comment", "final")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def _words(feedback: Feedback, review: Review) -> Words | None:
    if feedback.kind != FeedbackKind.CORRECTION:
        return None
    value = review.edited or feedback.value
    return Words(value["content"], tuple(value.get("key_facts", ())))


def _is_picked(session: Session, feedback: Feedback) -> bool:
    policy = assistants.policies(session.get_one(Assistant, feedback.assistant_id)).review
    return is_picked(feedback.public_id, policy.second_opinion_fraction)


def is_picked(public_id: str, fraction: float) -> bool:
    """Whether the policy wants a second opinion on it: the same for the same id, whoever asks.

    >>> [is_picked("fb-1", fraction) for fraction in (0.0, 1.0)]
    [False, True]
    """
    return int.from_bytes(hashlib.sha256(f"second opinion:{public_id}".encode()).digest()[:8]) / 2**64 < fraction
