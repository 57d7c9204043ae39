"""An evaluation and its verdict, as a page of Markdown for people. Leaves out row-by-row numbers."""

from typing import Any

from feedback.curves import training_words
from trainer.evaluation.record import Cause, Divergence, Evaluation
from trainer.evaluation.verdict import Verdict

CAUSES_SHOWN = 3
"""Of a loss; evaluation.json has more."""


def report(evaluation: Evaluation, verdict: Verdict, metrics: dict[str, Any]) -> str:
    """`metrics`: the run's own, for what its curves mean."""
    statistics = verdict.statistics
    times_out_of_memory = len(metrics.get("out_of_memory", []))
    lines = [
        f"# {verdict.verdict.value}: run {evaluation.run_id} for {evaluation.assistant}",
        "",
        f"Candidate {evaluation.candidate_version[:12]} against baseline {evaluation.baseline_version[:12]}, "
        f"base model {evaluation.base_model}{_moves(evaluation)}.",
        "",
        *(f"- {reason}" for reason in verdict.reasons),
        *(
            [
                f"- Memory ran out {times_out_of_memory} time(s) in training: each time it went on from its last "
                "checkpoint with half as many rows at once and the same batch for the optimizer."
            ]
            if times_out_of_memory
            else []
        ),
        "",
        "| held out | rows | baseline | candidate |",
        "|---|---:|---:|---:|",
        _line("key facts recalled", statistics["rows_with_key_facts"], statistics["recall"], "{:.0%}"),
        _line(
            "of them, what no training row teaches (reported only)",
            statistics["rows_of_untrained_topics"],
            statistics["recall_of_untrained_topics"],
            "{:.0%}",
        ),
        _line("contrast, nats a token", statistics["gate_rows"], statistics["contrast"], "{:.3f}"),
        _line("loss, nats a token", statistics["gate_rows"], statistics["loss"], "{:.3f}"),
        _line("choices right", None, statistics["choices"], "{:.0%}"),
        _line("other pairs right (reported only)", None, statistics["other_pairs"], "{:.0%}"),
        *(
            f"| {name} (reported only) | {len(evaluation.rows)} | {both.baseline:.3f} | {both.candidate:.3f} |"
            for name, both in evaluation.text_metrics.items()
        ),
        *([_divergence(evaluation.divergence)] if evaluation.divergence else []),
        *(["", f"{evaluation.too_long} held-out rows don't fit the model's context."] if evaluation.too_long else []),
        "",
        "## Guards",
        "",
        *(f"- {guard.name}, {guard.outcome.value}: {guard.detail}" for guard in evaluation.guards),
    ]
    if words := training_words(metrics):
        lines += ["", "## Training", "", *words]
    if evaluation.groups:
        lines += ["", "## Where it changed", "", "| by | group | rows | gain |", "|---|---|---:|---:|"]
        lines += [f"| {one.by} | {_one_line(one.group)} | {one.rows} | {one.gain:+.2f} |" for one in evaluation.groups]
    if evaluation.worst:
        lines += ["", "## The worst losses"]
        for loss in evaluation.worst:
            lines += ["", f"**{_one_line(loss.question)}** (right: {_one_line(loss.expected)}; {loss.gain:+.2f})", ""]
            lines += [f"- before: {_one_line(loss.before)}", f"- after: {_one_line(loss.after)}"]
            lines += [f"- may come from {_rows(loss.causes)}"] if loss.causes else []
    if evaluation.samples:
        lines += ["", "## Before and after"]
        for sample in evaluation.samples:
            lines += ["", f"**{_one_line(sample.question)}** (right: {_one_line(sample.expected)})", ""]
            lines += [f"- before: {_one_line(sample.before)}", f"- after: {_one_line(sample.after)}"]
    return "\n".join(lines) + "\n"


def _moves(evaluation: Evaluation) -> str:
    before = evaluation.baseline_base_model
    return f" instead of {before}: nats a token are of four bytes of text" if before else ""


def _line(name: str, rows: int | None, both: dict[str, Any] | None, form: str) -> str:
    if both is None:
        return f"| {name} | {rows or 0} | – | – |"
    count = both.get("pairs", rows)
    return f"| {name} | {count} | {form.format(both['baseline'])} | {form.format(both['candidate'])} |"


def _divergence(moved: Divergence) -> str:
    name = "moved from the base on other prompts, nats a token (reported only)"
    return f"| {name} | {moved.prompts} | {moved.baseline:.3f} | {moved.candidate:.3f} |"


def _rows(causes: list[Cause]) -> str:
    named = ", ".join(f"{cause.row_id} ({cause.influence:.2f})" for cause in causes[:CAUSES_SHOWN])
    return f"the training rows {named}"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
