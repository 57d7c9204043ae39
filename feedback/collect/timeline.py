"""What happened to a piece of feedback, step by step, for its giver: from its coming in to the version that answers.

Of many datasets and versions the first use is told, and the version that its receipt names. Leaves out where that is
now, in one sentence (receipts.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from feedback import lineage
from feedback.lineage import Outcome, Reach, Use
from feedback.models import Assistant, Feedback, Release, Review
from feedback.sentences import Told
from feedback.states import LEARNABLE, FeedbackKind, ReleaseState, ReviewDecision, Side, VerdictWord

MOST_RELEASES = 4
"""Of a version that went and came back more often, the newest."""
_DECIDED = {
    ReviewDecision.APPROVED: "A person approved it.",
    ReviewDecision.EDITED: "A person approved it, in mended words.",
    ReviewDecision.REJECTED: "A person decided against it.",
}
_JUDGED = {
    VerdictWord.PROMOTE: "{version} was found to be better than the one before.",
    VerdictWord.REJECT: "{version} was found to be no better than the one before.",
    VerdictWord.INCONCLUSIVE: "There was too little to tell whether {version} is better.",
    VerdictWord.BLOCKED: "{version} was kept back: something that must not get worse did.",
}


@dataclass(frozen=True)
class Step:
    at: datetime
    says: str


def of(session: Session, feedback: Feedback, review: Review | None, reach: Reach) -> tuple[Step, ...]:
    """In the order of time. `review`: the one that counts."""
    steps = [Step(feedback.created_at, Told("We received it."))]
    if review is not None:
        steps.append(Step(review.created_at, _decided(feedback, review)))
    if reach.dataset_number is not None:
        steps += _learned(session, feedback, reach)
    return tuple(sorted(steps, key=lambda step: step.at))


def _decided(feedback: Feedback, review: Review) -> Told:
    if feedback.kind == FeedbackKind.REPORT:
        return Told("A person looked into your report.")
    read = feedback.kind not in LEARNABLE and review.decision != ReviewDecision.REJECTED
    return Told("A person read it." if read else _DECIDED[review.decision])


def _learned(session: Session, feedback: Feedback, reach: Reach) -> Iterator[Step]:
    uses = lineage.uses_of(session, [feedback.id])[feedback.id]
    outcomes = lineage.outcomes_of(session, {use.dataset.id for use in uses})
    name = session.get_one(Assistant, feedback.assistant_id).name
    named = reach.version or reach.judged_by
    use, outcome = _of_version(uses, outcomes, name, named) if named else (uses[-1], None)
    if use.dataset.id != uses[0].dataset.id:
        first = uses[0].dataset
        yield Step(first.created_at, Told("It was used for the first time, in dataset v{number}.", number=first.number))
    trained = use.side == Side.TRAIN
    into = "It went into dataset v{number}, to be learned from."
    beside = "It went into dataset v{number}, to judge what is learned."
    yield Step(use.dataset.created_at, Told(into if trained else beside, number=use.dataset.number))
    if outcome is not None and outcome.version is not None:
        learned = "{version} learned from it." if trained else "{version} was judged by it."
        yield Step(outcome.version.created_at, Told(learned, version=named))
        if outcome.evaluation is not None:
            yield Step(outcome.evaluation.created_at, Told(_JUDGED[outcome.evaluation.verdict], version=named))
        for release in outcome.releases[-MOST_RELEASES:]:
            yield from _served(release, str(named))


def _of_version(
    uses: list[Use], outcomes: dict[int, list[Outcome]], name: str, label: str
) -> tuple[Use, Outcome | None]:
    for use in reversed(uses):
        for outcome in outcomes[use.dataset.id]:
            if outcome.version is not None and f"{name}@{outcome.version.number}" == label:
                return use, outcome
    return uses[-1], None


def _served(release: Release, version: str) -> Iterator[Step]:
    if release.tried_at is not None:
        yield Step(release.tried_at, Told("{version} went on trial.", version=version))
    if release.live_at is not None:
        yield Step(release.live_at, Told("{version} began to answer everybody.", version=version))
    if release.ended_at is not None and release.live_at is not None:
        yield Step(release.ended_at, Told("Another version took the place of {version}.", version=version))
    elif release.ended_at is not None and release.state == ReleaseState.VETOED:
        taken = "{version} was taken back from its trial." if release.tried_at else "{version} was turned down."
        yield Step(release.ended_at, Told(taken, version=version))
