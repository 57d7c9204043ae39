"""Millions of objects at once: how a process holds them in as little memory and time as it can."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_MMAP_THRESHOLD_BYTES = 128 * 1024


@contextmanager
def many_objects() -> Iterator[None]:
    """While millions of them are made that have no reference cycles, none are searched for.

    Objects are still freed when nothing refers to them; the search would visit all of them again and again.
    """
    _return_freed_arrays()
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def _return_freed_arrays() -> None:
    """Large blocks go back to the system when they are freed, from now on.

    glibc, left alone, keeps blocks up to the size of the largest one ever freed, and heaps for each thread.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)
        mallopt(_M_ARENA_MAX, 1)
