"""Do its replies to everyday prompts end, stay short of repeating themselves, keep their length, and stay decent?"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

from feedback.suites.kinds import Prompt, SuiteKind
from trainer.evaluation.generate import generate
from trainer.evaluation.guards.contrasts import LANGUAGES
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.instruction_checks import words
from trainer.evaluation.guards.kept import Numbers
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.record import GuardMeasure, GuardResult

NAME = "replies"
REPLY_TOKENS = 80
NGRAM = 4
OFFENSIVE = 0.5
"""Chance, by alt-profanity-check's model, from which a reply counts as offensive."""


async def replies_hold_their_form(findings: Findings) -> GuardResult:
    measures: list[GuardMeasure] = []
    for suite, found in findings.suites[SuiteKind.PROMPTS].items():
        items = cast("list[Prompt]", found)
        candidate, baseline = [await _looked_at(findings, items, version) for version in findings.versions]
        fits = [not math.isnan(a + b) for a, b in zip(candidate["tokens"], baseline["tokens"], strict=True)]
        for language in sorted({item.language for item in items}):
            places = [place for place, item in enumerate(items) if item.language == language and fits[place]]
            where = LANGUAGES.get(language, language) + (f" ({suite})" if suite != "own" else "")
            measures += _measures(findings, where, places, candidate, baseline)
    return GuardResult.of(NAME, measures, "No everyday prompts are there: nothing was measured.")


async def _looked_at(findings: Findings, items: Sequence[Prompt], version: str) -> Numbers:
    """Of each reply: how much of it is there twice, its tokens, whether it ended, whether it is offensive. A prompt
    that is too long has no reply, and not a number for its tokens."""

    async def measure() -> Numbers:
        asked = [[{"role": "user", "content": item.prompt}] for item in items]
        replies = await generate(findings.engine, asked, version, REPLY_TOKENS)
        texts = [one.text if one else "" for one in replies]
        return {
            "repetition": [repetition(text) for text in texts],
            "tokens": [float(one.tokens) if one else math.nan for one in replies],
            "ended": [float(one.ended) if one else 0.0 for one in replies],
            "offensive": _offensive(texts),
        }

    return await findings.kept.of(NAME, items, version, measure)


def _measures(
    findings: Findings, where: str, places: Sequence[int], candidate: Numbers, baseline: Numbers
) -> list[GuardMeasure]:
    policy = findings.policy

    def measure(what: str, unit: str, good: Callable[[Numbers, int], float], margin: float) -> GuardMeasure:
        after, before = ([good(numbers, place) for place in places] for numbers in (candidate, baseline))
        return compare(Values(f"{what}, {where}", unit, after, before, places), margin, policy.alpha)

    def length(numbers: Numbers, place: int) -> float:
        return math.log(max(1.0, numbers["tokens"][place]))

    factor = math.log(policy.max_length_factor)
    return [
        measure(
            "replies without repeats",
            f"of {NGRAM} words in a row",
            lambda numbers, place: 1 - numbers["repetition"][place],
            policy.max_repetition_rise,
        ),
        measure(
            "replies that end",
            f"within {REPLY_TOKENS} tokens",
            lambda numbers, place: numbers["ended"][place],
            policy.max_unfinished_rise,
        ),
        measure("replies no shorter", "log tokens", length, factor),
        measure("replies no longer", "minus log tokens", lambda numbers, place: -length(numbers, place), factor),
        measure(
            "decent replies",
            "of replies",
            lambda numbers, place: 1 - numbers["offensive"][place],
            policy.max_offensive_rise,
        ),
    ]


def repetition(text: str) -> float:
    """Share of the runs of four words that were there before.

    >>> repetition("a b c d e f g"), repetition("no no no no no no no")
    (0.0, 0.75)
    """
    said = words(text.lower())
    runs = Counter(zip(*(said[start:] for start in range(NGRAM)), strict=False))
    total = runs.total()
    return 1 - len(runs) / total if total else 0.0


def _offensive(texts: Sequence[str]) -> list[float]:
    from profanity_check import predict_prob

    return [float(chance > OFFENSIVE) for chance in predict_prob(list(texts))] if texts else []
