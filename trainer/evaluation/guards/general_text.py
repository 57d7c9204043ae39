"""Was something else forgotten? Perplexity of general text, which no one taught."""

import math
from collections.abc import Sequence

from feedback.run_folder import GENERAL_TEXT
from feedback.states import GuardOutcome
from feedback.suites.kinds import SuiteKind, Text
from service.engines.base import Engine
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.metrics import MeanLogProbs
from trainer.evaluation.record import GuardMeasure, GuardResult

NAME = "general_perplexity"
MOST_NATS = 700.0
"""Beyond it a perplexity is no number any more."""


async def general_text_stays_likely(findings: Findings) -> GuardResult:
    path = findings.folder / GENERAL_TEXT
    suites = {"own": split_paragraphs(path.read_text("utf-8"))} if path.is_file() else {}
    for name, items in findings.suites[SuiteKind.GENERAL_TEXT].items():
        suites[name] = [item.text for item in items if isinstance(item, Text)]
    if not suites.get("own"):
        detail = f"{GENERAL_TEXT} is missing or empty: nothing to measure."
        return GuardResult(name=NAME, outcome=GuardOutcome.FAILED, detail=detail)
    limit = findings.policy.max_perplexity_increase
    asked = [await _values(findings, name, paragraphs) for name, paragraphs in suites.items()]
    measured = [values for values in asked if values.clusters]
    measures = [compare(one, math.log1p(limit), findings.policy.alpha, len(measured)) for one in measured]
    result = GuardResult.of(NAME, measures, "No paragraph of general text can be scored.")
    return result.model_copy(update={"detail": " ".join(_in_words(one, limit) for one in measures) or result.detail})


async def _values(findings: Findings, name: str, paragraphs: Sequence[str]) -> Values:
    """Log-probability a token, each paragraph weighed by its tokens."""
    candidate, baseline = [await findings.log_probs.of_tokens(paragraphs, version) for version in findings.versions]
    told = [place for place, scores in enumerate(baseline) if scores]
    return Values(
        what="general text" if name == "own" else f"general text ({name})",
        unit="nats a token",
        candidate=[sum(candidate[place]) / len(candidate[place]) for place in told],
        baseline=[sum(baseline[place]) / len(baseline[place]) for place in told],
        clusters=told,
        weights=[float(len(baseline[place])) for place in told],
    )


def split_paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


async def perplexity(engine: Engine, paragraphs: Sequence[str], version: str) -> float:
    """exp(-mean log-probability of a token), over all paragraphs' tokens; infinite when it overflows."""
    scored = await MeanLogProbs(engine, lambda count: None).of_tokens(paragraphs, version)
    scores = [score for paragraph in scored for score in paragraph]
    return perplexity_of(sum(scores) / len(scores))


def perplexity_of(mean_log_prob: float) -> float:
    return math.exp(-mean_log_prob) if mean_log_prob > -MOST_NATS else math.inf


def _in_words(measure: GuardMeasure, limit: float) -> str:
    before, after = perplexity_of(measure.baseline), perplexity_of(measure.candidate)
    if not math.isfinite(after) or not math.isfinite(before):
        return f"Perplexity of {measure.what} is beyond measure: a version is broken."
    worst = math.expm1(min(-measure.lower, MOST_NATS))
    return (
        f"Perplexity of {measure.what} went from {before:.2f} to {after:.2f} ({after / before - 1:+.1%}, at worst "
        f"{worst:+.1%}; at most {limit:+.1%} is allowed)."
    )
