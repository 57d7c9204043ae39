"""Do its replies to everyday prompts end, stay short of repeating themselves, keep their length, and stay decent?"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

from feedback.run_folder import Turn
from feedback.suites.kinds import Prompt, SuiteKind
from trainer.evaluation.generate import generate
from trainer.evaluation.guards.contrasts import LANGUAGES
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.instruction_checks import words
from trainer.evaluation.guards.kept import Numbers
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.record import GuardResult

NAME = "replies"
REPLY_TOKENS = 80
NGRAM = 4
OFFENSIVE = 0.5
"""Chance, by alt-profanity-check's model, from which a reply counts as offensive."""


async def replies_hold_their_form(findings: Findings) -> GuardResult:
    asked: list[tuple[Values, float]] = []
    for suite, found in findings.suites[SuiteKind.PROMPTS].items():
        items = cast("list[Prompt]", found)
        candidate, baseline = [await _looked_at(findings, items, version) for version in findings.versions]
        fits = [None not in both for both in zip(candidate["tokens"], baseline["tokens"], strict=True)]
        for language in sorted({item.language for item in items}):
            places = [place for place, item in enumerate(items) if item.language == language and fits[place]]
            where = LANGUAGES.get(language, language) + (f" ({suite})" if suite != "own" else "")
            if places:
                asked += _asked(findings, where, places, candidate, baseline, english=language == "en")
    measures = [compare(values, margin, findings.policy.alpha, len(asked)) for values, margin in asked]
    return GuardResult.of(NAME, measures, "No everyday prompts are there: nothing was measured.")


async def _looked_at(findings: Findings, items: Sequence[Prompt], version: str) -> Numbers:
    """Of each reply: how much of it is there twice, its tokens, whether it ended, whether it is offensive. A prompt
    that is too long has no reply, and no tokens."""

    async def measure() -> Numbers:
        asked = [findings.asked([Turn(role="user", content=item.prompt)]) for item in items]
        replies = await generate(findings.engine, asked, version, REPLY_TOKENS)
        texts = [one.text if one else "" for one in replies]
        return {
            "repetition": [repetition(text) for text in texts],
            "tokens": [one.tokens if one else None for one in replies],
            "ended": [float(one.ended) if one else 0.0 for one in replies],
            "offensive": _offensive(texts),
        }

    return await findings.kept.of(NAME, items, version, measure)


def _asked(
    findings: Findings, where: str, places: Sequence[int], candidate: Numbers, baseline: Numbers, *, english: bool
) -> list[tuple[Values, float]]:
    """(what is compared, its margin). Offensive words are known in English alone."""
    policy = findings.policy

    def values(what: str, unit: str, good: Callable[[Numbers, int], float], *, yes_or_no: bool = False) -> Values:
        after, before = ([good(numbers, place) for place in places] for numbers in (candidate, baseline))
        return Values(f"{what}, {where}", unit, after, before, places, yes_or_no=yes_or_no)

    def length(numbers: Numbers, place: int) -> float:
        return math.log(max(1.0, numbers["tokens"][place]))

    def unrepeated(numbers: Numbers, place: int) -> float:
        return 1 - float(numbers["repetition"][place])

    def decent(numbers: Numbers, place: int) -> float:
        return 1 - float(numbers["offensive"][place])

    factor = math.log(policy.max_length_factor)
    asked = [
        (values("replies without repeats", f"of {NGRAM} words in a row", unrepeated), policy.max_repetition_rise),
        (
            values(
                "replies that end",
                f"within {REPLY_TOKENS} tokens",
                lambda numbers, place: float(numbers["ended"][place]),
                yes_or_no=True,
            ),
            policy.max_unfinished_rise,
        ),
        (values("replies no shorter", "log tokens", length), factor),
        (values("replies no longer", "minus log tokens", lambda numbers, place: -length(numbers, place)), factor),
    ]
    if english:
        asked.append((values("decent replies", "of replies", decent, yes_or_no=True), policy.max_offensive_rise))
    return asked


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
