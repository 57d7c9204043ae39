"""No sequence of what reviewers, operators and reporters can do leads into an illegal state; repeating is harmless."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlmodel import Session, col, select

from feedback import cases, review
from feedback.errors import Conflict, InvalidInput
from feedback.models import Feedback, ReportCase, Review
from feedback.review import claims, queue, reports
from feedback.review.decisions import reviews_of, standing_of
from feedback.review.opinions import State, status_after
from feedback.states import CaseOutcome, CaseStatus, FeedbackKind, FeedbackStatus, ReviewDecision
from feedback.testing import House

REVIEWERS = st.sampled_from(["key:ada#1", "key:bob#2", "key:cyd#3"])
LEGAL = {
    (CaseStatus.OPEN, CaseStatus.INVESTIGATING),
    (CaseStatus.OPEN, CaseStatus.RESOLVED),
    (CaseStatus.INVESTIGATING, CaseStatus.OPEN),
    (CaseStatus.INVESTIGATING, CaseStatus.RESOLVED),
    (CaseStatus.RESOLVED, CaseStatus.OPEN),
}
FIELDS = {
    Feedback: ("status", "status_reason", "wants_second_opinion", "claimed_by"),
    Review: ("decision", "edited", "note", "actor", "counts", "final", "independent"),
    ReportCase: ("status", "outcome", "assignee", "answer", "category", "notes"),
}


def test_no_sequence_of_actions_leads_into_an_illegal_state(embedded: House) -> None:
    run_state_machine_as_test(
        lambda: Reviewing(embedded),
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


class Reviewing(RuleBasedStateMachine):
    """One reply: a correction of it, and reports about it."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.reply = house.reply("Which colour?", "Red.", user="ada")
        self.ids = [house.say(self.reply, "correction", {"content": "Blue.", "key_facts": ["blue"]}).id]
        self.case_status: CaseStatus | None = None

    # ── what can be done ──

    @rule(
        number=st.integers(0, 2),
        actor=REVIEWERS,
        decision=st.sampled_from(ReviewDecision),
        note=st.sampled_from([None, "Thanks."]),
        words=st.sampled_from(["Blue.", "It is green."]),
        final=st.sampled_from([False, False, False, True]),
    )
    def decide(
        self, number: int, actor: str, decision: ReviewDecision, note: str | None, words: str, final: bool
    ) -> None:
        public_id = self.ids[number % len(self.ids)]
        edited = {"content": words, "key_facts": [words[-6:-1].strip()]} if decision == ReviewDecision.EDITED else None

        def deed(session: Session) -> None:
            feedback = queue.get_feedback(session, public_id)
            review.decide(session, feedback, decision, actor=actor, note=note, edited=edited, final=final)

        self.do(deed)

    @rule(number=st.integers(0, 2), actor=REVIEWERS)
    def ask_second_opinion(self, number: int, actor: str) -> None:
        public_id = self.ids[number % len(self.ids)]
        self.do(lambda session: review.ask_second_opinion(session, queue.get_feedback(session, public_id), actor=actor))

    @rule(number=st.integers(0, 2), actor=REVIEWERS, back=st.sampled_from([False, True, True]))
    def claim_or_release(self, number: int, actor: str, back: bool) -> None:
        public_id, deed = self.ids[number % len(self.ids)], claims.release if back else claims.claim
        self.do(lambda session: deed(session, queue.get_feedback(session, public_id), actor=actor))

    @rule(category=st.sampled_from(["abuse", "wrong"]))
    @precondition(lambda self: len(self.ids) < 3)
    def report(self, category: str) -> None:
        before = self.case_status
        self.ids.append(self.house.say(self.reply, "report", category).id)
        self.check_transition(before)

    @rule(
        actor=REVIEWERS,
        status=st.sampled_from([None, *CaseStatus]),
        outcome=st.sampled_from(CaseOutcome),
        answer=st.sampled_from([None, "We looked."]),
        category=st.sampled_from([None, "bias"]),
        note=st.sampled_from([None, "Odd."]),
        take_over=st.booleans(),
    )
    @precondition(lambda self: len(self.ids) > 1)
    def change_case(self, status: CaseStatus | None, outcome: CaseOutcome, answer: str | None, **changes: Any) -> None:
        if status == CaseStatus.RESOLVED:
            changes |= {"outcome": outcome, "answer": answer}

        def deed(session: Session) -> None:
            case = cases.of_reply(session, self.said(session)[0].message_id, lock=True)
            assert case is not None
            reports.change(session, case, status=status, **changes)

        self.do(deed)

    # ── what must hold ──

    def do(self, deed: Any) -> None:
        """Twice: the second time nothing changes. What is refused changes nothing either."""
        before, seen = self.case_status, self.snapshot()
        try:
            with self.house.database.write() as session:
                deed(session)
        except (Conflict, InvalidInput):
            assert self.snapshot() == seen
            return
        done = self.snapshot()
        self.check_transition(before)
        with self.house.database.write() as session:
            deed(session)
        assert self.snapshot() == done

    def check_transition(self, before: CaseStatus | None) -> None:
        with self.house.database.read() as session:
            case = cases.of_reply(session, self.said(session)[0].message_id)
        self.case_status = case.status if case else None
        if before is not None and self.case_status != before:
            assert (before, self.case_status) in LEGAL

    @invariant()
    def feedback_is_where_its_reviews_put_it(self) -> None:
        with self.house.database.read() as session:
            for feedback in self.said(session):
                reviews = reviews_of(session, feedback)
                stands = standing_of(feedback, reviews)
                counting = [one for one in reviews if one.counts]
                assert counting == ([] if stands.counts is None else [reviews[stands.counts]])
                if counting:
                    expected = status_after(counting[0].decision, counting[0].note)
                    assert (feedback.status, feedback.status_reason) == expected
                elif reviews or feedback.wants_second_opinion or feedback.kind == FeedbackKind.REPORT:
                    assert feedback.status == FeedbackStatus.IN_REVIEW
                decided = review.latest_reviews(session, [feedback.id])
                assert list(decided.values()) == [(one.decision, one.edited) for one in counting]
                assert (feedback.claimed_by is None) == (feedback.claimed_until is None)
                assert sum(one.independent for one in reviews) <= 2
                assert stands.state != State.AWAITING_SECOND or len({one.actor for one in reviews}) == 1

    @invariant()
    def the_case_holds_together(self) -> None:
        with self.house.database.read() as session:
            said = self.said(session)
            reported = [one for one in said if one.kind == FeedbackKind.REPORT]
            case = cases.of_reply(session, said[0].message_id)
            assert (case is not None) == bool(reported)
            if case is None:
                return
            resolved = case.status == CaseStatus.RESOLVED
            assert resolved == (case.outcome is not None) == (case.resolved_at is not None)
            assert (case.status == CaseStatus.OPEN) == (case.assignee is None)
            if resolved:
                told = FeedbackStatus.RECEIVED if case.outcome == CaseOutcome.UPHELD else FeedbackStatus.DECLINED
                assert {one.status for one in reported} == {told}

    def said(self, session: Session) -> list[Feedback]:
        return [queue.get_feedback(session, public_id) for public_id in self.ids]

    def snapshot(self) -> Any:
        with self.house.database.read() as session:
            feedback = self.said(session)
            ids = [one.id for one in feedback]
            reviews = session.exec(
                select(Review).where(col(Review.feedback_id).in_(ids)).order_by(col(Review.id))
            ).all()
            case = cases.of_reply(session, feedback[0].message_id)
            rows = [*feedback, *reviews, *([case] if case else [])]
            return [[getattr(row, name) for name in FIELDS[type(row)]] for row in rows]
