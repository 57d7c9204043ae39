"""What `burnish bench pairs` divides and counts, and how it asks the engine."""

import asyncio
import json
from pathlib import Path
from statistics import mean

import pytest
from bench.choices import Choice, divided, read_choices
from bench.pairs import compared, divisions_of, margins

from feedback.errors import InvalidInput
from feedback.run_folder import Row, Turn
from service.engines.base import BASE, ScoreRequest
from service.engines.echo import EchoEngine
from service.engines.local.base_model import load_tokenizer


def transcript(*said: str) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[place % 2]}: {text}" for place, text in enumerate(said))


def written(folder: Path, *pairs: tuple[list[str], str, str]) -> Path:
    path = folder / "pairs.jsonl"
    rows = [{"chosen": transcript(*led, good), "rejected": transcript(*led, bad)} for led, good, bad in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def choice(number: int, group: int) -> Choice:
    row = Row(id=f"line-{number}", method="dpo", source="preference", prompt=[], cluster=f"group-{group}", topic="")
    return Choice(row, tokens=2)


def test_no_group_is_on_two_sides_and_no_pair_is_lost() -> None:
    choices = [choice(number, group=number // 2 if number < 20 else number) for number in range(60)]
    held_out, train = divided(choices, (25, 35), seed=3)
    assert (len(held_out), len(train)) == (25, 35)
    assert sorted(one.row.id for one in held_out + train) == sorted(one.row.id for one in choices)
    assert not {one.row.cluster for one in held_out} & {one.row.cluster for one in train}


def test_the_held_out_pairs_are_the_same_however_many_are_trained_on() -> None:
    choices = [choice(number, number) for number in range(60)]
    assert divided(choices, (20, 10), seed=3)[0] == divided(choices, (20, 40), seed=3)[0]
    assert divided(choices, (20, 10), seed=3)[0] != divided(choices, (20, 10), seed=4)[0]


def test_too_few_pairs_are_told_with_what_helps() -> None:
    with pytest.raises(InvalidInput, match=r"has 5 pairs .* fewer than 6: lower --aside"):
        divided([choice(number, number) for number in range(5)], (2, 4), seed=1)


def test_conversations_that_begin_or_end_alike_are_one_group(tmp_path: Path, tiny_base: Path) -> None:
    """The second begins as the first, the third ends as the second; the fourth is on its own, the fifth too long."""
    asked, later = "How big is the tank of the blue one?", ["5 l.", "And how long does it keep the water warm?"]
    path = written(
        tmp_path,
        ([asked], "5 l.", "Big."),
        ([asked.lower(), *later], "An hour.", "No."),
        (["Hello, I am new here.", "Welcome!", asked, *later], "Long.", "An hour."),
        (["Do you ship abroad?"], "Yes.", "No."),
        (["Why " * 400], "So.", "No."),
    )
    path.write_text(path.read_text() + "{}\n")
    choices, counts = read_choices(path, load_tokenizer(str(tiny_base)), longest=384)
    assert counts == {"in_the_file": 6, "unreadable": 1, "too_long": 1}
    first, second, third, fourth = (one.row.cluster for one in choices)
    assert first == second == third != fourth
    assert choices[0].row.chosen == [Turn(role="assistant", content="5 l.")]


def test_a_missing_file_is_told_with_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--file PATH"):
        read_choices(None, None, 384)
    with pytest.raises(InvalidInput, match="There is no file"):
        read_choices(tmp_path / "none.jsonl", None, 384)


def test_shares_gains_and_their_bounds() -> None:
    """Of 100 pairs the base has 50 right; the adapter turns 20 of the others right and 5 of those wrong."""
    base = [1.0] * 50 + [-1.0] * 50
    adapted = [-1.0] * 5 + [1.0] * 65 + [-1.0] * 30
    told = compared(base, adapted, [str(number) for number in range(100)])
    shares = [row["chosen_likelier_percent"] for row in told["rows"]]
    assert shares[:3] == pytest.approx([50, 65, 15])
    assert 5 < shares[3] < shares[2] < shares[4] < 26  # ± 1.96 standard errors of 4.8
    assert (told["turned_right"], told["turned_wrong"], told["bootstrap_groups"]) == (20, 5, 100)
    assert told["ok"]
    assert not compared(base, base, ["one"] * 100)["ok"]


def test_every_fold_is_judged_by_what_the_others_and_those_aside_teach() -> None:
    choices = [choice(number, number // 2) for number in range(50)]
    divisions = divisions_of(choices, folds=3, aside=8, seed=1, choose=False)
    names = [({one.row.id for one in judged}, {one.row.id for one in train}) for judged, train in divisions]
    assert [(len(judged), len(train)) for judged, train in names] == [(14, 36)] * 3
    assert not any(judged & train for judged, train in names)
    assert len(set().union(*(judged for judged, _ in names))) == 42
    ((aside, others),) = divisions_of(choices, folds=3, aside=8, seed=1, choose=True)
    assert {one.row.id for one in aside} == set.intersection(*(train for _, train in names))
    assert {one.row.id for one in others} == set().union(*(judged for judged, _ in names))
    with pytest.raises(InvalidInput, match="aren't enough"):
        divisions_of(choices, folds=1, aside=8, seed=1, choose=False)


def test_a_margin_is_that_of_the_engines_scores() -> None:
    rows = [("Ping?", "Pong, pong.", "No."), ("Why?", "Never.", "So it is, my friend.")]
    choices = [
        Choice(
            Row(
                id=ask,
                method="dpo",
                source="preference",
                cluster=ask,
                topic="",
                prompt=[Turn(role="user", content=ask)],
                chosen=[Turn(role="assistant", content=chosen)],
                rejected=[Turn(role="assistant", content=rejected)],
            ),
            tokens=9,
        )
        for ask, chosen, rejected in rows
    ]

    async def found_and_scored() -> tuple[list[float], list[list[float]]]:
        engine = EchoEngine()
        await engine.start()
        asked = [ScoreRequest([{"role": "user", "content": ask}], reply) for ask, *replies in rows for reply in replies]
        return await margins(engine, choices, BASE, "base"), await engine.score(asked)

    found, scored = asyncio.run(found_and_scored())
    assert found == pytest.approx(
        [mean(chosen) - mean(rejected) for chosen, rejected in zip(scored[::2], scored[1::2], strict=True)]
    )
