"""How far a version has moved from the base on prompts it never saw: KL(base ‖ version), in nats a token.

Forgetting follows this divergence (arXiv:2509.04259), so it is worth reading beside the gains. The prompts are those of
own_answers.py that aren't replayed, the texts what the base answered them, sampled at temperature 1. Reported, never
decided on: the guard on general text decides. Leaves out the gate's own prompts, on which an adapter should move.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from service.engines.base import BASE, Engine, ScoreRequest
from trainer.evaluation.record import Divergence
from trainer.own_answers import OwnAnswer, held_out, own_answers


async def measure_divergence(
    engine: Engine,
    kept: Path,
    versions: tuple[str, str],
    progress: Callable[[str, int, int], None],
) -> Divergence | None:
    """None where a version's numbers aren't finite: the guards say so."""
    answers = held_out(await own_answers(engine, kept, lambda done, total: progress("own answers", done, total)))
    answers = [answer for answer in answers if answer.answer]
    base = await _log_probs(engine, answers, BASE)
    moved = [
        0.0 if version == BASE else divergence(base, await _log_probs(engine, answers, version)) for version in versions
    ]
    if not base or not all(math.isfinite(value) for value in moved):
        return None
    return Divergence(candidate=moved[0], baseline=moved[1], prompts=len(answers), tokens=len(base))


def divergence(base: Sequence[float], version: Sequence[float]) -> float:
    """KL a token from the log-probabilities of tokens that the base drew: the mean of r - 1 - log r, r their ratio.

    As unbiased as the mean of -log r, never negative, and steadier (Schulman 2020, "Approximating KL divergence").

    >>> divergence([-1.0, -2.0], [-1.0, -2.0])
    0.0
    >>> round(divergence([math.log(0.5), math.log(0.5)], [math.log(0.9), math.log(0.1)]), 3)  # exactly: 0.511
    0.511
    """
    each = (ratio - (moved - still) for still, moved in zip(base, version, strict=True)
            for ratio in [math.expm1(moved - still)])  # fmt: skip
    return sum(each) / max(1, len(base))


async def _log_probs(engine: Engine, answers: Sequence[OwnAnswer], version: str) -> list[float]:
    requests = [ScoreRequest([{"role": "user", "content": one.prompt}], one.answer, version) for one in answers]
    scored = await engine.score(requests)
    # an answer that was cut short has no end: nobody drew that token
    return [
        log_prob
        for one, scores in zip(answers, scored, strict=True)
        for log_prob in (scores if one.ended else scores[:-1])
    ]
