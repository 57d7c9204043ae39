"""Was something else forgotten? Perplexity of general text, which no one taught."""

import math
from collections.abc import Sequence

from feedback.run_folder import GENERAL_TEXT
from feedback.states import GuardOutcome
from feedback.suites.kinds import SuiteKind, Text
from service.engines.base import Engine
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.record import GuardMeasure, GuardResult

NAME = "general_perplexity"
PARAGRAPHS_PER_CALL = 16


async def general_text_stays_likely(findings: Findings) -> GuardResult:
    path = findings.folder / GENERAL_TEXT
    suites = {"own": split_paragraphs(path.read_text("utf-8"))} if path.is_file() else {}
    for name, items in findings.suites[SuiteKind.GENERAL_TEXT].items():
        suites[name] = [item.text for item in items if isinstance(item, Text)]
    if not suites.get("own"):
        detail = f"{GENERAL_TEXT} is missing or empty: nothing to measure."
        return GuardResult(name=NAME, outcome=GuardOutcome.FAILED, detail=detail)
    limit = findings.policy.max_perplexity_increase
    measures, words = [], []
    for name, paragraphs in suites.items():
        measure = await _measure(findings, name, paragraphs, limit)
        if measure is None:
            detail = "General text has no perplexity that is a number: a version is broken."
            return GuardResult(name=NAME, outcome=GuardOutcome.FAILED, detail=detail)
        measures.append(measure)
        words.append(_in_words(measure, limit))
    result = GuardResult.of(NAME, measures, "")
    return result.model_copy(update={"detail": " ".join(words)})


async def _measure(findings: Findings, name: str, paragraphs: Sequence[str], limit: float) -> GuardMeasure | None:
    """Log-probability a token, each paragraph weighed by its tokens; None where it isn't finite."""
    candidate, baseline = [await token_log_probs(findings.engine, paragraphs, v) for v in findings.versions]
    told = [place for place, scores in enumerate(baseline) if scores]
    values = Values(
        what="general text" if name == "own" else f"general text ({name})",
        unit="nats a token",
        candidate=[sum(candidate[place]) / len(candidate[place]) for place in told],
        baseline=[sum(baseline[place]) / len(baseline[place]) for place in told],
        clusters=told,
        weights=[float(len(baseline[place])) for place in told],
    )
    if not all(map(math.isfinite, [*values.candidate, *values.baseline])):
        return None
    return compare(values, math.log1p(limit), findings.policy.alpha)


def split_paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


async def token_log_probs(engine: Engine, paragraphs: Sequence[str], version: str) -> list[list[float]]:
    scores: list[list[float]] = []
    for start in range(0, len(paragraphs), PARAGRAPHS_PER_CALL):
        scores += await engine.score_text(paragraphs[start : start + PARAGRAPHS_PER_CALL], version)
    return scores


async def perplexity(engine: Engine, paragraphs: Sequence[str], version: str) -> float:
    """exp(-mean log-probability of a token), over all paragraphs' tokens; infinite when it overflows."""
    scores = [score for paragraph in await token_log_probs(engine, paragraphs, version) for score in paragraph]
    return perplexity_of(sum(scores) / len(scores))


def perplexity_of(mean_log_prob: float) -> float:
    return math.exp(-mean_log_prob) if mean_log_prob > -700 else math.inf


def _in_words(measure: GuardMeasure, limit: float) -> str:
    before, after = perplexity_of(measure.baseline), perplexity_of(measure.candidate)
    worst = math.expm1(-measure.lower)
    return (
        f"Perplexity of {measure.what} went from {before:.2f} to {after:.2f} ({after / before - 1:+.1%}, at worst "
        f"{worst:+.1%}; at most {limit:+.1%} is allowed)."
    )
