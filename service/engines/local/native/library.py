"""The compiled library: which build runs on this processor, and its structs as ctypes sees them.

Promises: `load` returns a library whose every instruction this processor has and whose structs are these, or None.
The structs mirror `decoder.cpp` field by field. Leaves out what goes into them (`packing`, `decoder`).
"""

import ctypes
from ctypes import POINTER, c_float, c_int, c_int32, c_int64, c_void_p
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

V2 = {"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"}
V3 = V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
V4 = V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
"""What the compiler may use for x86-64's levels, as Linux names it."""

BUILDS = {"kernels_avx512bf16": V4 | {"avx512_bf16"}, "kernels_avx512": V4, "kernels_avx2": V3}
"""The builds in pyproject.toml, the best one first, with the processor features each needs."""

EXACT32, EXACT16, FAST = 0, 1, 2
"""float32 throughout; float32 on bfloat16 weights; bfloat16 products added up in float32."""

DONE, NO_MEMORY, FAILED = 0, 1, 2
"""What a step returns."""


class Linear(ctypes.Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("inputs", c_int32), ("outputs", c_int32))


class Layer(ctypes.Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("input_norm", "output_norm", "query_norm", "key_norm")),
        *((name, Linear) for name in ("qkv", "out", "gate_up", "down")),
    )


class Model(ctypes.Structure):
    _fields_ = (
        *((name, c_int32) for name in ("kind", "layers", "hidden", "heads")),
        *((name, c_int32) for name in ("key_heads", "head_size", "intermediate", "vocabulary")),
        *((name, c_float) for name in ("epsilon", "scale")),
        ("layer", POINTER(Layer)),
        ("head", Linear),
        *((name, c_void_p) for name in ("final_norm", "embeddings", "cosine", "sine")),
    )


class Site(ctypes.Structure):
    _fields_ = (("a", c_void_p), ("b", c_void_p), ("ranges", c_void_p), ("ranks", c_int32))


class Row(ctypes.Structure):
    _fields_ = (
        ("cache", c_void_p),
        ("plane", c_int64),
        *((name, c_int32) for name in ("start", "count", "keep", "target")),
        ("sites", POINTER(Site)),
    )


INTERFACE = (1, *(ctypes.sizeof(struct) for struct in (Linear, Layer, Model, Site, Row)))
"""`decoder_interface` of a library that was compiled from the sources beside this; the first number is set there."""


@cache
def load() -> ctypes.CDLL | None:
    """The best build that was compiled from these sources and that this processor can run."""
    features = processor_features()
    for name, needed in BUILDS.items():
        path = next((path for suffix in EXTENSION_SUFFIXES if (path := _built(name, suffix)).is_file()), None)
        if path is not None and needed <= features and (library := _opened(path)) is not None:
            return library
    return None


def _opened(path: Path) -> ctypes.CDLL | None:
    """None if the file is broken, or left over from other sources: its structs would be read at the wrong places."""
    try:
        library = _declared(ctypes.CDLL(str(path)))
        found = tuple((c_int32 * len(INTERFACE)).in_dll(library, "decoder_interface"))
    except (OSError, AttributeError, ValueError):  # no library; a function is missing; the numbers are
        return None
    return library if found == INTERFACE else None


def _built(name: str, suffix: str) -> Path:
    return Path(__file__).with_name(name + suffix)


def processor_features() -> set[str]:
    try:
        return set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return set()


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    library.decoder_open.restype = c_void_p
    library.decoder_open.argtypes = (POINTER(Model), c_int)
    library.decoder_step.restype = c_int
    library.decoder_step.argtypes = (c_void_p, POINTER(Row), c_int, c_void_p, c_void_p)
    library.decoder_close.restype = None
    library.decoder_close.argtypes = (c_void_p,)
    return library
