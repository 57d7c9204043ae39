"""Does it still do as it is told, where a program can check that? IFEval's kind of prompts, its public file too."""

from collections.abc import Sequence
from statistics import fmean
from typing import cast

from feedback.suites.kinds import Instructions, SuiteKind
from trainer.evaluation.generate import generate
from trainer.evaluation.guards.contrasts import LANGUAGES
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.instruction_checks import CHECKS, follows
from trainer.evaluation.guards.kept import Numbers
from trainer.evaluation.guards.margins import Values, compare
from trainer.evaluation.record import GuardResult

REPLY_TOKENS = 80
LEAST_FOLLOWED = 0.1
"""A baseline that follows fewer has nothing to lose."""


async def follows_instructions(findings: Findings) -> GuardResult:
    """Share of each prompt's instructions that the greedy reply follows; what has no check here is left out."""
    measures = []
    for suite, found in findings.suites[SuiteKind.INSTRUCTIONS].items():
        known = [item for item in cast("list[Instructions]", found) if CHECKS.keys() >= set(item.instruction_id_list)]
        if not known:
            continue
        followed = [await _followed(findings, known, version) for version in findings.versions]
        for language in sorted({item.language for item in known}):
            places = [place for place, item in enumerate(known) if item.language == language]
            values = Values(
                what=f"instructions, {LANGUAGES.get(language, language)}" + (f" ({suite})" if suite != "own" else ""),
                unit="followed",
                candidate=[followed[0][place] for place in places],
                baseline=[followed[1][place] for place in places],
                clusters=[known[place].id for place in places],
                least=LEAST_FOLLOWED,
            )
            measures.append(compare(values, findings.policy.max_instruction_loss, findings.policy.alpha))
    nothing = "No suite of instructions is there: nothing was measured."
    return GuardResult.of(SuiteKind.INSTRUCTIONS.value, measures, nothing)


async def _followed(findings: Findings, items: Sequence[Instructions], version: str) -> list[float]:
    async def measure() -> Numbers:
        asked = [[{"role": "user", "content": item.prompt}] for item in items]
        replies = await generate(findings.engine, asked, version, REPLY_TOKENS)
        texts = [reply.text if reply else "" for reply in replies]
        return {"followed": [_share(item, text) for item, text in zip(items, texts, strict=True)]}

    return (await findings.kept.of(SuiteKind.INSTRUCTIONS.value, items, version, measure))["followed"]


def _share(item: Instructions, reply: str) -> float:
    return fmean(
        follows(reply, instruction, arguments)
        for instruction, arguments in zip(item.instruction_id_list, item.kwargs, strict=True)
    )
