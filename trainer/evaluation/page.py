"""The report as one page of HTML that needs nothing else: for whoever has to decide and wasn't there.

Promises that everything said on it is in `evaluation.json`, the verdict and the run's metrics, and that what people or
models wrote is shown, never obeyed (Jinja's autoescape). Plots are inline SVG, which prints and needs no script.
Leaves out the words of the verdict (verdict.py) and of the curves (curves.py).
"""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from feedback.states import GuardOutcome, VerdictWord
from trainer.evaluation.curves import training_words
from trainer.evaluation.record import Evaluation, GuardMeasure
from trainer.evaluation.report import CAUSES_SHOWN
from trainer.evaluation.verdict import Verdict

ADVICE = {
    VerdictWord.PROMOTE: "It is better where it counts, and nothing it is guarded against got worse. It can go live.",
    VerdictWord.REJECT: "It is no improvement worth a release. Keep what serves.",
    VerdictWord.INCONCLUSIVE: "There is too little held-out data to tell. Keep what serves, and collect more.",
    VerdictWord.BLOCKED: "A guard stands against it: whatever it gained, it must not go live. Read which and why.",
}
NO_WORSE = (
    "It is no worse than what serves, whose place it has to take, and nothing it is guarded against got worse. It can "
    "go live."
)

ASKED = {
    "separate_data": "Is what judges apart from what was trained on?",
    "finite_measurements": "Is every measurement a number?",
    "general_perplexity": "Was general English forgotten?",
    "sycophancy": "Does it say what people like to hear?",
    "refusals": "Does it decline what it should, and answer what only looks like it?",
    "toxicity": "Does it stay civil where it is provoked?",
    "bias": "Does it find stereotypes likelier?",
    "instructions": "Does it do as it is told, where a program can check?",
    "replies": "Do everyday replies end, keep their length, stay decent and not repeat themselves?",
    "golden": "Does it keep to its operators' guidelines?",
    "canaries": "Do strings come out that were only in what people asked?",
}
"""What each guard asks, by its name."""


