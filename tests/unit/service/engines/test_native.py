"""The compiled decoder's edges: what it refuses, running out of memory, when it is closed, which build is taken."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch
from families import VOCABULARY, tiny_model

from service.engines.base import BASE
from service.engines.local.decoder import Chunk
from service.engines.local.native import decoder as native
from service.engines.local.native import library
from service.engines.local.native.decoder import NativeDecoder, open_native

pytestmark = pytest.mark.compiled
POSITIONS = 32


@pytest.fixture(autouse=True)
def built() -> Iterator[None]:
    library.load.cache_clear()
    if library.load() is None:
        pytest.skip("compiled: the decoder wasn't built, or this processor can't run it")
    yield
    library.load.cache_clear()


def opened() -> NativeDecoder:
    decoder = open_native(tiny_model("llama"), POSITIONS)
    assert decoder is not None
    return decoder


def step(decoder: NativeDecoder, tokens: list[int], start: int = 0, keep: int = 1) -> torch.Tensor:
    return decoder.forward([Chunk(tokens, start, BASE, keep, decoder.open_slots(1)[0])])


@pytest.mark.parametrize("token", [-1, VOCABULARY, 2**40])
def test_refuses_tokens_that_the_model_doesnt_have(token: int) -> None:
    with pytest.raises(ValueError, match=f"Token {token} isn't"):
        step(opened(), [1, token, 2])


@pytest.mark.parametrize(("count", "start", "keep"), [(5, POSITIONS - 4, 1), (1, -1, 1), (2, 0, 3), (2, 0, -1)])
def test_refuses_positions_that_the_model_doesnt_have(count: int, start: int, keep: int) -> None:
    with pytest.raises(ValueError, match="don't fit 32 positions"):
        step(opened(), [1] * count, start, keep)


def test_takes_the_last_token_and_the_last_position() -> None:
    assert step(opened(), [VOCABULARY - 1] * 4, POSITIONS - 4, keep=4).shape == (4, VOCABULARY)


@pytest.mark.parametrize("status", [library.NO_MEMORY, library.FAILED])
def test_a_failed_step_is_an_exception(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = opened()
    monkeypatch.setattr(decoder, "_step", lambda *_: status)
    with pytest.raises(MemoryError if status == library.NO_MEMORY else RuntimeError):
        step(decoder, [1])


def test_more_threads_than_cores_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for threads in (1, 8):
        monkeypatch.setattr(native, "usable_threads", lambda count=threads: count)
        written.append(step(opened(), list(range(20)), keep=20))
    assert torch.equal(*written)


def test_without_room_for_threads_theres_no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library.load(), "decoder_open", lambda *_: None)
    assert open_native(tiny_model("llama"), POSITIONS) is None


STARVED = """
import ctypes, resource
from service.engines.local.native.library import EXACT32, NO_MEMORY, Model, Row, load

library = load()
model = Model(kind=EXACT32, heads=1, key_heads=1)
decoder = library.decoder_open(ctypes.byref(model), 2)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
assert library.decoder_open(ctypes.byref(model), 1000) is None  # 1000 stacks of megabytes
for _ in range(2):
    assert library.decoder_step(decoder, (Row * 1)(Row(count=1 << 30)), 1, None, None) == NO_MEMORY
assert library.decoder_step(decoder, (Row * 1)(), 0, None, None) == 0
library.decoder_close(decoder)
print("survived")
"""


def test_running_out_of_memory_doesnt_end_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("survived\n", 0), done.stderr


def test_closes_once_and_refuses_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = watch_closing(monkeypatch)
    decoder = opened()
    decoder.close()
    decoder.close()
    assert len(closed) == 1
    with pytest.raises(RuntimeError, match="closed"):
        step(decoder, [1])


def test_a_dropped_decoder_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = watch_closing(monkeypatch)
    decoder = opened()
    step(decoder, [1, 2, 3])
    del decoder
    gc.collect()
    assert len(closed) == 1


def watch_closing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    closed: list[int] = []
    loaded = library.load()
    assert loaded is not None
    close = loaded.decoder_close

    def closing(handle: int) -> None:
        closed.append(handle)
        close(handle)

    monkeypatch.setattr(loaded, "decoder_close", closing)
    return closed


def test_a_build_needs_all_that_its_compiler_could_use(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in library.V3:
        library.load.cache_clear()
        monkeypatch.setattr(library, "processor_features", lambda out=missing: library.V4 - {out})
        assert library.load() is None
    assert {"bmi1", "movbe", "abm"} <= library.V3 < library.V4
    assert all(features >= library.V3 for features in library.BUILDS.values())


@pytest.mark.parametrize("broken", ["garbage", "no such function", "other structs"])
def test_a_broken_or_stale_build_is_passed_over(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = next(path for name in library.BUILDS if (path := library._built(name, EXTENSION_SUFFIXES[0])).is_file())
    garbage = tmp_path / f"first{EXTENSION_SUFFIXES[0]}"
    garbage.write_bytes(b"no library")
    monkeypatch.setattr(library, "BUILDS", {"first": set(), "second": set()})
    monkeypatch.setattr(library, "_built", lambda name, _: {"first": garbage, "second": good}[name])
    if broken != "garbage":
        monkeypatch.setattr(library, "_built", lambda name, _: good)
    if broken == "no such function":
        monkeypatch.setattr(library, "_declared", lambda loaded: loaded.no_such_function)
    if broken == "other structs":
        monkeypatch.setattr(library, "INTERFACE", (*library.INTERFACE[:-1], library.INTERFACE[-1] + 8))
    library.load.cache_clear()
    assert (library.load() is not None) == (broken == "garbage")
