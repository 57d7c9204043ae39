"""The compiled library, and its structs as ctypes sees them.

Promises: `load` returns a library whose every instruction this processor has and that was compiled from the sources
beside this file, or None. Pointers must be of contiguous bfloat16 (float32 where it says so); nothing is checked there.
"""

import ctypes
from ctypes import POINTER, c_float, c_int, c_int32, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from service.engines.local.native.library import BUILDS, processor_features

BUILD = "kernels_avx512bf16"
INTERFACE = 1
"""`training_interface` of a library that this file speaks with."""
LARGEST_WIDTH, LARGEST_GROUP, LANES = 512, 64, 16
"""Of a head, and of the queries that share a key; widths come in lanes."""


class Tree(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("rows", "tokens")),
        *((name, c_void_p) for name in ("nodes", "starts", "shared", "depths")),
    )


class Heads(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("queries", "keys", "width")),
        ("scale", c_float),
        *((name, c_void_p) for name in ("cosine", "sine")),
    )


@cache
def load() -> ctypes.CDLL | None:
    if not BUILDS[BUILD] <= processor_features():
        return None
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(BUILD + suffix)
        if path.is_file():
            return _opened(path)
    return None


def _opened(path: Path) -> ctypes.CDLL | None:
    """None if the file is broken, or left over from other sources."""
    try:
        library = ctypes.CDLL(str(path))
        if c_int32.in_dll(library, "training_interface").value != INTERFACE:
            return None
        tree, heads = POINTER(Tree), POINTER(Heads)
        for name, arguments in {
            "attend": (tree, heads, c_void_p, c_void_p, c_void_p, c_int),
            "attend_backward": (tree, heads, *(c_void_p,) * 6, c_int),
            "norm": (c_void_p, c_void_p, c_float, c_int, c_int, c_void_p, c_void_p, c_int),
            "norm_backward": (*(c_void_p,) * 5, c_int, c_int, c_void_p, c_int),
            "gated": (c_void_p, c_int, c_int, c_void_p, c_int),
            "label_log_probs": (c_void_p, c_void_p, c_int, c_int, c_int, c_void_p, c_void_p, c_int),
            "gated_backward": (c_void_p, c_void_p, c_int, c_int, c_void_p, c_int),
        }.items():
            function = getattr(library, f"training_{name}")
            function.restype, function.argtypes = None, arguments
    except (OSError, AttributeError, ValueError):  # no library; a function is missing
        return None
    return library
