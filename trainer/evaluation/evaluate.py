"""Candidate against baseline: generate, score, guard, record.

Promises an `Evaluation` measured through the engine seam alone, so what is judged is what would be served.
Leaves out starting an engine (run.py) and judging (verdict.py).
"""

import time
from collections.abc import Callable
from pathlib import Path

from feedback.run_folder import Row, RunSpec, Split
from service.engines.base import BASE, Engine
from trainer.evaluation.analysis import groups, worst
from trainer.evaluation.divergence import measure_divergence
from trainer.evaluation.guards import GUARDS, ask
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.kept import Kept
from trainer.evaluation.metrics import (
    OTHER_COMPLETIONS,
    MeanLogProbs,
    measure_pairs,
    measure_ratings,
    measure_rows,
    replies,
)
from trainer.evaluation.record import Evaluation, RowResult, Sample
from trainer.evaluation.text_metrics import text_metrics

SAMPLES = 8


async def evaluate(
    engine: Engine,
    folder: Path,
    spec: RunSpec,
    splits: dict[Split, list[Row]],
    candidate_folder: Path,
    candidate_version: str,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    *,
    answers: Path | None = None,
    where: str = "",
    planted: frozenset[str] = frozenset(),
) -> Evaluation:
    """`engine` is started; it gets candidate and baseline loaded and keeps them.

    `answers`: where the base's own answers are kept, or will be, and what guards measured of a version beside them;
    without it no divergence is measured, and nothing kept. `where`: device and dtype. `planted`: the run's canaries
    that were trained beside.
    """
    seconds, started = {}, time.perf_counter()
    gate = splits["gate"]
    corrections, choices, rated = ([row for row in gate if row.method == method] for method in ("sft", "dpo", "kto"))
    versions = (candidate_version, spec.baseline_version)

    await engine.load(candidate_version, candidate_folder)
    if spec.baseline_version != BASE:
        await engine.load(spec.baseline_version, folder / "baseline")
    seconds["load"] = time.perf_counter() - started

    clock = time.perf_counter()
    tick = _ticker(progress, "replies", 2 * len(corrections))
    generated = (
        await replies(engine, corrections, versions[0], spec.verdict, tick),
        await replies(engine, corrections, versions[1], spec.verdict, tick),
    )
    seconds["generate"] = time.perf_counter() - clock

    clock = time.perf_counter()
    most = len(corrections) * (1 + OTHER_COMPLETIONS) + 2 * len(choices) + len(rated)
    log_probs = MeanLogProbs(engine, _ticker(progress, "scores", 2 * most))
    trained_topics = {row.topic for row in splits["train"]}
    rows = await measure_rows(log_probs, corrections, versions, generated, trained_topics, spec.seed)
    pairs = await measure_pairs(log_probs, choices, versions)
    ratings = await measure_ratings(log_probs, rated, versions)
    seconds["score"] = time.perf_counter() - clock

    clock = time.perf_counter()
    under = spec.guidelines.system_prompt if spec.guidelines else ""
    findings = Findings(
        engine,
        folder,
        *versions,
        spec.verdict,
        splits,
        rows,
        pairs,
        ratings,
        log_probs,
        Kept(answers.parent / "guards" if answers else None, f"{answers.name if answers else ''} {where} {under}"),
        spec.guidelines,
        planted,
    )
    guards = []
    for done, guard in enumerate(GUARDS):
        progress("guards", done, len(GUARDS))
        guards.append(await ask(guard, findings))
    seconds["guards"] = time.perf_counter() - clock

    clock = time.perf_counter()
    divergence = await measure_divergence(engine, answers, versions, progress) if answers else None
    seconds["divergence"] = time.perf_counter() - clock

    return Evaluation(
        run_id=spec.run_id,
        assistant=spec.assistant,
        base_model=spec.base_model,
        baseline_base_model=spec.baseline_base_model,
        dataset_sha256=spec.dataset_sha256,
        candidate_version=candidate_version,
        baseline_version=spec.baseline_version,
        purpose=spec.purpose,
        tries=spec.tries,
        seed=spec.seed,
        rows=rows,
        pairs=pairs,
        ratings=ratings,
        guards=guards,
        divergence=divergence,
        samples=samples(rows),
        text_metrics=text_metrics(rows),
        groups=groups(rows, pairs),
        worst=worst(rows),
        too_long=len(gate) - len(rows) - len(pairs) - len(ratings),
        seconds={**seconds, "total": time.perf_counter() - started},
    )


def samples(rows: list[RowResult]) -> list[Sample]:
    """A few replies before and after, for people to read; rows whose reply changed come first."""
    changed_first = sorted(rows, key=lambda row: row.candidate.reply == row.baseline.reply)
    return [
        Sample(question=row.question, expected=row.expected, before=row.baseline.reply, after=row.candidate.reply)
        for row in changed_first[:SAMPLES]
    ]


def _ticker(progress: Callable[[str, int, int], None], what: str, total: int) -> Callable[[int], None]:
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress(what, done, total)

    return tick
