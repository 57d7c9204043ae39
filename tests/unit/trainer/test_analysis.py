"""Where a candidate changed, worked by hand."""

import math

import pytest

from feedback.run_folder import RunFolderModel
from trainer.evaluation.analysis import gain_of, groups, worst
from trainer.evaluation.record import Measured, PairResult, RowResult
from trainer.evaluation.text_metrics import text_metrics


def row(number: int, topic: str, before: bool, after: bool, question: str = "How big is the tank?") -> RowResult:
    sides = [Measured(reply=f"{knows}", recalled=knows, contrast=0.1 * knows, loss=1.0) for knows in (after, before)]
    return RowResult(
        id=f"r{number}", contributor=f"c{number}", cluster=f"q{number}", topic=topic, question=question,
        expected="2 litres", key_facts=["2 litres"], candidate=sides[0], baseline=sides[1],
    )  # fmt: skip


def pair(number: int, longer: bool, after: bool) -> PairResult:
    return PairResult(
        id=f"p{number}", contributor="c", cluster=f"q{number}", topic="t", decides=True,
        chosen_characters=90 if longer else 10, rejected_characters=50,
        candidate_margin=1.0 if after else -1.0, baseline_margin=-1.0,
    )  # fmt: skip


def test_groups_are_told_by_topic_language_length_and_what_was_taught() -> None:
    rows = [row(n, "tank", False, True) for n in range(6)]
    rows += [row(n, "水箱", True, n == 6, "水箱有多大，能装多少水呢？请告诉我。") for n in range(6, 12)]
    rows += [row(12, "rare", True, False)]
    found = {(one.by, one.group): (one.rows, round(one.gain, 2)) for one in groups(rows, [])}
    assert found[("topic", "tank")] == (6, 1.0)
    assert found[("topic", "水箱")] == (6, -0.83)
    assert found[("language", "zh")] == (6, -0.83)
    assert ("topic", "rare") not in found, "one row says nothing"
    assert found[("taught", "topic in training")][0] == 13


def test_choices_are_told_by_which_reply_was_longer() -> None:
    pairs = [pair(n, n < 6, n < 6) for n in range(12)]
    found = {one.group: one.gain for one in groups([], pairs)}
    assert found == {"the longer reply chosen": 1.0, "the shorter reply chosen": 0.0}


def test_the_worst_losses_come_first_and_gains_are_none() -> None:
    rows = [row(0, "a", False, True), row(1, "b", True, False), row(2, "c", True, True)]
    assert [one.id for one in worst(rows)] == ["r1"]
    assert [gain_of(one) for one in rows] == [1.0, -1.0, 0.0]
    assert issubclass(type(worst(rows)[0]), RunFolderModel)


def said(reply: str, expected: str, before: str = "no idea") -> RowResult:
    texts = ((reply, 1.0), (before, 2.0))
    sides = [Measured(reply=text, recalled=None, contrast=None, loss=loss) for text, loss in texts]
    return RowResult(
        id=reply, contributor="c", cluster="q", topic="t", question="?", expected=expected, key_facts=[],
        candidate=sides[0], baseline=sides[1],
    )  # fmt: skip


def test_replies_are_told_by_the_usual_measures() -> None:
    found = text_metrics([said("the tank holds two litres of water", "the tank holds two litres of water")] * 3)
    assert found["BLEU"].candidate == pytest.approx(100)
    assert found["ROUGE-L"].candidate == 1
    assert found["chrF"].baseline < 30
    assert found["perplexity of the right reply"].candidate == pytest.approx(math.e)
    assert "accuracy" not in found
    chinese = text_metrics([said("水箱能装两升水", "水箱能装两升水。")] * 3)
    assert chinese["ROUGE-L"].candidate == 1


def test_right_replies_that_are_labels_are_told_as_classes() -> None:
    rows = [said("Positive.", "positive")] * 6 + [said("positive", "negative", "negative")] * 4
    found = text_metrics(rows)
    assert found["accuracy"].candidate == pytest.approx(0.6)
    assert found["recall"].candidate == pytest.approx(0.5)
    assert found["accuracy"].baseline == pytest.approx(0.4)
    assert text_metrics([]) == {}
