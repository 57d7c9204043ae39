"""`burnish bench`: measured figures of this machine. `python tests/bench/run.py [NAME] [options] [--json]`.

Prints Markdown tables for docs/benchmarks.md; with --json, one line a benchmark. Progress goes to stderr. Without a
name every benchmark runs with its defaults, except `pairs`, which has to be given a file. Exits with 1 when one of them
found something wrong.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import (
    beside_training,
    candidates,
    causes,
    context,
    curate,
    decoders,
    exact,
    forgetting,
    http_layer,
    intake,
    long_prompt,
    pages,
    pairs,
    poison,
    serve,
    startup,
    swaps,
    train,
    trolls,
    verdict,
)
from bench.figures import Result, machine, rounded, table, tell

from feedback.complaints import complaint_of

BENCHMARKS: dict[str, Any] = {
    "serve": serve,
    "decoders": decoders,
    "context": context,
    "long-prompt": long_prompt,
    "http": http_layer,
    "intake": intake,
    "pages": pages,
    "startup": startup,
    "swaps": swaps,
    "beside-training": beside_training,
    "train": train,
    "forgetting": forgetting,
    "pairs": pairs,
    "curate": curate,
    "trolls": trolls,
    "poison": poison,
    "verdict": verdict,
    "candidates": candidates,
    "causes": causes,
    "exact": exact,
}
GIVEN_A_FILE = ("pairs",)
"""Those that run by their name only."""

BUSY = 0.5
RAW = argparse.RawDescriptionHelpFormatter


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: whatever was started is ended first
    options = _parser().parse_args()
    models = Path(os.environ.get("BURNISH_MODELS_FOLDER", ".burnish/models")).resolve()
    if (load := os.getloadavg()[0]) > BUSY:
        tell(f"the machine is busy (load {load:.1f}): the figures will tell of that, too")
    fine = True
    try:
        for name in [options.name] if options.name else [one for one in BENCHMARKS if one not in GIVEN_A_FILE]:
            tell(f"── {name}")
            chosen = options if options.name else _parser().parse_args([name])
            result = rounded(BENCHMARKS[name].measure(chosen, models))
            fine = fine and result.get("ok", True)
            print(_line(name, result) if options.json else _shown(name, result), flush=True)
    except Exception as error:
        if (complaint := complaint_of(error)) is None:
            raise
        tell(f"burnish: {complaint}")
        return 1
    return 0 if fine else 1


def _parser() -> argparse.ArgumentParser:
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one JSON line a benchmark")
    parser = argparse.ArgumentParser(prog="burnish bench", description=__doc__, formatter_class=RAW, parents=[as_json])
    parser.set_defaults(json=False)
    names = parser.add_subparsers(dest="name", metavar="NAME", help="if none is named, all that need no file")
    for name, benchmark in BENCHMARKS.items():
        summary = benchmark.__doc__.partition("\n\n")[0]
        one = names.add_parser(
            name, help=summary, description=benchmark.__doc__, formatter_class=RAW, parents=[as_json]
        )
        benchmark.add_options(one)
    return parser


def _line(name: str, result: Result) -> str:
    return json.dumps({**result, "benchmark": name, "machine": machine()})


def _shown(name: str, result: Result) -> str:
    """The tables, then what holds for all of it."""
    parts, single = [f"## {name}", machine()], []
    for key, value in result.items():
        title = key.replace("_", " ")
        if isinstance(value, list):
            parts += ([f"{title}:"] if key != "rows" else []) + ([table(value)] if value else ["none"])
        elif isinstance(value, dict):
            single += [f"* {title}, {one.replace('_', ' ')}: {told}" for one, told in value.items()]
        else:
            single.append(f"* {title}: {value}")
    return "\n\n".join([*parts, *(["\n".join(single)] if single else [])]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
