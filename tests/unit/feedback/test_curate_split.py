"""Who is held out, and what leaves training for it."""

from typing import Any

from feedback.curate.decontaminate import decontaminate
from feedback.curate.evaluations import Evaluations
from feedback.curate.items import Dropped, Item
from feedback.curate.split import cluster_names, split, with_sides
from feedback.policies import TrainingPolicy
from feedback.states import Side
from feedback.testing import item, look_at


def ids(items: list[Item]) -> list[int]:
    return [number for kept in items for number in kept.feedback_ids]


def reasons(dropped: list[Dropped]) -> dict[int, str]:
    return {out.id: out.reason for out in dropped}


def hold_out(items: list[Item], **policy: Any) -> tuple[list[Item], list[Dropped]]:
    chosen = TrainingPolicy(**policy)
    looks = look_at(items, near=chosen.near_duplicate_similarity)
    return split(with_sides(items, looks, chosen), looks, chosen.near_duplicate_similarity)


def test_what_is_nearly_a_held_out_question_is_not_trained_on() -> None:
    said = [
        item(1, "Which colour is the big tank of ours", correction="It is so."),
        item(2, "Which colour is the big tank of ours?", correction="It is so.", contributor="gus", side=Side.GATE),
        item(3, "When do you close on Sundays?", correction="It is so.", contributor="dan", side=Side.DEV),
        item(4, "When do you close on sundays", correction="It is so."),
        item(5, "How long is the cable?", correction="It is so.", contributor="dan", side=Side.DEV),
        item(6, "How long is the cable", correction="It is so.", contributor="gus", side=Side.GATE),
        item(7, "Do you ship abroad?", correction="It is so."),
    ]
    kept, dropped = hold_out(said)
    assert sorted(ids(kept)) == [2, 3, 6, 7]
    assert "held out (gate)" in reasons(dropped)[1]
    assert "held out (dev)" in reasons(dropped)[4]
    assert "held out (gate)" in reasons(dropped)[5]


def test_a_held_out_persons_thumb_takes_no_question_away_from_training() -> None:
    taught = item(1, "Which colour is the big tank of ours?", correction="It is red.", source="operator")
    said = [
        taught,
        item(2, "Which colour is the big tank of ours", contributor="gus", side=Side.GATE),
        item(3, "which colour is the big tank of ours", contributor="dan", side=Side.DEV),
        item(4, "Do you ship abroad?", contributor="gus", side=Side.GATE),
    ]
    kept, dropped = hold_out(said)
    assert sorted(ids(kept)) == [1, 4]
    assert set(reasons(dropped).values()) == {"a rating of what is learned elsewhere (train) judges nothing"}


def test_the_same_question_after_a_greeting_is_the_same_question() -> None:
    asked = "How big is the water tank of yours?"
    greeted = (("user", "Good morning!"), ("assistant", "Hello! How may I help you today?"), ("user", asked))
    said = [
        item(1, asked, correction="Five litres.", history=greeted),
        item(2, asked, correction="Five litres.", contributor="gus", side=Side.GATE),
    ]
    kept, dropped = hold_out(said)
    assert sorted(ids(kept)) == [2]
    assert "held out (gate)" in reasons(dropped)[1]
    looks = look_at(said[:1], evaluations=Evaluations.of([asked]))
    assert reasons(decontaminate(said[:1], looks, 0.8)[1]) == {1: "nearly an evaluation case"}


def test_what_judges_is_not_taken_away_by_what_is_sealed() -> None:
    said = [
        item(1, "Which colour is the big tank?", correction="Red.", contributor="gus", side=Side.GATE),
        item(2, "Which colour is the big tank", contributor="sue", side=Side.SEALED),
    ]
    assert ids(hold_out(said)[0]) == [1]


def test_what_a_dropped_question_chained_together_comes_apart() -> None:
    """train ~ dropped ~ gate, but train and gate are not near each other: both stay, in clusters of their own."""
    train = item(1, "how big is the water tank", correction="It is so.", contributor="ada", side=Side.TRAIN)
    between = item(2, "how big is the water tank now", correction="It is so.", contributor="bob", side=Side.TRAIN)
    gate = item(3, "how big is the water tank now sir", correction="It is so.", contributor="cy", side=Side.GATE)
    kept, dropped = hold_out([train, between, gate])
    assert [item.feedback_ids for item in kept] == [(1,), (3,)]
    assert len(dropped) == 1
    names = cluster_names(
        looks := look_at([train, between, gate]), {looks.asked[one.exchange.id].question for one in kept}
    )
    assert len(set(names.values())) == 2


def test_another_persons_own_phrasing_stays_in_the_gate() -> None:
    said = [
        item(1, "Which colour is the big tank?", correction="It is blue.", key_facts=("blue",)),
        item(2, "The tank you sell, what does it look like?", correction="It is blue.", key_facts=("blue",),
             contributor="gus", side=Side.GATE),
    ]  # fmt: skip
    kept, dropped = hold_out(said)
    assert {one.feedback_ids[0]: one.side for one in kept} == {1: Side.TRAIN, 2: Side.GATE}
    assert dropped == []


def test_anonymous_words_on_one_question_share_a_side() -> None:
    said = [item(n, f"Is article {n // 2} in stock?", f"No. {n}", contributor=None) for n in range(40)]
    kept, dropped = hold_out(said, near_duplicate_similarity=1, gate_fraction=0.4, dev_fraction=0.2)
    sides = {one.feedback_ids[0]: one.side for one in kept}
    assert dropped == []
    assert all(sides[n] == sides[n + 1] for n in range(0, 40, 2))
    assert set(sides.values()) == {Side.TRAIN, Side.DEV, Side.GATE}