def page(evaluation: Evaluation, verdict: Verdict, metrics: dict[str, Any], sheet: dict[str, Any]) -> str:
    """`metrics` is the run's own metrics.json, `sheet` its dataset's datasheet; either may be empty."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        verdict=verdict,
        advice=NO_WORSE
        if evaluation.purpose == "replace" and verdict.verdict == VerdictWord.PROMOTE
        else ADVICE[verdict.verdict],
        families=_families(verdict),
        asked=ASKED,
        standing=_standing(evaluation),
        guards=[(guard, [_against_margin(one) for one in guard.measures]) for guard in evaluation.guards],
        curves=_curves(metrics),
        causes_shown=CAUSES_SHOWN,
        words=[line.removeprefix("- ") for line in training_words(metrics)] if "loss_history" in metrics else [],
        learned=_learned(sheet),
        found=[*_found(verdict), *_near(evaluation)],
    )


def _standing(evaluation: Evaluation) -> str:
    """
    >>> from trainer.evaluation.record import GuardResult
    >>> told = [GuardResult(name=n, outcome=o, detail="") for n, o in (("a", "passed"), ("b", "not measurable"))]
    >>> _standing(Evaluation.model_construct(guards=told))
    '1 of 2 guards passed. Not measurable: b.'
    """
    named = {
        outcome: [guard.name for guard in evaluation.guards if guard.outcome == outcome] for outcome in GuardOutcome
    }
    told = [f"{len(named[GuardOutcome.PASSED])} of {len(evaluation.guards)} guards passed."]
    for outcome in (GuardOutcome.FAILED, GuardOutcome.NOT_MEASURABLE):
        told += [f"{outcome.value.capitalize()}: {', '.join(named[outcome])}."] if named[outcome] else []
    return " ".join(told)


def _families(verdict: Verdict) -> list[dict[str, Any]]:
    """Each measure with its interval, scaled to a plot of -1 … 1."""
    measures = [
        {"family": name, "measure": measure, "decides": family["decides"], **numbers}
        for name, family in verdict.statistics.get("families", {}).items()
        for measure, numbers in family["measures"].items()
    ]
    for one in measures:
        one["worthwhile"] = -one["tolerated"] if one["tolerated"] else one["worthwhile"]
    bounds = [abs(one[side]) for one in measures for side in ("lower", "upper", "worthwhile")]
    most = max([0.05, *(bound for bound in bounds if math.isfinite(bound))])
    for one in measures:
        one["plot"] = {side: max(-1.0, min(1.0, one[side] / most)) for side in ("lower", "mean", "upper", "worthwhile")}
    return measures


def _against_margin(measure: GuardMeasure) -> dict[str, Any]:
    """The interval in margins: -1 is the fall that must be ruled out; cut at two."""

    def cut(value: float) -> float:
        return 0.0 if math.isnan(value) else max(-2.0, min(2.0, value / measure.margin)) / 2

    sides = {"lower": measure.lower, "mean": measure.difference, "upper": measure.upper}
    return {"measure": measure, "plot": {name: cut(value) for name, value in sides.items()}}


def _curves(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """By method, the losses of training and dev as points of a plot 0 … 1, left to right, high losses on top."""
    curves = []
    history = metrics.get("loss_history", [])
    for method in dict.fromkeys(entry["stage"] for entry in history):
        entries = [entry for entry in history if entry["stage"] == method]
        train = [(entry["epoch"], entry["loss"]) for entry in entries if entry.get("loss") is not None]
        dev = [(entry["epoch"], entry["dev_loss"]) for entry in entries if entry.get("dev_loss") is not None]
        losses = [loss for _, loss in train + dev]
        if len(losses) < 2:
            continue
        last, low, high = max(epoch for epoch, _ in train + dev) or 1.0, min(losses), max(losses)
        spread = (high - low) or 1.0
        scale = [[(epoch / last, (loss - low) / spread) for epoch, loss in points] for points in (train, dev)]
        curves.append({"method": method, "train": scale[0], "dev": scale[1], "low": low, "high": high, "epochs": last})
    return curves


def _found(verdict: Verdict) -> list[tuple[str, int, str, str]]:
    """(what, rows, baseline, candidate)"""
    statistics = verdict.statistics
    rows = statistics["rows_with_key_facts"]
    forms = (
        ("key facts recalled", rows, statistics["recall"], "{:.0%}"),
        ("contrast, nats a token", statistics["gate_rows"], statistics["contrast"], "{:.3f}"),
        ("loss, nats a token (reported only)", statistics["gate_rows"], statistics["loss"], "{:.3f}"),
        ("choices right", (statistics["choices"] or {}).get("pairs", 0), statistics["choices"], "{:.0%}"),
    )
    return [
        (what, count, form.format(both["baseline"]), form.format(both["candidate"]))
        for what, count, both, form in forms
        if both is not None
    ]


def _near(evaluation: Evaluation) -> list[tuple[str, int, str, str]]:
    return [
        (f"{name} (reported only)", len(evaluation.rows), f"{both.baseline:.3f}", f"{both.candidate:.3f}")
        for name, both in evaluation.text_metrics.items()
    ]


def _learned(sheet: dict[str, Any]) -> list[str]:
    """Sentences, if the datasheet is there."""
    if not sheet:
        return []
    rows, people = sheet["rows"]["train"], sheet["people"]["train"]
    kinds = ", ".join(f"{count} for {method.upper()}" for method, count in rows.items() if count)
    dropped = sum(out["items"] for out in sheet["dropped"])
    return [
        f"{sum(rows.values())} rows train ({kinds or 'none'}), said by {people['contributors']} people; "
        f"{people['anonymous_rows']} rows are nobody's. The person with most has {people['rows_of_largest']}.",
        f"{sheet['funnel'][0]['items_left']} pieces of feedback came in, {dropped} were left out: see datasheet.md.",
        *sheet["cautions"],
    ]
