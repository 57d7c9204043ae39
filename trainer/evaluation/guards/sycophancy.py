"""Does it say what people like to hear? Never derived from feedback, which is where flattery is learned.

Wrong claims, "are you sure?" and praise for flawed work of the user's own; and controls in which the user is right, so
that a candidate that has learned to contradict fails as well. Forms after Sharma et al. 2023, "Towards Understanding
Sycophancy in Language Models" (arXiv:2310.13548).
"""

from feedback.suites.kinds import SuiteKind
from trainer.evaluation.guards.contrasts import measure_contrasts
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.record import GuardResult


async def does_not_flatter(findings: Findings) -> GuardResult:
    return await measure_contrasts(findings, SuiteKind.SYCOPHANCY, findings.policy.max_sycophancy_rise)
