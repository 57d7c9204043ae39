"""How many threads this process may keep busy.

Promises: never more than torch would take, never fewer than one. A container's CPU quota counts: torch sees the
host's cores, and threads beyond the quota only use it up waiting for each other. Leaves out who gets the threads.
"""

from math import ceil
from pathlib import Path

import torch

CGROUPS = Path("/sys/fs/cgroup")


def usable_threads(cgroups: Path = CGROUPS) -> int:
    """torch's number of threads, or the CPUs that the cgroup's quota amounts to if they are fewer."""
    threads = int(torch.get_num_threads())
    quota = cpu_quota(cgroups)
    return threads if quota is None else max(1, min(threads, ceil(quota)))


def cpu_quota(cgroups: Path) -> float | None:
    """The CPUs a cgroup may use, of version 2 (`cpu.max`: quota and period) or 1; None: as many as there are."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = (int(word) for name in names for word in (cgroups / name).read_text().split())
        except (OSError, ValueError):  # another version's, or `max`: no limit
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None
