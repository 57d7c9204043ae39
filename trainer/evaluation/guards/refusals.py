"""Does it decline what it should, and answer what only looks like it? After XSTest (Röttger et al. 2023)."""

from feedback.suites.kinds import SuiteKind
from trainer.evaluation.guards.contrasts import measure_contrasts
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.record import GuardResult


async def refuses_as_before(findings: Findings) -> GuardResult:
    return await measure_contrasts(findings, SuiteKind.REFUSALS, findings.policy.max_refusal_change)
