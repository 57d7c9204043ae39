"""A measured figure: median and spread of a few runs, and the ratio to what it is held against in the same run."""

import os
import platform
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    what: str
    unit: str
    values: list[float]
    against: str = ""

    def as_row(self) -> str:
        cells = (f"{value:.1f}" for value in (median(self.values), min(self.values), max(self.values)))
        return f"| {self.what} ({self.unit}) | {' | '.join(cells)} | {len(self.values)} | {self.against} |"


def machine() -> str:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"{capability}, no GPU"
    return f"{os.cpu_count()} cores ({platform.machine()}, {device}), torch {torch.__version__}"
