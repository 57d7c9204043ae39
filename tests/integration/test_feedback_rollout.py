"""A promoted version's way: tried, grown, finished, or taken back when people's words turn against it."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from feedback import adapters, approvals, assistants, contributors, conversations, quarantine, releases, rollout, runs
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput
from feedback.models import AdapterVersion, AuditEntry, Evaluation, Feedback, Message, Release
from feedback.states import FeedbackStatus, MessageStatus, ReleaseState, VerdictWord
from feedback.testing import SECRET, House
from feedback.trials import ShadowReply
from service import rollouts

CANARY = {"canary_percents": [10, 50], "canary_seconds": 0, "canary_replies": 5}


def version_of(house: House, requested_by: str = "test") -> AdapterVersion:
    """A version that was judged better than what serves."""
    with house.database.write() as session:
        run_id = runs.request(session, house.assistant, "a test", actor=requested_by).id
    held = runs.claim(house.database, "test", 60)
    assert held is not None
    with house.database.write() as session:
        version = adapters.register(session, house.assistant, hashlib.sha256(run_id.encode()).hexdigest(), run_id)
        baseline = releases.live(session, house.assistant).version
        session.add(
            Evaluation(run_id=run_id, candidate_id=version.id, baseline_id=baseline.id, verdict=VerdictWord.PROMOTE)
        )
        runs.finish(session, held)
    return version


def set_release(house: House, **policy: Any) -> None:
    with house.database.write() as session:
        assistant = assistants.get_assistant(session, house.name)
        assistants.set_policies(session, assistant, {"release": policy}, actor="test")
    house.assistant = house.reload()


def promote(house: House, version: AdapterVersion, actor: str = "test", **more: Any) -> Release:
    with house.database.write() as session:
        return releases.promote(session, house.assistant, version, actor=actor, reason="why", **more)


def advance(house: House) -> str:
    """What was done, if anything."""
    with house.database.write() as session:
        taken = rollout.advance(session, house.assistant)
    return taken.step.move.value if taken else "nothing"


def step(house: House) -> rollout.Step:
    with house.database.read() as session:
        seen = rollout.look(session, house.assistant)
    assert seen is not None
    return seen.step


def serving(house: House) -> dict[ReleaseState, tuple[int, float]]:
    """State → (version's number, percent), of what serves."""
    states = (ReleaseState.SHADOW, ReleaseState.CANARY, ReleaseState.LIVE, ReleaseState.HOLDOUT)
    with house.database.read() as session:
        return {
            one.state: (session.get_one(AdapterVersion, one.adapter_version_id).number, one.traffic_percent)
            for one in releases.list_releases(session, house.assistant)
            if one.state in states
        }


def number_of(house: House, number: int) -> AdapterVersion:
    with house.database.read() as session:
        return adapters.get_number(session, house.assistant, number)


def write(house: House, *numbers: int, user: str = "ada", failed: bool = False, seconds: float = 1.0) -> str:
    """A question answered once by each of these versions, as their shares had it; returns the completion's id."""
    completion_id = f"cmp-{user}-{hashlib.sha256(repr((numbers, now())).encode()).hexdigest()[:12]}"
    person = contributors.contributor_id(SECRET, house.assistant.id, house.caller.api_key_id, user)
    turn = conversations.Turn([{"role": "user", "content": f"Hello from {user}"}], house.caller.api_key_id, person)
    versions = [number_of(house, number) for number in numbers]
    with house.database.write() as session:
        serving = {one.adapter_version_id: one.id for one in releases.list_releases(session, house.assistant)[::-1]}
        guidelines = assistants.current_guidelines(session, house.assistant)
        ids = conversations.begin_replies(
            session, house.assistant, guidelines, versions, turn, completion_id=completion_id, sampling={},
            release_ids=[serving[version.id] for version in versions],
        )  # fmt: skip
        status = MessageStatus.FAILED if failed else MessageStatus.COMPLETE
        for message_id, number in zip(ids, numbers, strict=True):
            conversations.finish_reply(
                session, message_id, f"I am {number}.", status, finish_reason="error" if failed else "stop",
                prompt_tokens=1, completion_tokens=4,
            )  # fmt: skip
        for message_id in ids:
            reply = session.get_one(Message, message_id)
            reply.completed_at = reply.created_at + timedelta(seconds=seconds)
            session.add(reply)
    return completion_id


def choose(house: House, winner: int, loser: int, user: str) -> None:
    completion_id = write(house, winner, loser, user=user)
    house.say(completion_id, "preference", {"rejected": {"choice": 1}}, user=user)


@pytest.fixture
def tried(embedded: House) -> House:
    """support@1 is a canary with a tenth of the conversations."""
    set_release(embedded, **CANARY)
    assert promote(embedded, version_of(embedded)).state == ReleaseState.CANARY
    return embedded


def test_a_canary_grows_while_nothing_speaks_against_it(tried: House) -> None:
    assert serving(tried) == {ReleaseState.LIVE: (0, 100), ReleaseState.CANARY: (1, 10)}
    assert advance(tried) == "nothing"
    assert step(tried).reason == "0 of 5 replies."
    for _ in range(5):
        write(tried, 1)
    assert advance(tried) == "grow"
    assert serving(tried)[ReleaseState.CANARY] == (1, 50)
    assert advance(tried) == "grow"
    assert serving(tried) == {ReleaseState.LIVE: (1, 100)}
    assert advance(tried) == "nothing"
    with tried.database.read() as session:
        entries = session.exec(select(AuditEntry).order_by(AuditEntry.id)).all()
    moves = [(one.actor, one.action) for one in entries if one.action.startswith("release.")]
    assert moves == [("test", "release.canary"), ("evidence", "release.grow"), ("evidence", "release.promote")]


def test_blind_choices_take_a_canary_back(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(30):
        choose(tried, 0, 1, user=f"person-{person}")
        if advance(tried) == "take back":
            break
    assert person == 7  # eight of eight: .4 · 2⁹/9 · (1 - 2⁻⁸) and what the other kinds have, 1 each
    assert serving(tried) == {ReleaseState.LIVE: (0, 100)}
    with tried.database.read() as session:
        release = releases.list_releases(session, tried.assistant)[0]
    assert (release.state, release.actor) == (ReleaseState.VETOED, "evidence")
    assert f"{person + 1} of {person + 1} blind choices went to the other version" in release.reason
    promote(tried, version_of(tried), at_once=True)
    with pytest.raises(InvalidInput, match="not found better"):  # it never served everybody
        promote(tried, number_of(tried, 1))


def test_one_person_has_one_vote_however_often_they_choose(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for _ in range(30):
        choose(tried, 0, 1, user="mallory")
    assert advance(tried) == "nothing"
    with tried.database.read() as session:
        seen = rollout.look(session, tried.assistant)
    assert seen is not None
    assert (seen.evidence.choices.wins, seen.evidence.choices.losses) == (0, 1)


def test_doubt_holds_a_canary_without_taking_it_back(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(6):
        choose(tried, 0, 1, user=f"person-{person}")
    assert advance(tried) == "nothing"
    assert step(tried).reason.startswith("it waits: 6 of 6 blind choices")


def test_reports_take_a_canary_back(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(20):
        write(tried, 0, user=f"quiet-{person}")
        reported = write(tried, 1, user=f"person-{person}")
        tried.say(reported, "report", "wrong", user=f"person-{person}")
        if advance(tried) == "take back":
            break
    assert serving(tried) == {ReleaseState.LIVE: (0, 100)}
    with tried.database.read() as session:
        assert "reports are about it" in releases.list_releases(session, tried.assistant)[0].reason


def test_failing_replies_take_a_canary_back(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(40):
        write(tried, 0, user=f"fine-{person}")
        write(tried, 1, user=f"failed-{person}", failed=True)
        if advance(tried) == "take back":
            break
    assert serving(tried) == {ReleaseState.LIVE: (0, 100)}
    with tried.database.read() as session:
        assert "failed replies are its own" in releases.list_releases(session, tried.assistant)[0].reason


def test_people_who_report_both_versions_accuse_neither(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(15):
        for number in (person % 2, 1 - person % 2):
            tried.say(write(tried, number, user=f"person-{person}"), "report", "wrong", user=f"person-{person}")
    with tried.database.read() as session:
        seen = rollout.look(session, tried.assistant)
    assert seen is not None
    assert (seen.evidence.reports.wins, seen.evidence.reports.losses) == (7, 8)


def test_replies_that_take_longer_take_a_canary_back(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(40):
        write(tried, 0, user=f"quick-{person}", seconds=1.0)
        write(tried, 1, user=f"slow-{person}", seconds=1.6)
        if advance(tried) == "take back":
            break
    assert serving(tried) == {ReleaseState.LIVE: (0, 100)}
    assert person < 20
    with tried.database.read() as session:
        assert "1.5 times as long" in releases.list_releases(session, tried.assistant)[0].reason


def test_what_a_client_asked_a_version_by_name_says_nothing(tried: House) -> None:
    for person in range(30):
        completion_id = write(tried, 1, user=f"person-{person}", failed=True)
        with tried.database.write() as session:
            reply, _ = conversations.get_reply(session, None, completion_id, 0)
            reply.release_id = None
            session.add(reply)
    assert advance(tried) == "nothing"


def test_curation_takes_no_vote_back_but_a_reviewer_does(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(3):
        choose(tried, 0, 1, user=f"person-{person}")
    with tried.database.write() as session:
        given = session.exec(select(Feedback).order_by(Feedback.id)).all()
        given[0].status = FeedbackStatus.DECLINED
        session.add(given[0])
    with tried.database.read() as session:
        seen = rollout.look(session, tried.assistant)
    assert seen is not None
    assert seen.evidence.choices.losses == 3


def test_who_is_held_back_has_no_vote(tried: House) -> None:
    set_release(tried, canary_seconds=3600)
    for person in range(3):
        choose(tried, 0, 1, user=f"person-{person}")
    with tried.database.write() as session:
        given = session.exec(select(Feedback).order_by(Feedback.id)).all()
        quarantine.quarantine(session, tried.assistant, str(given[0].contributor_id), "a troll", actor="test")
    with tried.database.read() as session:
        seen = rollout.look(session, tried.assistant)
    assert seen is not None
    assert seen.evidence.choices.losses == 2


def test_one_assistant_s_trouble_hinders_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    other = House(house.settings, house.database, "garden")
    for one in (house, other):
        set_release(one, **CANARY)
        promote(one, version_of(one))
        for _ in range(5):
            write(one, 1)
    look = rollout.look

    def broken(session: Any, assistant: Any) -> Any:
        if assistant.name == "garden":
            raise InvalidInput("broken")
        return look(session, assistant)

    monkeypatch.setattr(rollout, "look", broken)
    moved, problems = rollouts.advance_all(house.database)
    assert moved
    assert problems == {"garden: the rollout": "broken"}
    assert serving(house)[ReleaseState.CANARY] == (1, 50)


def test_what_is_tainted_serves_nobody_beside_the_live_version(embedded: House) -> None:
    set_release(embedded, holdout_percent=5, canary_percents=[10])
    first = version_of(embedded)
    promote(embedded, first, at_once=True)
    promote(embedded, version_of(embedded))
    assert serving(embedded) == {
        ReleaseState.LIVE: (1, 100), ReleaseState.HOLDOUT: (0, 5), ReleaseState.CANARY: (2, 10),
    }  # fmt: skip
    with embedded.database.write() as session:
        both = [number_of(embedded, 2).id, number_of(embedded, 0).id]
        releases.withdraw(session, embedded.assistant, both, actor="ada", reason="It was erased.")
    assert serving(embedded) == {ReleaseState.LIVE: (1, 100)}
    with embedded.database.read() as session:
        newest = releases.list_releases(session, embedded.assistant)[0]
    assert (newest.traffic_percent, newest.reason) == (0, "It was erased.")


def test_what_was_turned_down_needs_force(tried: House) -> None:
    with tried.database.write() as session:
        releases.veto(session, tried.assistant, number_of(tried, 1), actor="eve", reason="No.")
    with pytest.raises(InvalidInput, match="not found better"):
        promote(tried, number_of(tried, 1))
    assert promote(tried, number_of(tried, 1), force=True).state == ReleaseState.CANARY


def test_who_ends_a_trial_early_needs_the_others_agreement_too(embedded: House) -> None:
    set_release(embedded, approvals=2, **CANARY)
    version = version_of(embedded)
    assert promote(embedded, version, actor="worker:run-1").state == ReleaseState.CANARY
    assert promote(embedded, version, actor="ada").state == ReleaseState.CANARY
    assert promote(embedded, version, actor="bob").state == ReleaseState.LIVE


def test_the_replaced_version_keeps_a_share_and_comes_back_on_reverse_evidence(embedded: House) -> None:
    set_release(embedded, holdout_percent=5)
    promote(embedded, version_of(embedded))
    assert serving(embedded) == {ReleaseState.LIVE: (1, 100), ReleaseState.HOLDOUT: (0, 5)}
    assert advance(embedded) == "nothing"
    for person in range(20):
        choose(embedded, 0, 1, user=f"person-{person}")
    assert advance(embedded) == "take back"
    assert serving(embedded) == {ReleaseState.LIVE: (0, 100)}


def test_a_holdout_ends_when_its_time_is_over(embedded: House) -> None:
    set_release(embedded, holdout_percent=5, holdout_seconds=0)
    promote(embedded, version_of(embedded))
    assert advance(embedded) == "end the holdout"
    assert serving(embedded) == {ReleaseState.LIVE: (1, 100)}
    with embedded.database.write() as session:
        releases.roll_back(session, embedded.assistant, actor="test", reason="after all")
    assert serving(embedded) == {ReleaseState.LIVE: (0, 100)}


def test_a_shadow_is_shown_when_enough_of_it_went_well(embedded: House) -> None:
    set_release(embedded, shadow_replies=3, **CANARY)
    release = promote(embedded, version_of(embedded))
    assert serving(embedded)[ReleaseState.SHADOW] == (1, 0)
    shadow(embedded, release, 2)
    assert advance(embedded) == "nothing"
    shadow(embedded, release, 1)
    assert advance(embedded) == "grow"
    assert serving(embedded)[ReleaseState.CANARY] == (1, 10)


def test_a_shadow_that_fails_is_taken_back(embedded: House) -> None:
    set_release(embedded, shadow_replies=30)
    release = promote(embedded, version_of(embedded))
    shadow(embedded, release, 4, failed=True)
    assert advance(embedded) == "take back"
    assert serving(embedded) == {ReleaseState.LIVE: (0, 100)}


def shadow(house: House, release: Release, count: int, *, failed: bool = False) -> None:
    for _ in range(count):
        completion_id = write(house, 0)
        with house.database.write() as session:
            reply, _ = conversations.get_reply(session, None, completion_id, 0)
            session.add(ShadowReply(release_id=release.id, message_id=reply.id, failed=failed))


def test_two_people_approve_where_the_policy_says_so(house: House) -> None:
    set_release(house, approvals=2)
    version = version_of(house)
    assert promote(house, version, "ada").state == ReleaseState.PROPOSED
    assert promote(house, version, "ada").state == ReleaseState.PROPOSED
    assert promote(house, version, "bob").state == ReleaseState.LIVE
    with house.database.read() as session:
        release = releases.live(session, house.assistant).release
        assert [one.actor for one in approvals.given(session, release)] == ["ada", "bob"]


def test_who_asked_for_a_run_does_not_promote_it_where_duties_are_separate(embedded: House) -> None:
    set_release(embedded, separate_duties=True)
    version = version_of(embedded, requested_by="ada")
    with pytest.raises(InvalidInput, match="somebody else has to promote it"):
        promote(embedded, version, "ada")
    assert promote(embedded, version, "bob").state == ReleaseState.LIVE


def test_frozen_releases_neither_promote_nor_grow_but_are_taken_back(tried: House) -> None:
    for _ in range(5):
        write(tried, 1)
    set_release(tried, frozen=True)
    assert advance(tried) == "nothing"
    with pytest.raises(InvalidInput, match="frozen"):
        promote(tried, number_of(tried, 1))
    with tried.database.write() as session:
        releases.roll_back(session, tried.assistant, actor="test", reason="no", expected_live=1)
    assert serving(tried) == {ReleaseState.LIVE: (0, 100)}


def test_a_veto_turns_a_proposal_down_and_takes_a_trial_back(tried: House) -> None:
    with tried.database.write() as session:
        releases.veto(session, tried.assistant, number_of(tried, 1), actor="eve", reason="I saw it lie.")
        assert releases.list_releases(session, tried.assistant)[0].reason == "I saw it lie."
    assert serving(tried) == {ReleaseState.LIVE: (0, 100)}
    set_release(tried, approvals=2)
    proposed = version_of(tried)
    promote(tried, proposed, "ada")
    with tried.database.write() as session:
        assert releases.veto(session, tried.assistant, proposed, actor="eve", reason="No.").state == "vetoed"
    with tried.database.write() as session, pytest.raises(InvalidInput, match="neither proposed nor on trial"):
        releases.veto(session, tried.assistant, proposed, actor="eve", reason="No.")


def test_only_one_version_is_on_trial(tried: House) -> None:
    with pytest.raises(InvalidInput, match="support@1 is on trial"):
        promote(tried, version_of(tried))
    assert promote(tried, number_of(tried, 1)).state == ReleaseState.LIVE  # whoever can't wait


def test_of_two_who_move_a_trial_at_once_one_looks_again(tried: House) -> None:
    with tried.database.read() as session:
        stale = releases.on_trial(session, tried.assistant)
    assert stale is not None
    with tried.database.write() as session:
        releases.change_share(
            session, tried.assistant, session.get_one(Release, stale.id), 20, actor="test", reason="well"
        )
    with tried.database.write() as session, pytest.raises(Conflict):
        releases._change(session, stale, ReleaseState.CANARY, traffic_percent=30.0)


def test_what_was_said_before_the_trial_says_nothing_of_it(tried: House) -> None:
    choose(tried, 0, 1, user="ada")
    with tried.database.write() as session:
        release = releases.on_trial(session, tried.assistant)
        assert release is not None
        release.tried_at = now() + timedelta(seconds=5)
        session.add(release)
    with tried.database.read() as session:
        seen = rollout.look(session, tried.assistant)
    assert seen is not None
    assert seen.evidence.choices.losses == 0


def set_share(house: House, percent: int, **more: Any) -> Release:
    with house.database.write() as session:
        return rollout.set_share(session, house.assistant, percent, actor="ada", reason="why", **more)


def against(house: House) -> float:
    with house.database.read() as session:
        seen = rollout.look(session, house.assistant)
    assert seen is not None
    return seen.evidence.worse


def test_a_person_s_share_is_where_it_grows_on_from(tried: House) -> None:
    assert set_share(tried, 30).traffic_percent == 30
    for _ in range(5):
        write(tried, 1)
    assert advance(tried) == "grow"
    assert serving(tried)[ReleaseState.CANARY] == (1, 50)
    with tried.database.read() as session:
        grown = session.exec(select(AuditEntry).where(AuditEntry.action == "release.grow")).all()
    assert [(one.actor, one.details["percent"]) for one in grown] == [("ada", 30), ("evidence", 50)]


def test_what_spoke_against_it_weighs_as_much_after_a_person_s_move(tried: House) -> None:
    fresh = against(tried)
    for person in range(3):
        tried.say(write(tried, 1, user=f"person-{person}"), "report", "wrong", user=f"person-{person}")
    before = against(tried)
    assert before > fresh + 1
    for percent in (20, 30, 20, 30):
        set_share(tried, percent)
    assert against(tried) == pytest.approx(before)


def test_a_shadow_becomes_a_canary_by_a_person_s_word(embedded: House) -> None:
    set_release(embedded, shadow_replies=5, **CANARY)
    assert promote(embedded, version_of(embedded)).state == ReleaseState.SHADOW
    assert set_share(embedded, 20, expected=1).state == ReleaseState.CANARY


def test_only_what_is_on_trial_has_a_share_to_set(tried: House) -> None:
    with pytest.raises(Conflict, match="not @2"):
        set_share(tried, 20, expected=2)
    for percent in (0, 100):
        with pytest.raises(InvalidInput, match="from 1 to 99"):
            set_share(tried, percent)
    promote(tried, number_of(tried, 1))  # live
    with pytest.raises(InvalidInput, match="Nothing of 'support' is on trial"):
        set_share(tried, 20)
