"""Cases of reports on both databases: from open to resolved and back, what reporters read, and who may decide."""

from typing import Any

import pytest
from reviewers import ADA, APPROVED, BOB, CYD, REJECTED, THREADS, at_once, decide, listed
from sqlmodel import col, select

from feedback import cases
from feedback.collect import receipts
from feedback.errors import Conflict, InvalidInput
from feedback.models import AuditEntry, Review
from feedback.review import case_files, queue, reports
from feedback.states import CaseOutcome, CaseStatus, FeedbackStatus
from feedback.testing import House


def change(house: House, case_id: str, actor: str = ADA, **changes: Any) -> None:
    with house.database.write() as session:
        reports.change(session, cases.get_case(session, case_id, lock=True), actor=actor, **changes)


def the_case(house: House) -> Any:
    with house.database.read() as session:
        (case,) = cases.list_cases(session, house.assistant)
    return case


def told(house: House, receipt: str) -> tuple[str, str, str | None]:
    with house.database.read() as session:
        found = receipts.look_up(session, receipt)
    return found.status, found.detail, found.note


def test_a_case_goes_from_open_to_resolved_and_its_reporters_read_the_answer(house: House) -> None:
    reply = house.reply("Which colour?", "Red.")
    first = house.say(reply, "report", "abuse", comment="Rude!")
    assert told(house, first.receipt) == ("in_review", "Your report has opened a case; a person looks into it.", None)
    case = the_case(house)
    change(house, case.public_id, status=CaseStatus.INVESTIGATING, note="Asked the team.", category="bias")
    assert (the_case(house).assignee, the_case(house).category) == (ADA, "bias")
    assert told(house, first.receipt)[1] == "A person is looking into it."
    with pytest.raises(Conflict, match=ADA):
        change(house, case.public_id, BOB, status=CaseStatus.RESOLVED, outcome=CaseOutcome.UPHELD)
    with pytest.raises(Conflict, match=ADA):
        decide(house, first.id, APPROVED, BOB)
    change(house, case.public_id, status=CaseStatus.RESOLVED, outcome=CaseOutcome.UPHELD, answer="You're right.")
    assert told(house, first.receipt)[::2] == ("resolved", "You're right.")

    second = house.say(reply, "report", "wrong")
    assert (the_case(house).public_id, the_case(house).status) == (case.public_id, CaseStatus.OPEN)
    assert told(house, second.receipt) == ("in_review", "Your report has opened a case; a person looks into it.", None)
    assert told(house, first.receipt) == ("in_review", "It is being looked at again.", "You're right.")
    decide(house, second.id, REJECTED, BOB, note="It is fine now.")
    assert (the_case(house).status, the_case(house).outcome) == (CaseStatus.RESOLVED, CaseOutcome.DISMISSED)
    assert told(house, second.receipt)[::2] == told(house, first.receipt)[::2] == ("declined", "It is fine now.")
    assert [note["text"] for note in the_case(house).notes] == ["Asked the team."]

    with house.database.read() as session:
        audit = session.exec(select(AuditEntry).where(col(AuditEntry.action).startswith("case."))).all()
    assert [entry.action for entry in audit] == [
        "case.open",
        "case.category",
        "case.note",
        "case.take",
        "case.resolve",
        "case.reopen",
        "case.resolve",
    ]
    assert "right" not in str([entry.details for entry in audit])


def test_who_disagrees_about_a_settled_report_opens_its_case_again(house: House) -> None:
    given = house.say(house.reply("Which colour?", "Red."), "report", "abuse")
    decide(house, given.id, APPROVED, ADA)
    assert the_case(house).status == CaseStatus.RESOLVED
    assert decide(house, given.id, REJECTED, BOB) == FeedbackStatus.IN_REVIEW
    assert the_case(house).status == CaseStatus.OPEN
    decide(house, given.id, REJECTED, CYD)
    assert (the_case(house).status, the_case(house).outcome) == (CaseStatus.RESOLVED, CaseOutcome.DISMISSED)


def test_a_report_that_somebody_looks_into_waits_for_nobody_else(house: House) -> None:
    given = house.say(house.reply("Which colour?", "Red."), "report", "abuse")
    change(house, the_case(house).public_id, status=CaseStatus.INVESTIGATING)
    assert (listed(house, ADA), listed(house, BOB)) == ([given.id], [])


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"status": CaseStatus.RESOLVED}, "outcome"),
        ({"outcome": CaseOutcome.UPHELD}, "outcome"),
        ({"answer": "Thanks."}, "answer"),
        ({"category": "boredom"}, "category"),
    ],
)
def test_changes_of_a_case_that_make_no_sense_are_refused(embedded: House, changes: dict[str, Any], param: str) -> None:
    embedded.say(embedded.reply("Which colour?", "Red."), "report", "abuse")
    with pytest.raises(InvalidInput) as refused:
        change(embedded, the_case(embedded).public_id, **changes)
    assert refused.value.param == param


def test_reports_at_once_about_one_reply_open_one_case(house: House) -> None:
    reply = house.reply("Which colour?", "Red.")
    at_once(THREADS, lambda number: house.say(reply, "report", "abuse", user=f"u{number}"))
    with house.database.read() as session:
        assert len(cases.reports_of(session, the_case(house))) == THREADS


def test_a_flood_of_reports_shows_its_newest_and_how_many_there_are(
    embedded: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_files, "SHOWN_REPORTS", 3)
    asked = embedded.reply("How tall?", "Tall.")
    reported = [embedded.say(asked, "report", "abuse", comment=str(n), anonymous=True) for n in range(5)]
    with embedded.database.read() as session:
        (shown,) = case_files.read(session, [the_case(embedded)])
    assert ([one.comment for one in shown.reports], shown.reports_total) == (["2", "3", "4"], 5)
    resolved = {"status": CaseStatus.RESOLVED, "outcome": CaseOutcome.UPHELD, "answer": "Gone."}
    change(embedded, the_case(embedded).public_id, **resolved)
    assert [told(embedded, one.receipt)[0] for one in reported] == ["resolved"] * 5


def test_deciding_on_a_report_and_on_its_case_at_once_ends_in_one_of_both(house: House) -> None:
    for number in range(4):
        given = house.say(house.reply(f"Question {number}?", "Red."), "report", "abuse")
        with house.database.read() as session:
            case = cases.of_reply(session, queue.get_feedback(session, given.id).message_id)
        assert case is not None

        def deed(turn: int, given: str = given.id, case_id: str = case.public_id) -> None:
            if turn:
                change(house, case_id, BOB, status=CaseStatus.RESOLVED, outcome=CaseOutcome.UPHELD, take_over=True)
            else:
                decide(house, given, REJECTED, ADA, final=True)

        at_once(2, deed)
        with house.database.read() as session:
            found = cases.get_case(session, case.public_id)
            upheld = found.outcome == CaseOutcome.UPHELD
            status = queue.get_feedback(session, given.id).status
            assert status == (FeedbackStatus.RECEIVED if upheld else FeedbackStatus.DECLINED)
            counting = session.exec(
                select(Review).where(
                    col(Review.counts).is_(True), Review.feedback_id == queue.get_feedback(session, given.id).id
                )
            ).one()
            assert (counting.decision == APPROVED) == upheld
