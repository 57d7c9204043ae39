"""What learned from erased words: tainted, trained anew without them, and not live again unless that is meant."""

from collections.abc import Iterator

import pytest
from erasures import ADAS, erase, finish_all, open_run, person, versions
from pretended_training import Works
from remains import files_with
from sqlmodel import select

from feedback import adapters, files, releases, review
from feedback.erasure.withdrawal import withdraw
from feedback.errors import BurnishError, InvalidInput
from feedback.models import AuditEntry
from feedback.run_folder import attempt_folder
from feedback.states import Side
from feedback.testing import House
from trainer.inputs import read_run


@pytest.fixture
def works(house: House) -> Works:
    return Works(house)


def test_what_learned_from_it_is_tainted_and_trained_anew_without_it(works: Works) -> None:
    house, ada = works.house, person(works.house, Side.TRAIN)
    house.correct(f"Where is {ADAS}?", "No.", f"{ADAS} is in Tanzania.", user=ada)
    works.learn()
    erasure, _ = erase(house, user=ada)
    tainted = versions(house)
    assert tainted[0].tainted_at is None
    assert tainted[1].tainted_at
    assert erasure.public_id in str(tainted[1].tainted_reason)
    assert works.proposed() == []
    waiting = open_run(house)
    assert waiting.reason == f"without what {erasure.public_id} erased"
    assert works.worker.work_once()
    anew = works.version(waiting.id)
    assert anew.tainted_at is None
    assert files_with(house.settings.runs / waiting.id, ADAS) == []
    finish_all(house)
    with pytest.raises(BurnishError, match=r"rows: they were erased since.*`burnish train ASSISTANT`"):
        read_run(house.settings.runs / str(tainted[1].run_id))
    read_run(house.settings.runs / waiting.id)


def test_what_went_on_from_a_tainted_version_is_tainted_too_and_nothing_new_goes_on_from_it(works: Works) -> None:
    house, ada = works.house, person(works.house, Side.TRAIN)
    works.policy(hyperparameters={"warm_start": True})
    given = house.correct(f"Where is {ADAS}?", "No.", f"{ADAS} is in Tanzania.", user=ada)
    first = works.learn()
    works.promote(first)
    with house.database.write() as session:
        review.decide(session, review.get_feedback(session, given.id), "rejected", note="", actor="test")
    second = works.learn()
    assert second.began_from_id == first.id
    assert files_with(house.settings.runs / str(second.run_id), ADAS) == []
    erase(house, user=ada)
    after = versions(house)
    assert after[1].tainted_at
    assert after[2].tainted_at
    waiting = open_run(house)
    assert works.worker.work_once()
    assert works.version(waiting.id).began_from_id is None
    assert works.version(waiting.id).tainted_at is None
    assert read_run(house.settings.runs / waiting.id)[0].start_version == "base"


def test_what_a_tainted_version_says_stays_in_no_report(works: Works) -> None:
    """Neither of a run that learned nothing of it and was held against it, nor of the next one, while it serves on."""
    house, ada = works.house, person(works.house, Side.TRAIN)

    def replies(run_id: str | None) -> set[str]:
        found = files.read_json(attempt_folder(house.settings.runs / str(run_id), 1) / "evaluation.json")
        return {row[side]["reply"] for row in found["rows"] for side in ("candidate", "baseline")}

    given = house.correct(f"Where is {ADAS}?", "No.", f"{ADAS} is in Tanzania.", user=ada)
    works.promote(works.learn())
    with house.database.write() as session:
        review.decide(session, review.get_feedback(session, given.id), "rejected", note="", actor="test")
    second = works.learn()
    assert replies(second.run_id) == {"14", "no"}
    erase(house, user=ada)
    finish_all(house)
    assert versions(house)[2].tainted_at is None
    assert replies(second.run_id) == {""}
    waiting = open_run(house)
    assert works.worker.work_once()
    assert works.version(waiting.id).tainted_at is None
    assert replies(waiting.id) == {""}


@pytest.fixture
def tainted(works: Works) -> Iterator[Works]:
    """@1 was live before @2, which is; both are tainted."""
    given = works.house.correct(f"Where is {ADAS}?", "No.", "There.", user=person(works.house, Side.TRAIN))
    for _ in range(2):
        works.promote(works.learn())
    withdraw(works.house.database, given.receipt)
    return works


def test_taint_blocks_promotion_even_by_force_but_for_the_base(tainted: Works) -> None:
    house = tainted.house
    version = versions(house)[1]
    with house.database.write() as session, pytest.raises(InvalidInput, match=r"support@1 is tainted.*support@0"):
        releases.promote(session, house.assistant, version, actor="test", reason="a test", force=True)
    tainted.promote(versions(house)[0])
    assert tainted.live() == 0


def test_a_version_that_is_tainted_while_it_is_about_to_go_live_does_not(works: Works) -> None:
    house = works.house
    given = house.correct(f"Where is {ADAS}?", "No.", "There.", user=person(house, Side.TRAIN))
    untainted = works.learn()
    withdraw(house.database, given.receipt)
    assert untainted.tainted_at is None, "as somebody read it before that"
    with house.database.write() as session, pytest.raises(InvalidInput, match="is tainted"):
        releases.promote(session, house.assistant, untainted, actor="test", reason="a test", force=True)


def test_rolling_back_to_a_tainted_version_has_to_be_meant(tainted: Works) -> None:
    house = tainted.house
    with house.database.write() as session, pytest.raises(InvalidInput, match=r"--accept-tainted") as refused:
        releases.roll_back(session, house.assistant, actor="test", reason="a test")
    assert refused.value.code == "version_tainted"
    with house.database.write() as session:
        releases.roll_back(session, house.assistant, actor="test", reason="a test", accept_tainted=True)
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "release.roll_back")).one()
    assert tainted.live() == 1
    assert entry.details["forced"]


def test_a_row_of_two_peoples_words_taints_for_each_of_them(works: Works) -> None:
    """The row goes with the first of them; what learned from it learned the second's words all the same."""
    house = works.house
    given = [
        house.correct("Where is the pen?", "No.", f"It is {where}.", user=user)
        for user, where in (("ada", "here"), ("bob", "here"))
    ]
    works.learn()
    for one in given:
        with house.database.write() as session:
            version = adapters.get_number(session, house.assistant, 1)
            version.tainted_at = None
            session.add(version)
        _, done = erase(house, feedback=one.id)
        assert done.tainted == ["support@1"]
