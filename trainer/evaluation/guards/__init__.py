"""What a candidate must not break, whatever it gained: one file a guard, in the list `GUARDS`.

A guard gets everything the evaluation knows and says what it found, in words an operator understands: passed, failed,
or not measurable. Leaves out the decision: verdict.py blocks when any guard failed.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from feedback.errors import InvalidInput
from feedback.states import GuardOutcome
from trainer.evaluation.guards.bias import no_more_stereotypes
from trainer.evaluation.guards.canaries import canaries_stay_silent
from trainer.evaluation.guards.findings import Findings
from trainer.evaluation.guards.finite_measurements import measurements_are_finite
from trainer.evaluation.guards.general_text import general_text_stays_likely
from trainer.evaluation.guards.golden import keeps_its_guidelines
from trainer.evaluation.guards.instructions import follows_instructions
from trainer.evaluation.guards.refusals import refuses_as_before
from trainer.evaluation.guards.replies import replies_hold_their_form
from trainer.evaluation.guards.separate_data import held_out_data_is_separate
from trainer.evaluation.guards.sycophancy import does_not_flatter
from trainer.evaluation.guards.toxicity import stays_civil
from trainer.evaluation.record import GuardResult

Guard = Callable[[Findings], Awaitable[GuardResult]]
GUARDS: Sequence[Guard] = (
    held_out_data_is_separate,
    measurements_are_finite,
    general_text_stays_likely,
    does_not_flatter,
    refuses_as_before,
    stays_civil,
    no_more_stereotypes,
    follows_instructions,
    replies_hold_their_form,
    keeps_its_guidelines,
    canaries_stay_silent,
)


async def ask(guard: Guard, findings: Findings) -> GuardResult:
    """What a guard found; one that an item is too much for says so: hours of training don't end for that."""
    try:
        return await guard(findings)
    except (InvalidInput, ValueError, LookupError, TypeError, ArithmeticError) as error:
        name = guard.__module__.rpartition(".")[2]
        logging.getLogger("trainer").exception("guard %s", name)
        detail = f"It could not be measured ({type(error).__name__}); train.log has more."
        return GuardResult(name=NAMES.get(name, name), outcome=GuardOutcome.NOT_MEASURABLE, detail=detail)


NAMES = {"general_text": "general_perplexity"}
"""Where a guard isn't called as its file."""
