"""Memory that a training step frees stays with the process, for the next step.

Each step's tensors differ a little in size. glibc gives large blocks back to the system as soon as they are free, and
the system clears each page anew when it is touched again: a tenth of a step on the bundled model.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""mallopt(3)."""
LARGEST_FROM_HEAP_BYTES = 32 << 20
"""The most that glibc takes for it."""


def keep_freed_memory() -> None:
    """Once for the process, which holds its peak until it ends. Does nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP_BYTES)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
