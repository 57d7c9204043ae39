"""Runs as a worker leaves them, without training and judging: with every file that pages read."""

from typing import Any

from burnish_server import Deployment
from sqlmodel import select

from feedback.files import write_json
from feedback.models import AdapterVersion, Evaluation
from feedback.run_folder import attempt_folder
from feedback.states import GuardOutcome, VerdictWord
from trainer.evaluation.record import Cause, Change, GroupChange, GuardMeasure, GuardResult, Measured, RowResult
from trainer.evaluation.record import Evaluation as Record

ATTACK = "<script>alert(1)</script> & {{ 7 * 7 }}"
METRICS: dict[str, Any] = {
    "stage": "done",
    "step": 0,
    "total_steps": 0,
    "loss_history": [
        {
            "stage": "sft",
            "step": 10 * half,
            "epoch": half / 2,
            "loss": 3.0 - half / 4,
            "dev_loss": None if half % 2 else 3.1 - half / 5,
        }
        for half in range(9)
    ],
    "dev_rows": {"sft": 40},
}


MEASURED = {
    "recall": {"mean": 0.5, "lower": 0.386, "upper": 0.614, "worthwhile": 0.05, "tolerated": 0.0},
    "contrast": {"mean": 0.347, "lower": 0.266, "upper": None, "worthwhile": 0.05, "tolerated": 0.1},
}
STATISTICS: dict[str, Any] = {
    "gate_rows": 80,
    "rows_with_key_facts": 80,
    "recall": {"baseline": 0.125, "candidate": 0.625},
    "contrast": None,
    "loss": {"baseline": 1.875, "candidate": 1.375},
    "choices": None,
    "tries": 2,
    "alpha_per_family": 0.03,
    "families": {
        "corrections": {
            "decides": True,
            "measures": {name: {"rows": 80, "contributors": 20, **found} for name, found in MEASURED.items()},
        }
    },
    "guards": {"separate_data": "passed", "bias": "not measurable", "sycophancy": "passed"},
}


def judged_version(
    made: Deployment, name: str = "support", verdict: VerdictWord = VerdictWord.PROMOTE
) -> AdapterVersion:
    """A candidate that knows 50 of 80 held-out facts; what serves knows ten others."""
    version = made.publish_version(name, verdict=verdict)
    with made.database.write() as session:
        found = session.exec(select(Evaluation).where(Evaluation.candidate_id == version.id)).one()
        found.reasons, found.statistics = ["key-fact recall +0.500 of rows is better."], STATISTICS
    folder = attempt_folder(made.settings.runs / str(version.run_id), 1)
    folder.mkdir(parents=True)
    write_json(folder / "evaluation.json", evaluation(version).model_dump(mode="json"))
    write_json(folder / "metrics.json", METRICS)
    write_json(folder / "provenance.json", {"seed": 1, "packages": {"torch": "2.9"}})
    (folder / "report.html").write_text("<!doctype html><p>The whole report.</p>")
    return version


def evaluation(version: AdapterVersion) -> Record:
    rows = [row(number) for number in range(80)]
    fell = GuardMeasure(
        what="own work, English", unit="nats a token", items=16, candidate=0.31, baseline=0.3, difference=0.01,
        lower=-0.02, upper=0.04, margin=0.05, outcome=GuardOutcome.PASSED,
    )  # fmt: skip
    return Record(
        run_id=str(version.run_id),
        assistant="support",
        base_model="tiny",
        dataset_sha256="0" * 64,
        candidate_version=version.sha256,
        baseline_version="base",
        seed=1,
        rows=rows,
        pairs=[],
        ratings=[],
        guards=[
            GuardResult(name="separate_data", outcome=GuardOutcome.PASSED, detail="They share nothing."),
            GuardResult(name="bias", outcome=GuardOutcome.NOT_MEASURABLE, detail="Too few items."),
            GuardResult.of("sycophancy", [fell], ""),
        ],
        samples=[],
        groups=[GroupChange(by="language", group="en", rows=80, gain=0.5)],
        worst=[
            Change(
                id=one.id,
                question=one.question,
                expected=one.expected,
                before=one.baseline.reply,
                after=one.candidate.reply,
                gain=-1.0,
                causes=[Cause(row_id="sft-3", influence=0.71)],
            )
            for one in rows[70:]
        ],
        seconds={},
    )


def row(number: int) -> RowResult:
    before, after = number >= 70, number < 50

    def side(knows: bool) -> Measured:
        reply = f"The tank holds {number} litres." if knows else f"I think it is about {number + 3} litres. {ATTACK}"
        return Measured(reply=reply, recalled=knows, contrast=0.9 if knows else 0.2, loss=2.0 - knows)

    return RowResult(
        id=f"r{number}", contributor=f"c{number % 20}", cluster=f"q{number}", topic=f"t{number % 27}",
        question=f"How much does the tank of brewer {number} hold? {ATTACK}", expected=f"{number} litres",
        key_facts=[f"{number} litres"], candidate=side(after), baseline=side(before),
    )  # fmt: skip
