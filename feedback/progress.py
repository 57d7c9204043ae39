"""How far a training process is, read from the metrics.json that it keeps up to date, and what it was made of."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

METRICS, PROVENANCE = "metrics.json", "provenance.json"
LOOK_BACK_STEPS = 100
"""Where replay is sparser than one text in so many steps, its divergence isn't told with every loss."""


class Progress(BaseModel):
    stage: str
    """load, a method, evaluate, done."""
    step: int
    total_steps: int
    """0: not known yet."""
    loss: float | None = None
    replay_divergence: float | None = None
    """From the base on the newest replayed texts, in nats a token; None: the stage replays nothing."""
    eta_seconds: float | None = None
    """Until the stage is done; None: not known, or the run stands still."""
    tokens_per_second: float | None = None
    """Of training, over the last steps."""

    def __str__(self) -> str:
        """
        >>> str(Progress(stage="sft", step=3, total_steps=60, loss=1.23, eta_seconds=75))
        'sft, step 3/60, loss 1.230, done in 1:15'
        """
        parts = [self.stage]
        if self.total_steps:
            parts.append(f"step {self.step}/{self.total_steps}")
        if losses := losses_in_words(self.loss, self.replay_divergence):
            parts.append(losses)
        if self.eta_seconds is not None:
            parts.append(f"done in {duration(self.eta_seconds)}")
        return ", ".join(parts)


def newest_losses(history: list[dict[str, Any]]) -> tuple[float | None, float | None]:
    """Of metrics.json's `loss_history`: the newest loss, and the newest divergence of the same stage.

    >>> newest_losses([{"stage": "sft", "loss": 2.0, "replay_divergence": 0.1}, {"stage": "sft", "loss": 1.5}])
    (1.5, 0.1)
    >>> newest_losses([{"stage": "sft", "loss": 2.0, "replay_divergence": 0.1}, {"stage": "dpo", "loss": 0.7}])
    (0.7, None)
    """
    steps = [entry for entry in history[-LOOK_BACK_STEPS:] if entry.get("loss") is not None]
    if not steps:
        return None, None
    own = (entry.get("replay_divergence") for entry in reversed(steps) if entry.get("stage") == steps[-1].get("stage"))
    return steps[-1]["loss"], next((one for one in own if one is not None), None)


def dev_looks(history: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of `loss_history`: the looks at dev whose weights a method may keep. The first one, before any step, isn't one.

    >>> dev_looks([{"step": 0, "dev_loss": 1.0}, {"step": 1, "dev_loss": None}, {"step": 2, "dev_loss": 1.5}])
    [{'step': 2, 'dev_loss': 1.5}]
    """
    return [entry for entry in history if entry["step"] > 0 and entry.get("dev_loss") is not None]


def losses_in_words(loss: float | None, replay_divergence: float | None) -> str:
    """
    >>> losses_in_words(1.23, 0.0456), losses_in_words(1.23, None), losses_in_words(None, None)
    ('loss 1.230, divergence 0.046', 'loss 1.230', '')
    """
    named = {"loss": loss, "divergence": replay_divergence}
    return ", ".join(f"{name} {value:.3f}" for name, value in named.items() if value is not None)


def duration(seconds: float) -> str:
    """
    >>> duration(75), duration(3 * 3600 + 62)
    ('1:15', '3:01:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def read_progress(attempt: Path, *, going: bool = True) -> Progress | None:
    """None before the first stage. Not `going`: what was noted last, and no time until it is done."""
    metrics = read_metrics(attempt)
    if metrics is None or "stage" not in metrics:
        return None
    loss, replay_divergence = newest_losses(metrics.get("loss_history") or [])
    eta = metrics.get("eta_seconds") if going else None
    if eta is not None:
        eta = round(max(0.0, eta - (time.time() - metrics["written_at"])), 1)
    return Progress(
        stage=metrics["stage"],
        step=metrics.get("step", 0),
        total_steps=metrics.get("total_steps", 0),
        loss=loss,
        replay_divergence=replay_divergence,
        eta_seconds=eta,
        tokens_per_second=metrics.get("tokens_per_second") if going else None,
    )


def read_metrics(attempt: Path) -> dict[str, Any] | None:
    return _read(attempt / METRICS)


def read_provenance(attempt: Path) -> dict[str, Any] | None:
    return _read(attempt / PROVENANCE)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found
