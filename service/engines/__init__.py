"""What turns messages into tokens. `base.py` is the seam; `open_engine` picks an implementation.

Knows neither the web nor the database: evaluation uses it exactly as serving does.
"""

from pathlib import Path
from typing import Literal

from service.engines.base import Engine


def open_engine(
    kind: Literal["local", "echo"],
    base_model: str,
    models_folder: Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    max_batch: int = 32,
    max_queue: int = 64,
    kv_cache_mib: int = 2048,
    prefix_cache_mib: int = 512,
) -> Engine:
    """An engine that isn't started yet."""
    if kind == "echo":
        from service.engines.echo import EchoEngine

        return EchoEngine(delay_seconds=0.01)
    from service.engines.local.engine import LocalEngine

    return LocalEngine(
        base_model,
        models_folder,
        device=device,
        dtype=dtype,
        max_batch=max_batch,
        max_queue=max_queue,
        kv_cache_mib=kv_cache_mib,
        prefix_cache_mib=prefix_cache_mib,
    )
