"""A dataset made of a million pieces of feedback: seconds, and the most memory that its processes hold together.

Promises: the whole way from the tables of an SQLite file to a frozen run folder and back to the tables (examples, their
sources, what became of everything else), as a worker does it, with every stage on by default, in a process of its own.
The stream is made up (bench/stream.py): lengths as in real conversations, near-duplicates, identifiers and trolls
planted. `seconds` leaves out making it. Leaves out the training.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

from bench.figures import Result, tell
from bench.memory import descendants, pss_mib
from bench.stored_stream import store
from bench.stream import Shape, Stream

from feedback.testing import make_settings

MESSAGES_A_ROW = 0.3


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="pieces of feedback")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the database; default: a temporary one")


def measure(options: argparse.Namespace, models: Path) -> Result:
    found = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="burnish-bench-") as temporary:
            found.append(_measure(rows, options.keep or Path(temporary)))
    last = found[-1]
    shown = [{name: value for name, value in one.items() if not isinstance(value, dict)} for one in found]
    return {"rows": shown} if len(found) > 1 else {**last, "rows": last["rows"]}


def _measure(rows: int, folder: Path) -> Result:
    settings = make_settings(folder)
    began = perf_counter()
    if not (folder / "burnish.sqlite3").exists():
        # a reply and its question are two messages, a tenth of the exchanges have a second reply
        store(settings, Stream(Shape(rows, max(1, int(rows * MESSAGES_A_ROW / 2.1)))))
    tell(f"made up in {perf_counter() - began:.0f} s")
    child = Path(__file__).with_name("curate_child.py")
    process = subprocess.Popen([sys.executable, str(child), str(folder)], stdout=subprocess.PIPE, text=True)
    peak = max(_held(process), default=0.0)
    assert process.stdout is not None
    result = json.loads(process.stdout.read())
    if process.wait():
        raise RuntimeError("The child that curates failed: its words are above.")
    return {"rows": rows, "seconds": result.pop("seconds"), "peak_rss_mib": peak, **result}


def _held(process: "subprocess.Popen[str]") -> Iterator[float]:
    """What the process and its children hold together, resident."""
    while process.poll() is None:
        yield pss_mib([process.pid, *descendants(process.pid)]) or 0.0
        sleep(1)
