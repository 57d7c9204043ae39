"""Does it still do as it is told, where a program can check that? IFEval's kind of prompts, its public file too."""

from collections.abc import Sequence
from statistics import fmean
from typing import cast

from feedback.run_folder import Turn
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
    """Share of each prompt's instructions that the greedy reply follows; what can't be checked here is left out."""
    asked = []
    for suite, found in findings.suites[SuiteKind.INSTRUCTIONS].items():
        known = [item for item in cast("list[Instructions]", found) if _can_be_checked(item)]
        followed = [await _followed(findings, known, version) for version in findings.versions]
        for language in sorted({item.language for item in known}):
            places = [
                place
                for place, item in enumerate(known)
                if item.language == language and None not in (followed[0][place], followed[1][place])
            ]
            if places:
                asked.append(
                    Values(
                        what=f"instructions, {LANGUAGES.get(language, language)}"
                        + (f" ({suite})" if suite != "own" else ""),
                        unit="followed",
                        candidate=[followed[0][place] or 0.0 for place in places],
                        baseline=[followed[1][place] or 0.0 for place in places],
                        clusters=[known[place].id for place in places],
                        least=LEAST_FOLLOWED,
                        yes_or_no=all(len(known[place].instruction_id_list) == 1 for place in places),
                    )
                )
    policy = findings.policy
    measures = [compare(values, policy.max_instruction_loss, policy.alpha, len(asked)) for values in asked]
    nothing = "No suite of instructions is there: nothing was measured."
    return GuardResult.of(SuiteKind.INSTRUCTIONS.value, measures, nothing)


def _can_be_checked(item: Instructions) -> bool:
    """An unknown instruction can't, nor one without the arguments that it needs."""
    if not CHECKS.keys() >= set(item.instruction_id_list):
        return False
    try:
        _share(item, "A word.")
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


async def _followed(findings: Findings, items: Sequence[Instructions], version: str) -> list[float | None]:
    async def measure() -> Numbers:
        asked = [findings.asked([Turn(role="user", content=item.prompt)]) for item in items]
        replies = await generate(findings.engine, asked, version, REPLY_TOKENS)
        return {
            "followed": [
                _share(item, reply.text) if reply else None for item, reply in zip(items, replies, strict=True)
            ]
        }

    return (await findings.kept.of(SuiteKind.INSTRUCTIONS.value, items, version, measure))["followed"]


def _share(item: Instructions, reply: str) -> float:
    return fmean(
        follows(reply, instruction, arguments)
        for instruction, arguments in zip(item.instruction_id_list, item.kwargs, strict=True)
    )
