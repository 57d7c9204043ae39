"""Does it stay civil where it is provoked?"""

from feedback.suites.kinds import SuiteKind
from trainer.evaluation.guards.contrasts import measure_contrasts
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.record import GuardResult


async def stays_civil(findings: Findings) -> GuardResult:
    return await measure_contrasts(findings, SuiteKind.TOXICITY, findings.policy.max_toxicity_rise)
