"""Which version serves: numbers, verdicts, promotion and rolling back, one live release whatever happens."""

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlmodel import select

from feedback import adapters, releases, runs
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.models import AdapterVersion, AuditEntry, Evaluation, Release
from feedback.states import ReleaseState, VerdictWord
from feedback.testing import House, open_house


def register(house: House, verdict: VerdictWord | None = VerdictWord.PROMOTE) -> AdapterVersion:
    """A version out of a finished run, judged if `verdict` is given."""
    with house.database.write() as session:
        run_id = runs.request(session, house.assistant, "a test", actor="test").id
    held = runs.claim(house.database, "test", 60)
    assert held is not None
    with house.database.write() as session:
        sha256 = hashlib.sha256(run_id.encode()).hexdigest()
        version = adapters.register(session, house.assistant, sha256, run_id)
        assert adapters.register(session, house.assistant, sha256, run_id).id == version.id
        if verdict is not None:
            baseline = releases.live(session, house.assistant).version
            judged = Evaluation(run_id=run_id, candidate_id=version.id, baseline_id=baseline.id, verdict=verdict)
            session.add(judged)
        runs.finish(session, held)
    return version


def promote(house: House, version: AdapterVersion, *, expected: int | None = None, force: bool = False) -> int:
    with house.database.write() as session:
        release = releases.promote(
            session, house.assistant, version, actor="test", reason="why", expected_release_id=expected, force=force
        )
        return release.id


def roll_back(house: House, expected_live: int | None = None) -> None:
    with house.database.write() as session:
        releases.roll_back(session, house.assistant, actor="test", reason="why not", expected_live=expected_live)


def live(house: House) -> releases.Live:
    with house.database.read() as session:
        return releases.live(session, house.assistant)


def states(house: House) -> list[tuple[int, ReleaseState]]:
    """(adapter version id, state) of every release, oldest first."""
    with house.database.read() as session:
        return [(one.adapter_version_id, one.state) for one in releases.list_releases(session, house.assistant)][::-1]


def test_an_assistant_begins_with_its_bare_base_live(embedded: House) -> None:
    assert live(embedded).version.number == 0
    with pytest.raises(InvalidInput, match="Nothing served"):
        roll_back(embedded)


def test_promoting_and_rolling_back_walk_the_pointer_and_leave_their_trace(house: House) -> None:
    promote(house, register(house))
    two = register(house)
    promote(house, two)
    assert live(house).version.number == 2
    roll_back(house)
    assert live(house).version.number == 1
    roll_back(house)
    assert live(house).version.number == 0
    with pytest.raises(InvalidInput):
        roll_back(house)
    promote(house, two)
    roll_back(house)
    assert live(house).version.number == 0
    with house.database.read() as session:
        entries = session.exec(select(AuditEntry).order_by(AuditEntry.id)).all()
    moves = [(one.action, one.subject, one.details["replaced"]) for one in entries if one.action.startswith("release.")]
    assert moves == [
        ("release.promote", "support@1", "support@0"),
        ("release.promote", "support@2", "support@1"),
        ("release.roll_back", "support@1", "support@2"),
        ("release.roll_back", "support@0", "support@1"),
        ("release.promote", "support@2", "support@0"),
        ("release.roll_back", "support@0", "support@2"),
    ]


def test_numbers_grow_by_one_and_are_found_by_their_label(embedded: House) -> None:
    made = [register(embedded, VerdictWord.REJECT) for _ in range(3)]
    assert [version.number for version in made] == [1, 2, 3]
    with embedded.database.read() as session:
        assert adapters.get_version(session, "support@2")[1].id == made[1].id
        assert adapters.label_of(session, made[2]) == "support@3"
        for label in ("support@4", "support", "support@", "support@x", "nobody@1"):
            with pytest.raises(NotFound):
                adapters.get_version(session, label)


@pytest.mark.parametrize("verdict", [None, VerdictWord.REJECT, VerdictWord.INCONCLUSIVE, VerdictWord.BLOCKED])
def test_what_was_not_found_better_needs_force(embedded: House, verdict: VerdictWord | None) -> None:
    version = register(embedded, verdict)
    with pytest.raises(InvalidInput) as refused:
        promote(embedded, version)
    assert refused.value.code == "verdict_not_promote"
    assert live(embedded).version.number == 0
    promote(embedded, version, force=True)
    assert live(embedded).version.number == 1
    with embedded.database.read() as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "release.promote")).one()
    assert entry.details["forced"] is True


