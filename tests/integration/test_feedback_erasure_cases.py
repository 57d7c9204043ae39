"""What reviewers wrote about a case, when one of several reports goes."""

import pytest
from remains import files_with, tables_with

from feedback import cases, review
from feedback.collect import receipts
from feedback.collect.intake import Accepted
from feedback.erasure import erase, finish
from feedback.erasure.subjects import Named, resolve
from feedback.erasure.withdrawal import withdraw
from feedback.models import ReportCase
from feedback.review import reports
from feedback.states import CaseOutcome, CaseStatus, ReviewDecision
from feedback.testing import SECRET, House

ADA = "Zanzibar"


def two_reports(house: House) -> tuple[Accepted, Accepted]:
    asked = house.reply("Which colour?", "Red.", user="carl")
    adas = house.say(asked, "report", "privacy", comment=f"I am {ADA}.", user="ada")
    return adas, house.say(asked, "report", "privacy", user="bob")


def case_of(house: House, report: Accepted) -> ReportCase:
    with house.database.read() as session:
        message_id = review.get_feedback(session, report.id).message_id
        found = cases.of_reply(session, message_id)
    assert found is not None
    return found


def close(house: House, report: Accepted, answer: str) -> None:
    with house.database.write() as session:
        case = cases.get_case(session, case_of(house, report).public_id, lock=True)
        closed = {"status": CaseStatus.RESOLVED, "outcome": CaseOutcome.DISMISSED, "answer": answer}
        reports.change(session, case, actor="r", note=f"I wrote: {answer}", **closed)


def receipt(house: House, report: Accepted) -> receipts.Receipt:
    with house.database.read() as session:
        return receipts.look_up(session, report.receipt)


def erase_ada(house: House) -> None:
    with house.database.read() as session:
        subject = resolve(session, SECRET, house.assistant, Named(user="ada"))
    erase.erase(house.database, house.assistant, subject, actor="test")


def assert_forgotten(house: House) -> None:
    assert finish.clean_files(house.database, house.settings)
    assert finish.scrub(house.database, at_once=True)
    assert tables_with(house.database, ADA) == []
    assert files_with(house.settings.data_folder, ADA) == []


def test_what_was_written_about_a_case_goes_with_any_of_its_reports_and_the_outcome_stays(house: House) -> None:
    _, bobs = two_reports(house)
    close(house, bobs, f"Dear {ADA}, that was too much.")  # an earlier answer, which no longer counts
    close(house, bobs, f"Dear {ADA}, no.")
    others = house.say(house.reply("Which size?", "Big."), "report", "abuse")
    close(house, others, "It is fine.")
    told = receipt(house, bobs)
    assert told.note == f"Dear {ADA}, no."
    erase_ada(house)
    assert_forgotten(house)
    case = case_of(house, bobs)
    assert (case.status, case.outcome, case.answer, case.notes) == (
        CaseStatus.RESOLVED,
        CaseOutcome.DISMISSED,
        None,
        [],
    )
    again = receipt(house, bobs)
    assert (again.status, again.detail, again.note) == (told.status, told.detail, None)
    with house.database.read() as session:
        assert review.get_feedback(session, bobs.id).status_reason == "a reviewer decided so."
    assert receipt(house, others).note == "It is fine."
    assert "It is fine." in str(case_of(house, others).notes)


@pytest.mark.parametrize("decided_on", ["hers", "the other"])
def test_so_does_what_was_said_with_a_decision_on_either_report(house: House, decided_on: str) -> None:
    adas, bobs = two_reports(house)
    with house.database.write() as session:
        report = review.get_feedback(session, (adas if decided_on == "hers" else bobs).id)
        words = {"note": f"{ADA} is right.", "comment": f"I know {ADA}."}
        review.decide(session, report, ReviewDecision.REJECTED, actor="r", **words)
    assert receipt(house, bobs).note == f"{ADA} is right."
    withdraw(house.database, adas.receipt)
    assert_forgotten(house)
    assert (case_of(house, bobs).outcome, receipt(house, bobs).note) == (CaseOutcome.DISMISSED, None)
