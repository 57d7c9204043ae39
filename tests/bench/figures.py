"""What the benchmarks share: percentiles, the machine they ran on, and how figures are shown.

A benchmark's result is a dictionary: `rows`, all with the same keys, which are the figures' names with their units,
and what holds for all of them. Leaves out how anything is measured.
"""

import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
Result = dict[str, Any]


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of them lie, between two neighbours by their distance; NaN of none.

    >>> percentile([4, 1, 3, 2], 50), percentile([1, 2], 25), percentile([7], 99)
    (2.5, 1.25, 7.0)
    """
    if not values:
        return float("nan")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def slope(values: Sequence[float]) -> float:
    """How much the values grow from one to the next: the least-squares line through them.

    >>> slope([10, 12, 14]), slope([5, 5, 8])
    (2.0, 1.5)
    """
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    over = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    return over / sum((place - middle) ** 2 for place in range(len(values)))


def numbers(text: str) -> list[int]:
    """An option's list.

    >>> numbers("1,4,16")
    [1, 4, 16]
    """
    return [int(number) for number in text.split(",")]


def machine() -> str:
    import torch

    capability = torch.backends.cpu.get_cpu_capability()
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"{capability}, no GPU"
    return f"{os.cpu_count()} cores ({platform.machine()}, {device}), torch {torch.__version__}"


def tell(line: str) -> None:
    """Progress, for people who wait; the figures go to stdout."""
    print(line, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    """Rows in Markdown, as docs/benchmarks.md has them.

    >>> print(table([{"concurrency": 1, "ttft_ms_p50": 12.345}, {"concurrency": 4, "ttft_ms_p50": None}]))
    | concurrency | ttft ms p50 |
    |---|---|
    | 1 | 12.3 |
    | 4 |  |
    """
    names = list(rows[0])
    lines = [" | ".join(name.replace("_", " ") for name in names), "---|" * (len(names) - 1) + "---"]
    lines += [" | ".join(_cell(row[name]) for name in names) for row in rows]
    return "\n".join(f"|{line}|" if line.startswith("---") else f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
    return str(value)


def rounded(value: Any) -> Any:
    """Figures as far as they mean something: four digits behind the point.

    >>> rounded({"rows": [{"tokens_per_second": 31.2345678}]})
    {'rows': [{'tokens_per_second': 31.2346}]}
    """
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value
