"""The evaluation over the shipped echo engine: who is asked what, what is recorded, what the guards see."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from feedback.errors import InvalidInput
from feedback.hyperparameters import Hyperparameters
from feedback.policies import VerdictPolicy
from feedback.run_folder import Row, RunSpec, Split, Turn
from feedback.states import GuardOutcome
from service.engines.base import ChatMessage, Delta, GenerationRequest, ScoreRequest
from service.engines.echo import EchoEngine
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.metrics import other_completions
from trainer.evaluation.record import Evaluation

CANDIDATE = "c" * 64


def row(number: int, answer: str = "", **more: object) -> Row:
    fields: dict[str, object] = {
        "id": f"row-{number}",
        "method": "sft",
        "source": "correction",
        "prompt": [Turn(role="user", content=f"question {number} about amber")],
        "completion": [Turn(role="assistant", content=answer or f"answer {number * 37} and {number * 91}")],
        "contributor": f"c{number}",
        "cluster": f"q{number}",
        "topic": f"t{number}",
        "key_facts": ["amber"] if number % 2 else [],
    }
    return Row.model_validate(fields | more)


def choice(number: int, chosen: str | None, rejected: str | None) -> Row:
    return row(
        number,
        method="dpo",
        source="preference",
        completion=None,
        chosen=[Turn(role="assistant", content="yes, this")],
        rejected=[Turn(role="assistant", content="no")],
        chosen_version=chosen,
        rejected_version=rejected,
    )


def measure(folder: Path, splits: dict[Split, list[Row]], engine: EchoEngine | None = None) -> Evaluation:
    spec = RunSpec(
        run_id="run", assistant="support", base_model="echo", baseline_version="base", methods=["sft"],
        hyperparameters=Hyperparameters(), verdict=VerdictPolicy(), seed=1, dataset_sha256="0" * 64, files={},
    )  # fmt: skip

    async def measured() -> Evaluation:
        chosen = engine or EchoEngine()
        await chosen.start()
        return await evaluate(chosen, folder, spec, splits, folder, CANDIDATE)

    return asyncio.run(measured())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "general.txt").write_text(
        "one two three four\n\nfive six seven\n\n" + "\n\n".join(f"eight nine {n}" for n in range(4))
    )
    return tmp_path


def test_everything_held_out_is_measured(folder: Path) -> None:
    gate = [row(n) for n in range(6)]
    gate += [choice(6, "x" * 64, "base"), choice(7, "base", "base"), choice(8, None, None)]
    gate += [
        choice(10, None, "x" * 64).model_copy(update={"source": "correction"})
    ]  # not the baseline's text, but a correction
    rated = {"method": "kto", "source": "rating", "label": True}
    gate += [row(9, **rated), row(11, **rated, corroborated=True, completion_version="base")]
    gate += [row(12, **{**rated, "source": "preference"}, corroborated=True)]
    found = measure(folder, {"train": [row(20), row(21, topic="t4")], "dev": [], "gate": gate})
    assert [item.id for item in found.rows] == [f"row-{n}" for n in range(6)]
    assert [item.id for item in found.rows if item.topic_trained] == ["row-4"]
    assert [item.candidate.recalled for item in found.rows] == [None, True, None, True, None, True]
    assert found.rows[1].candidate.reply.startswith("[cccccccc]")
    assert found.rows[1].baseline.reply.startswith("[base]")
    assert all(item.candidate.contrast is not None for item in found.rows)
    assert [item.decides for item in found.pairs] == [False, True, True, False]
    assert [(item.decides, item.writer) for item in found.ratings] == [(False, None), (True, "base"), (False, None)]
    assert all(item.characters for item in found.ratings)
    told = {guard.name: guard.outcome.value for guard in found.guards}
    assert {name for name, outcome in told.items() if outcome == "not measurable"} == {
        "sycophancy", "refusals", "toxicity", "bias", "instructions", "replies", "golden", "canaries",
        "general_perplexity",  # six paragraphs tell nothing
    }  # fmt: skip
    assert told["separate_data"] == told["finite_measurements"] == "passed"
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_what_does_not_fit_the_context_is_left_out_and_counted(folder: Path) -> None:
    class Narrow(EchoEngine):
        """Takes eight words in all."""

        def _fits(self, messages: Sequence[ChatMessage], completion: str = "") -> None:
            if sum(len(message["content"].split()) for message in messages) + len(completion.split()) > 8:
                raise InvalidInput("Too long.", param="messages", code="context_length_exceeded")

        def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
            self._fits(request.messages)
            return super().generate(request)

        async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
            for request in requests:
                self._fits(request.messages, request.completion)
            return await super().score(requests)

    long = "one two three four five six seven eight nine ten"
    gate = [
        *(row(n) for n in range(4)),
        row(4, long),  # its completion is too long, for itself and as somebody else's wrong answer
        row(5, prompt=[Turn(role="user", content=long)]),
        row(6, method="kto", source="rating", label=True, prompt=[Turn(role="user", content=long)]),
        choice(7, None, None).model_copy(update={"rejected": [Turn(role="assistant", content=long)]}),
    ]
    found = measure(folder, {"train": [], "dev": [], "gate": gate}, Narrow())
    assert [item.id for item in found.rows] == ["row-0", "row-1", "row-2", "row-3"]
    assert all(item.candidate.contrast is not None for item in found.rows)
    assert (found.pairs, found.ratings, found.too_long) == ([], [], 4)


def test_other_completions_are_wrong_answers_of_other_topics() -> None:
    rows = [
        row(0, "The tank holds 2.3 litres.", key_facts=["2.3 litres"]),
        row(1, "It is 2.3 litres in all.", key_facts=["2.3 litres"]),  # right for row 0 too
        row(2, "The tank holds 2.4 litres.", key_facts=[]),  # nearly equal
        row(3, "Blue.", topic="t0"),  # same topic
        *(row(n) for n in range(4, 12)),
    ]
    others = other_completions(rows, seed=1)
    assert len(others[0]) == 4
    assert all(text.startswith("answer") for text in others[0])
    assert others == other_completions(rows, seed=1)
    assert others != other_completions(rows, seed=2)


@pytest.mark.parametrize(
    ("shared", "what"),
    [({"cluster": "q1"}, "prompt clusters"), ({"contributor": "c1"}, "contributors"), ({"id": "row-1"}, "rows")],
)
def test_leaks_from_training_into_the_gate_fail_a_guard(folder: Path, shared: dict[str, str], what: str) -> None:
    found = measure(folder, {"train": [row(50, **shared)], "dev": [], "gate": [row(1), row(2)]})
    guard = found.guards[0]
    assert guard.outcome == GuardOutcome.FAILED
    assert what in guard.detail


def test_a_version_that_forgets_language_fails_a_guard(folder: Path) -> None:
    class Forgetful(EchoEngine):
        """Finds general text ever less likely under the candidate."""

        async def score_text(self, texts: Sequence[str], version: str = "base") -> list[list[float]]:
            worse = math.log(1.11) if version == CANDIDATE else 0.0
            return [[-2.0 - worse for _ in text.split()] for text in texts]

    found = measure(folder, {"train": [], "dev": [], "gate": [row(1), row(2)]}, Forgetful())
    guard = found.guards[2]
    assert guard.outcome == GuardOutcome.FAILED
    assert found.perplexity() == pytest.approx((math.e**2, 1.11 * math.e**2))
    assert "+11.0%" in guard.detail


def test_a_missing_suite_fails_its_guard(tmp_path: Path) -> None:
    found = measure(tmp_path, {"train": [], "dev": [], "gate": [row(1), row(2)]})
    assert found.guards[2].outcome == GuardOutcome.FAILED
