"""`burnish bench`: measured figures, as ratios within one run. `python tests/bench/run.py [serving] [training]`.

Prints a Markdown table for docs/benchmarks.md; with --json, one line a figure.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import serving, training
from bench.figures import Figure, machine

BENCHMARKS = {"serving": serving.measure, "training": training.measure}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which ones: {', '.join(BENCHMARKS)}; all if none is named")
    parser.add_argument("--json", action="store_true", help="one JSON line a figure")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    models = Path(os.environ.get("BURNISH_MODELS_FOLDER", ".burnish/models")).resolve()
    figures: list[Figure] = []
    for name, measure in BENCHMARKS.items():
        if not arguments.names or name in arguments.names:
            figures += measure(models)
    if arguments.json:
        for figure in figures:
            print(json.dumps(asdict(figure)))
        return 0
    print(f"{machine()}\n\n| what | median | lowest | highest | runs | against |\n|---|---|---|---|---|---|")
    for figure in figures:
        print(figure.as_row())
    return 0


if __name__ == "__main__":
    sys.exit(main())
