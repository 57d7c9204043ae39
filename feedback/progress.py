"""How far a training process is, read from the metrics.json that it keeps up to date."""

import json
from pathlib import Path
from typing import Any


def read_progress(attempt: Path) -> dict[str, Any]:
    """{} before the first step; else stage, step, total_steps, the last loss and the seconds of each stage."""
    try:
        metrics = json.loads((attempt / "metrics.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    told = {name: metrics[name] for name in ("stage", "step", "total_steps") if name in metrics}
    history = metrics.get("loss_history") or []
    if history:
        told["loss"] = history[-1].get("loss")
    return told