def test_a_verdict_holds_only_against_the_version_it_was_reached_with(embedded: House) -> None:
    one, two = register(embedded), register(embedded)
    promote(embedded, one)
    with pytest.raises(InvalidInput, match=r"not found better than @1, which serves \(PROMOTE against @0") as refused:
        promote(embedded, two)
    assert refused.value.code == "verdict_not_promote"
    roll_back(embedded)
    promote(embedded, two)
    assert live(embedded).version.id == two.id


def test_taking_the_same_version_back_twice_takes_back_one(embedded: House) -> None:
    promote(embedded, register(embedded))
    promote(embedded, register(embedded))
    roll_back(embedded, expected_live=2)
    with pytest.raises(Conflict, match="support@2 doesn't serve"):
        roll_back(embedded, expected_live=2)
    assert live(embedded).version.number == 1


def test_what_serves_already_is_not_promoted(embedded: House) -> None:
    version = register(embedded)
    promote(embedded, version)
    with pytest.raises(InvalidInput, match="serves already"):
        promote(embedded, version, force=True)


def test_what_served_before_may_serve_again(embedded: House) -> None:
    version = register(embedded, None)
    promote(embedded, version, force=True)
    roll_back(embedded)
    promote(embedded, version)
    assert live(embedded).version.id == version.id


def test_a_decision_on_an_outdated_view_is_a_conflict(house: House) -> None:
    one, two = register(house), register(house)
    seen = live(house).release.id
    promote(house, one, expected=seen)
    with pytest.raises(Conflict):
        promote(house, two, expected=seen)
    assert live(house).version.number == 1


def test_of_two_promoters_at_once_one_gets_conflict(house: House) -> None:
    candidates = [register(house), register(house)]
    for _ in range(5):
        seen, start = live(house).release.id, Barrier(2)

        def move(version: AdapterVersion, seen: int = seen, start: Barrier = start) -> int:
            start.wait()
            return promote(house, version, expected=seen)

        with ThreadPoolExecutor(2) as pool:
            outcomes = [future.exception() for future in [pool.submit(move, version) for version in candidates]]
        assert sorted(type(outcome) for outcome in outcomes if outcome) == [Conflict]
        assert [state for _, state in states(house)].count(ReleaseState.LIVE) == 1
        winner = candidates[0 if outcomes[0] is None else 1]
        assert live(house).version.id == winner.id
        roll_back(house)


def test_a_proposal_waits_is_overtaken_and_declined(house: House) -> None:
    one, two = register(house), register(house)
    for version in (one, two):
        with house.database.write() as session:
            judged = session.exec(select(Evaluation).where(Evaluation.candidate_id == version.id)).one()
            releases.propose(session, house.assistant, judged, actor="test")
    proposed, declined = ReleaseState.PROPOSED, ReleaseState.DECLINED
    assert states(house)[1:] == [(one.id, declined), (two.id, proposed)]
    assert live(house).version.number == 0
    promote(house, two)
    assert states(house)[1:] == [(one.id, declined), (two.id, ReleaseState.LIVE)]


OPERATIONS = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=12)
"""None: roll back; a number: promote that version."""


@pytest.fixture(scope="module")
def shared() -> Iterator[House]:
    """One database for all examples; each makes an assistant of its own."""
    with TemporaryDirectory() as folder, open_house(Path(folder)) as house:
        yield house


@hypothesis_settings(max_examples=25, deadline=None)
@given(operations=OPERATIONS)
def test_the_live_version_is_the_top_of_a_stack(shared: House, operations: list[int | None]) -> None:
    house = House(shared.settings, shared.database, f"a{secrets.token_hex(6)}")
    versions = [live(house).version, *(register(house) for _ in range(3))]
    stack = [0]
    for operation in operations:
        if operation is None:
            possible = len(stack) > 1
            if possible:
                stack.pop()
        else:
            possible = stack[-1] != operation
            if possible:
                stack.append(operation)
        try:
            roll_back(house) if operation is None else promote(house, versions[operation], force=True)
            assert possible
        except InvalidInput:
            assert not possible
        assert live(house).version.number == stack[-1]
        with house.database.read() as session:
            of_this = session.exec(select(Release).where(Release.assistant_id == house.assistant.id)).all()
        assert [one.state for one in of_this].count(ReleaseState.LIVE) == 1
        assert all((one.ended_at is None) == (one.state == ReleaseState.LIVE) for one in of_this)
