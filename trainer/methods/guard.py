"""Runs that go wrong, found out early: a loss that isn't a number, one that explodes, a run that teaches nothing.

What is said holds for any later try with the same settings, so these failures are for good. Leaves out whether what
was learned is any good: the verdict says that.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from feedback.errors import RunFailedForGood
from feedback.hyperparameters import Hyperparameters

EXPLODED = {"loss": 3.0, "grad_norm": 10.0}
"""A run has exploded when one of these is beyond that multiple of its running median, and above where it began,"""
EXPLODED_STEPS = 10
"""for so many steps in a row."""
MEDIAN_STEPS = 50
"""Steps before those that the running median is taken of."""
BEGINNING_STEPS = 10
IDLE_STEPS = 20
"""From here on, a run whose gradients have all been zero is stopped."""
REPLAY_DIVERGENCE = "replay_divergence"
"""The log's name of the divergence from the base on replayed texts, which is trained for beside the loss."""
PROBES = 4
PROBE_TOKENS = 64


def require_sound(method: str, history: Sequence[Mapping[str, Any]], hyperparameters: Hyperparameters) -> None:
    """Look at the trainer's log, one entry a step: at gradients, and at the loss with what replay adds to it."""
    setting = "learning_rate" if method == "sft" else "preference_learning_rate"
    lower = _lower(setting, getattr(hyperparameters, setting))
    steps = [entry for entry in history if "loss" in entry]
    series = {
        "loss": objective(steps, hyperparameters.replay_weight),
        "grad_norm": [float(entry.get("grad_norm") or 0.0) for entry in steps],
    }
    if not all(math.isfinite(values[-1]) for values in series.values()):
        raise RunFailedForGood(f"{_where(method, steps)}: not finite. {lower}")
    for name, multiple in EXPLODED.items():
        values = series[name]
        if exploded(values[-EXPLODED_STEPS - MEDIAN_STEPS :], median(values[:BEGINNING_STEPS]), multiple):
            raise RunFailedForGood(
                f"{_where(method, steps)}: its {'gradient norm' if name == 'grad_norm' else name} has been more than "
                f"{multiple:g} times its running median for {EXPLODED_STEPS} steps. {lower}"
            )
    norms = [entry["grad_norm"] for entry in steps if "grad_norm" in entry]
    if len(norms) >= IDLE_STEPS and not any(norms):
        raise _taught_nothing(method, f"every gradient of its first {len(norms)} steps was zero")


def objective(steps: Sequence[Mapping[str, Any]], replay_weight: float) -> list[float]:
    """The loss and what replay adds to it on average; a step without replay has the divergence of the one before.

    >>> objective([{"loss": 3.0}, {"loss": 2.0, "replay_divergence": 0.5}, {"loss": 1.5}], 4.0)
    [3.0, 4.0, 3.5]
    """
    sums, divergence = [], 0.0
    for entry in steps:
        divergence = float(entry.get(REPLAY_DIVERGENCE, divergence))
        sums.append(float(entry["loss"]) + replay_weight * divergence)
    return sums


def exploded(values: Sequence[float], beginning: float, multiple: float) -> bool:
    """Whether the last steps all lie beyond the multiple of the median of those before, and above the beginning.

    >>> calm = [3.0] * 10 + [1.0] * 40
    >>> exploded(calm + [3.5] * 10, 3.0, 3.0), exploded(calm + [3.5] * 9, 3.0, 3.0)
    (True, False)
    >>> exploded([0.01] * 50 + [0.5] * 10, 3.0, 3.0)  # fifty times nearly nothing is nothing yet
    False
    """
    before, late = values[:-EXPLODED_STEPS], values[-EXPLODED_STEPS:]
    if len(before) < EXPLODED_STEPS:
        return False
    return min(late) > max(beginning, multiple * median(before[-MEDIAN_STEPS:]))


def require_learned(
    method: str, model: Any, before: Mapping[str, Any], history: Sequence[Mapping[str, Any]], probes: list[list[int]]
) -> None:
    """After training: something moved, and it makes a difference to what the model says.

    A new adapter's B is zero, so that it says what the base says; one that still does, on every probe and to the last
    bit, has learned nothing.
    """
    import torch

    norms = [entry["grad_norm"] for entry in history if "grad_norm" in entry]
    if norms and not any(norms):
        raise _taught_nothing(method, "every gradient was zero")
    after = dict(model.named_parameters())
    if all(torch.equal(weight, after[name].detach().cpu()) for name, weight in before.items()):
        raise _taught_nothing(method, "no weight of the adapter moved")
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for probe in probes[:PROBES]:
            inputs = torch.tensor([probe[-PROBE_TOKENS:]], device=model.device)  # (1, L)
            adapted = model(input_ids=inputs).logits[:, -1].float().log_softmax(-1)  # (1, V)
            with model.disable_adapter():
                base = model(input_ids=inputs).logits[:, -1].float().log_softmax(-1)
            if not torch.equal(adapted, base):
                break
        else:
            raise _taught_nothing(method, f"on {len(probes[:PROBES])} of its own prompts it says what the base says")
    model.train(was_training)


def trainable_weights(model: Any) -> dict[str, Any]:
    """Copies, on the CPU."""
    return {name: weight.detach().cpu().clone() for name, weight in model.named_parameters() if weight.requires_grad}


def _where(method: str, steps: Sequence[Mapping[str, Any]]) -> str:
    entry = steps[-1]
    norm = entry.get("grad_norm")
    divergence = next((one[REPLAY_DIVERGENCE] for one in reversed(steps) if REPLAY_DIVERGENCE in one), None)
    return (
        f"{method}: at step {entry['step']} the loss is {entry['loss']:.4g}"
        + (f" beside a divergence from the base of {divergence:.4g}" if divergence is not None else "")
        + (f" (gradient norm {norm:.4g})" if norm is not None else "")
    )


def _lower(setting: str, rate: float) -> str:
    return (
        f"hyperparameters.{setting} is {rate:g}: try a tenth "
        f"(`burnish assistant set ASSISTANT hyperparameters.{setting}={rate / 10:g}`)."
    )


def _taught_nothing(method: str, why: str) -> RunFailedForGood:
    return RunFailedForGood(
        f"{method}: training taught nothing: {why}. Look at the learning rate (hyperparameters.learning_rate, "
        "preference_learning_rate) and at the rows (datasheet.md)."
    )
