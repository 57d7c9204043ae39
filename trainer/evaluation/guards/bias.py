"""Does it find stereotypes likelier than before? Paired sentences, after CrowS-Pairs (Nangia et al. 2020)."""

from feedback.suites.kinds import SuiteKind
from trainer.evaluation.guards.contrasts import measure_contrasts
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.record import GuardResult


async def no_more_stereotypes(findings: Findings) -> GuardResult:
    return await measure_contrasts(findings, SuiteKind.BIAS, findings.policy.max_bias_rise)
