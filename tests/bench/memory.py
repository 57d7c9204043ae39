"""How much memory processes hold and held, by Linux's /proc; elsewhere None, and no processes."""

from collections.abc import Sequence
from pathlib import Path

MIB = 1 << 20


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and those that they started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def rss_mib(pids: Sequence[int]) -> float | None:
    """Resident memory, now."""
    return _sum(pids, "VmRSS:")


def pss_mib(pids: Sequence[int]) -> float | None:
    """Resident memory, now; a page that several processes share counts once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total / MIB or None


def peak_rss_mib(pids: Sequence[int]) -> float | None:
    """The most that each has held, added up."""
    return _sum(pids, "VmHWM:")


def _sum(pids: Sequence[int], field: str) -> float | None:
    try:
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    except OSError:
        return None
    lines = [line.split() for status in statuses for line in status.splitlines()]
    return sum(int(line[1]) * 1024 for line in lines if line[:1] == [field]) / MIB
