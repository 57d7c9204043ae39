"""The engine that serves, in a training process of its own: what is judged is what would be served.

Leaves out what is asked of it (evaluation/, own_answers.py).
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.engines.local.engine import LocalEngine

SILENCE_SECONDS = 3600.0
"""Training takes what others leave over, so that beside a busy program one step may take many minutes; nobody waits
for a reply here."""


def open_engine(base_model: str, models_folder: Path, device: str, dtype: str) -> "LocalEngine":
    """Not started yet. device, dtype: as `LocalEngine` has them."""
    from service.engines.local.engine import LocalEngine

    return LocalEngine(base_model, models_folder, device=device, dtype=dtype, silence_seconds=SILENCE_SECONDS)
