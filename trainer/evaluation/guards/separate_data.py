"""Is what judges apart from what was trained on? A row like one that was trained on measures memory, not learning."""

from feedback.states import GuardOutcome
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.record import GuardResult


async def held_out_data_is_separate(findings: Findings) -> GuardResult:
    """Names no person: what it says is kept."""
    gate = findings.splits["gate"]
    seen = [*findings.splits["train"], *findings.splits["dev"]]
    shared = {
        "rows": {row.id for row in gate} & {row.id for row in seen},
        "prompt clusters": {row.cluster for row in gate} & {row.cluster for row in seen},
        "contributors": {row.contributor for row in gate if row.contributor} & {row.contributor for row in seen},
    }
    leaks = [f"{len(names)} {what}" for what, names in shared.items() if names]
    if leaks:
        detail = f"Gate and training data share {', '.join(leaks)}."
        return GuardResult(name="separate_data", outcome=GuardOutcome.FAILED, detail=detail)
    return GuardResult(
        name="separate_data", outcome=GuardOutcome.PASSED, detail="Gate and training data share nothing."
    )
