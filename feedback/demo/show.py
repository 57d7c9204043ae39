"""What came of it: a table for people, one JSON line for programs."""

import math
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlmodel import select

from feedback import files, releases
from feedback.demo.audience import Audience
from feedback.demo.exam import Exam
from feedback.demo.stage import Stage
from feedback.models import AdapterVersion, Evaluation, Run
from feedback.run_folder import attempt_folder

SAMPLES = 3


@dataclass(frozen=True)
class Outcome:
    before: Exam
    after: Exam
    verdict: str
    reasons: list[str]
    statistics: dict[str, Any]
    promoted: bool
    perplexity: tuple[float, float]  # (baseline, candidate) on general text
    requests: int
    dropped: int
    swap_requests: int
    models: dict[str, int]
    stage_seconds: dict[str, float]
    seconds: float

    @classmethod
    def of(cls, stage: Stage, run: Run, before: Exam, after: Exam, audience: Audience, *, seconds: float) -> "Outcome":
        attempt = attempt_folder(stage.settings.runs / run.id, run.attempt)
        metrics = files.read_json(attempt / "metrics.json")
        guards = files.read_json(attempt / "evaluation.json")["guards"]
        general = next(guard for guard in guards if guard["name"] == "general_perplexity")["measures"][0]
        with stage.database.read() as session:
            evaluation = session.exec(select(Evaluation).where(Evaluation.run_id == run.id)).one()
            candidate = session.get_one(AdapterVersion, evaluation.candidate_id)
            live = releases.live(session, stage.assistant).version
        return cls(
            before=before,
            after=after,
            verdict=evaluation.verdict.value,
            reasons=evaluation.reasons,
            statistics=evaluation.statistics,
            promoted=live.id == candidate.id,
            perplexity=(math.exp(-general["baseline"]), math.exp(-general["candidate"])),
            requests=audience.requests,
            dropped=audience.dropped,
            swap_requests=audience.swap_requests,
            models=dict(audience.models),
            stage_seconds={**stage.seconds, **{f"run: {name}": took for name, took in metrics["seconds"].items()}},
            seconds=seconds,
        )

    @property
    def perplexity_change(self) -> float:
        baseline, candidate = self.perplexity
        return candidate / baseline - 1

    def as_json(self) -> dict[str, Any]:
        return {
            "fact_recall_before": round(self.before.recall, 4),
            "fact_recall_after": round(self.after.recall, 4),
            "verdict": self.verdict,
            "promoted": self.promoted,
            "requests": self.requests,
            "dropped": self.dropped,
            "perplexity_change": round(self.perplexity_change, 4),
            "seconds": round(self.seconds, 1),
        }


def print_outcome(console: Console, outcome: Outcome, *, control: bool) -> None:
    told = outcome.statistics
    table = Table(title="Control: lessons shuffled between questions" if control else "What came of it")
    for column in ("", "before", "after"):
        table.add_column(column)
    exams = f"key-fact recall on unseen phrasings ({len(outcome.before.answers)} questions)"
    table.add_row(exams, f"{outcome.before.recall:.2f}", f"{outcome.after.recall:.2f}")
    gate = f"key-fact recall at the gate ({told['rows_with_key_facts']} rows)"
    for name, measure in ((gate, "recall"), ("contrast of right over other replies (nats a token)", "contrast")):
        if told[measure]:
            table.add_row(name, f"{told[measure]['baseline']:.2f}", f"{told[measure]['candidate']:.2f}")
    table.add_row("held-out loss (nats a token)", *(f"{told['loss'][side]:.2f}" for side in ("baseline", "candidate")))
    change = f"{outcome.perplexity[1]:.2f} ({outcome.perplexity_change:+.1%})"
    table.add_row("perplexity of general text", f"{outcome.perplexity[0]:.2f}", change)
    console.print(table)
    console.print(f"[bold]{outcome.verdict}[/bold]: {'live' if outcome.promoted else 'not live'}")
    console.print("\n".join(f"  {escape(reason)}" for reason in outcome.reasons))
    served = ", ".join(f"{count} by {model}" for model, count in sorted(outcome.models.items()))
    console.print(
        f"{outcome.requests} requests of others meanwhile ({served}), {outcome.swap_requests} in the seconds of the "
        f"swap; {outcome.dropped} dropped."
    )
    stages = Table("stage", "seconds", box=None)
    for name, seconds in outcome.stage_seconds.items():
        stages.add_row(name, f"{seconds:.1f}")
    stages.add_row("all", f"{outcome.seconds:.1f}")
    console.print(stages)
    pairs = list(zip(outcome.before.answers, outcome.after.answers, strict=True))
    pairs.sort(key=lambda pair: pair[1].right == control)
    for before, after in pairs[:SAMPLES]:
        console.print(f"\n[bold]{escape(before.question)}[/bold]")
        console.print(f"  before  {escape(before.reply)}\n  after   {escape(after.reply)}")
        console.print(f"  right   {escape(before.expected)}", style="dim")
