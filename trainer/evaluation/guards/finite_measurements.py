"""Are all measurements numbers? A version that answers with NaN or infinity is broken, and so is any mean it enters."""

import math

from feedback.states import GuardOutcome
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.record import GuardResult


async def measurements_are_finite(findings: Findings) -> GuardResult:
    numbers = [
        *(n for row in findings.rows for side in (row.candidate, row.baseline) for n in (side.loss, side.contrast)),
        *(n for pair in findings.pairs for n in (pair.candidate_margin, pair.baseline_margin)),
        *(n for rating in findings.ratings for n in (rating.candidate, rating.baseline)),
    ]
    broken = sum(number is not None and not math.isfinite(number) for number in numbers)
    if broken:
        detail = f"{broken} of {len(numbers)} measurements aren't finite."
        return GuardResult(name="finite_measurements", outcome=GuardOutcome.FAILED, detail=detail)
    return GuardResult(name="finite_measurements", outcome=GuardOutcome.PASSED, detail="All measurements are finite.")
