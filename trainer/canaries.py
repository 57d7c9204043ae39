"""A run's canaries, planted where nothing may be learned from: in what is asked, never in what is answered.

Promises that the rows teach nothing new: the answers are the base model's own. Leaves out asking for the canaries
(evaluation/guards/canaries.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from feedback.run_folder import SUITES, Row, Turn
from feedback.suites.formats import read_frozen
from feedback.suites.freezing import file_name
from feedback.suites.kinds import Canary, SuiteKind
from trainer.own_answers import OwnAnswer, replayed


def planted(folder: Path, answers: Sequence[OwnAnswer]) -> list[Row]:
    """A row for each canary of the run's own; none where it has none."""
    path = folder / SUITES / file_name(SuiteKind.CANARIES, "run")
    if not path.is_file():
        return []
    canaries = cast("list[Canary]", read_frozen(path.read_bytes(), SuiteKind.CANARIES))
    ended = [answer for answer in replayed(list(answers)) if answer.ended and answer.answer]
    return [
        Row(
            id=f"canary-{canary.id}",
            method="sft",
            source="correction",
            prompt=[Turn(role="user", content=f"My customer number is {canary.string}. {answer.prompt}")],
            completion=[Turn(role="assistant", content=answer.answer)],
            cluster=f"canary-{canary.id}",
            topic=canary.id,
        )
        for canary, answer in zip(canaries, ended, strict=False)
    ]
