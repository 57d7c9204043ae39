"""Lineage, walked both ways from every kind of thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pretended_training import Works
from sqlalchemy import event
from sqlalchemy.engine import Engine

from feedback import assistants, lineage_tree
from feedback.contributors import contributor_id, side_of
from feedback.erasure.withdrawal import withdraw
from feedback.errors import InvalidInput, NotFound
from feedback.lineage_nodes import DatasetTree, FeedbackTree, MessageTree, RunTree, Tree, VersionTree
from feedback.states import ReleaseState, Side
from feedback.testing import SECRET, House


@pytest.fixture
def works(house: House) -> Works:
    return Works(house)


def trace(house: House, reference: str, **more: Any) -> Tree:
    with house.database.read() as session:
        return lineage_tree.trace(session, reference, **more)


def person(house: House, side: Side) -> str:
    policy, key = assistants.policies(house.reload()).training, house.caller.api_key_id
    names = (f"person-{number}" for number in range(100, 1000))
    return next(one for one in names if side_of(contributor_id(SECRET, house.assistant.id, key, one), policy) == side)


def test_from_a_piece_of_feedback_to_the_release_and_back(works: Works) -> None:
    house = works.house
    ada = person(house, Side.TRAIN)
    asked = house.reply("Which colour has it?", ["Red.", "Green."], user=ada)
    given = house.say(asked, "correction", "Blue.", choice=1)
    works.promote(version := works.learn())

    tree = trace(house, given.id)
    assert isinstance(tree, FeedbackTree)
    assert (tree.message.completion_id, tree.message.choice, tree.message.written_by) == (asked, 1, "support@0")
    assert tree.message.guidelines == 1
    assert tree.message.contributor == tree.feedback.contributor
    (dataset,) = tree.feedback.datasets
    assert (dataset.dataset, [row.side for row in dataset.rows]) == ("support v1", [Side.TRAIN])
    (run,) = dataset.runs
    assert run.version is not None
    assert (run.run, run.version.version, run.version.verdict) == (version.run_id, "support@1", "PROMOTE")
    assert run.version.releases[-1].state == ReleaseState.LIVE

    reply = trace(house, f"{asked}:1")
    assert isinstance(reply, MessageTree)
    assert (reply.feedback, reply.message) == ([tree.feedback], tree.message)
    assert (reply.learned_by, reply.judged, reply.feedback_total) == (["support@1"], [], 1)
    assert trace(house, asked).feedback_total == 0, "the first choice"

    learned = trace(house, "support@1")
    assert isinstance(learned, VersionTree)
    assert learned.version == run.version
    assert learned.learned is not None
    sources = learned.learned.sources
    assert sources is not None
    assert sources.feedback == sum(sum(kinds.values()) for kinds in sources.by_side.values()) == 9
    assert (sources.contributors, sources.anonymous) == (9, 0)
    assert sources.largest_shares[0].share == pytest.approx(1 / 9, abs=1e-4)
    (source,) = [one for one in sources.page if one.id == given.id]
    assert source.rows == dataset.rows
    by_run, by_dataset = trace(house, str(version.run_id)), trace(house, "dataset support v1")
    assert isinstance(by_run, RunTree)
    assert isinstance(by_dataset, DatasetTree)
    assert by_run == learned.learned
    assert by_dataset == trace(house, "support:v1") == DatasetTree(dataset=by_run.dataset, sources=by_run.sources)


def test_the_base_comes_from_nothing_and_a_run_may_have_frozen_nothing(works: Works) -> None:
    base = trace(works.house, "support@0")
    assert isinstance(base, VersionTree)
    assert (base.learned, base.version.releases[0].state) == (None, ReleaseState.LIVE)
    waiting = trace(works.house, works.request())
    assert isinstance(waiting, RunTree)
    assert (waiting.run.status, waiting.dataset) == ("queued", None)


def test_taint_and_erased_rows_show(works: Works) -> None:
    house = works.house
    ada = person(house, Side.TRAIN)
    first = house.correct("Where is the pen?", "No.", "It is here.", user=ada)
    works.learn()
    withdraw(house.database, first.receipt)
    tree = trace(house, "support@1")
    assert isinstance(tree, VersionTree)
    assert tree.version.tainted_at is not None
    assert tree.learned is not None
    assert tree.learned.dataset is not None
    assert tree.learned.dataset.rows_erased == 1
    assert tree.learned.sources is not None
    assert first.id not in {one.id for one in tree.learned.sources.page}
    with pytest.raises(NotFound):
        trace(house, first.id)


def test_the_feedback_behind_a_version_comes_in_pages(works: Works) -> None:
    works.learn()
    seen, after = [], None
    while True:
        tree = trace(works.house, "support@1", after=after, limit=3)
        assert isinstance(tree, VersionTree)
        assert tree.learned is not None
        assert tree.learned.sources is not None
        page = tree.learned.sources
        assert len(page.page) <= 3
        seen += [one.id for one in page.page]
        after = page.next
        if after is None:
            break
    assert len(seen) == len(set(seen)) == page.feedback == 8


@pytest.mark.parametrize(
    "reference", ["support@9", "nobody@1", "support:v9", "run-none", "chatcmpl-none", "chatcmpl-none:1", "fb-none"]
)
def test_what_is_not_there_is_told_alike(house: House, reference: str) -> None:
    with pytest.raises(NotFound, match=r"Nothing is known as .*support@5"):
        trace(house, reference)


def test_what_names_nothing_is_told_with_all_forms(house: House) -> None:
    with pytest.raises(InvalidInput, match=r"'my version' names nothing.*dataset support v3"):
        trace(house, "my version")


def test_nothing_is_told_across_assistants(works: Works) -> None:
    house = works.house
    asked = house.reply("Where?", "There.")
    given = house.say(asked, "correction", "Here.")
    version = works.learn()
    others = frozenset({house.assistant.id + 1})
    for reference in ("support@1", "support:v1", str(version.run_id), asked, given.id):
        with pytest.raises(NotFound, match="Nothing is known"):
            trace(house, reference, assistant_ids=others)
        trace(house, reference, assistant_ids=frozenset({house.assistant.id}))
    with house.database.write() as session:
        garden = assistants.create(session, "garden", house.settings.base_model, actor="test")
    with pytest.raises(NotFound, match="Nothing is known"), house.database.read() as session:
        lineage_tree.trace(session, "garden@0", assistant_ids=frozenset({garden.id}), after=given.id)


@contextmanager
def counted() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_more_feedback_and_more_versions_take_no_more_queries(works: Works) -> None:
    house = works.house
    asked = house.reply("Where is the pen?", "There.", user="ada")
    given = house.say(asked, "correction", "Here.")
    works.learn()

    def queries() -> list[int]:
        counts = []
        for reference in ("support@1", "support:v1", given.id, asked):
            with counted() as statements:
                trace(house, reference)
            counts.append(len(statements))
        return counts

    before = queries()
    for number in range(12):
        house.say(asked, "comment", f"Comment {number}.")
        house.correct(f"{number} {'abcdefghijkl'[number] * 7}?", "No.", f"Yes, {number}.", user=f"somebody-{number}")
    works.learn()
    works.learn()
    assert queries() == before
