"""What a candidate must not break, whatever it gained: one function a guard, in the list `GUARDS`.

A guard gets everything the evaluation knows and says whether it passed, in words an operator understands.
Leaves out the decision: verdict.py blocks when any guard failed.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback.policies import VerdictPolicy
from feedback.run_folder import Row, Split
from service.engines.base import Engine
from trainer.evaluation.record import GuardResult, PairResult, RatingResult, RowResult

GENERAL_TEXT = Path("suites/general.txt")
PARAGRAPHS_PER_CALL = 16


@dataclass(frozen=True)
class Findings:
    """What guards may look at."""

    engine: Engine
    folder: Path
    candidate_version: str
    baseline_version: str
    policy: VerdictPolicy
    splits: dict[Split, list[Row]]
    rows: list[RowResult]
    pairs: list[PairResult]
    ratings: list[RatingResult]


async def held_out_data_is_separate(findings: Findings) -> GuardResult:
    """A row like one that was trained on measures memory, not learning. Names no person: what it says is kept."""
    gate = findings.splits["gate"]
    seen = [*findings.splits["train"], *findings.splits["dev"]]
    shared = {
        "rows": {row.id for row in gate} & {row.id for row in seen},
        "prompt clusters": {row.cluster for row in gate} & {row.cluster for row in seen},
        "contributors": {row.contributor for row in gate if row.contributor} & {row.contributor for row in seen},
    }
    leaks = [f"{len(names)} {what}" for what, names in shared.items() if names]
    detail = f"Gate and training data share {', '.join(leaks)}." if leaks else "Gate and training data share nothing."
    return GuardResult(name="separate_data", passed=not leaks, detail=detail)


async def measurements_are_finite(findings: Findings) -> GuardResult:
    """A version that answers with NaN or infinity is broken, and so is any mean it enters."""
    numbers = [
        *(n for row in findings.rows for side in (row.candidate, row.baseline) for n in (side.loss, side.contrast)),
        *(n for pair in findings.pairs for n in (pair.candidate_margin, pair.baseline_margin)),
        *(n for rating in findings.ratings for n in (rating.candidate, rating.baseline)),
    ]
    broken = sum(number is not None and not math.isfinite(number) for number in numbers)
    detail = f"{broken} of {len(numbers)} measurements aren't finite." if broken else "All measurements are finite."
    return GuardResult(name="finite_measurements", passed=not broken, detail=detail)


async def general_text_stays_likely(findings: Findings) -> GuardResult:
    """Perplexity of general text, which no one taught: a rise means that something else was forgotten."""
    name, path = "general_perplexity", findings.folder / GENERAL_TEXT
    paragraphs = [part.strip() for part in path.read_text("utf-8").split("\n\n")] if path.is_file() else []
    paragraphs = [part for part in paragraphs if part]
    if not paragraphs:
        return GuardResult(name=name, passed=False, detail=f"{GENERAL_TEXT} is missing or empty: nothing to measure.")
    candidate = await perplexity(findings.engine, paragraphs, findings.candidate_version)
    baseline = await perplexity(findings.engine, paragraphs, findings.baseline_version)
    limit = findings.policy.max_perplexity_increase
    rise = candidate / baseline - 1
    return GuardResult(
        name=name,
        passed=math.isfinite(rise) and rise <= limit,
        detail=f"Perplexity of general text went from {baseline:.2f} to {candidate:.2f} ({rise:+.1%}; "
        f"at most {limit:+.1%} is allowed).",
        candidate=candidate,
        baseline=baseline,
    )


Guard = Callable[[Findings], Awaitable[GuardResult]]
GUARDS: Sequence[Guard] = (held_out_data_is_separate, measurements_are_finite, general_text_stays_likely)


async def perplexity(engine: Engine, paragraphs: Sequence[str], version: str) -> float:
    """exp(-mean log-probability of a token), over all paragraphs' tokens; infinite when it overflows."""
    scores: list[float] = []
    for start in range(0, len(paragraphs), PARAGRAPHS_PER_CALL):
        for paragraph in await engine.score_text(paragraphs[start : start + PARAGRAPHS_PER_CALL], version):
            scores += paragraph
    mean = -sum(scores) / len(scores)
    return math.exp(mean) if mean < 700 else math.inf
