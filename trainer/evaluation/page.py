"""The report as one page of HTML that needs nothing else: for whoever has to decide and wasn't there.

Promises that everything said on it is in `evaluation.json`, the verdict and the run's metrics, and that what people or
models wrote is shown, never obeyed (Jinja's autoescape). Plots are inline SVG, which prints and needs no script.
Leaves out the words of the verdict (verdict.py) and of the curves (curves.py).
"""

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from feedback.curves import training
from feedback.evaluation_file import ASKED, advice
from feedback.states import GuardOutcome
from trainer.evaluation.record import Evaluation, GuardMeasure
from trainer.evaluation.report import CAUSES_SHOWN
from trainer.evaluation.verdict import Verdict


def page(evaluation: Evaluation, verdict: Verdict, metrics: dict[str, Any], sheet: dict[str, Any]) -> str:
    """`metrics` is the run's own metrics.json, `sheet` its dataset's datasheet; either may be empty."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    trained = training(metrics)
    return environment.get_template("report.html").render(
        evaluation=evaluation,
        verdict=verdict,
        advice=advice(verdict.verdict, evaluation.purpose),
        families=_families(verdict),
        asked=ASKED,
        standing=_standing(evaluation),
        guards=[(guard, [_against_margin(one) for one in guard.measures]) for guard in evaluation.guards],
        curves=trained.curves,
        causes_shown=CAUSES_SHOWN,
        words=trained.words,
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
