"""`python -m trainer`: run or evaluate a run's folder by hand, or work off the queue.

    python -m trainer run FOLDER [--attempt N] [--models-folder P] [--device D] [--dtype D] [--json]
    python -m trainer evaluate FOLDER [--attempt N] [--models-folder P] [--device D] [--dtype D] [--json]
    python -m trainer worker

Exit codes: 0 done (whatever the verdict), 1 failed with one line on stderr, 75 the folder is busy.
The environment is read here: BURNISH_MODELS_FOLDER.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from feedback.complaints import complaint_of
from feedback.errors import BurnishError
from feedback.folder_lock import FolderBusy
from feedback.processes import die_with_parent, keep_files_private


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    keep_files_private()
    try:
        if chosen.command == "worker":
            from trainer import worker

            return worker.main()
        if chosen.die_with_parent is not None:
            die_with_parent(chosen.die_with_parent)
        if not chosen.folder.is_dir():
            raise BurnishError(f"{chosen.folder}: no such folder. Give a run's folder, such as runs/<run_id>.")
        _share_the_machine()
        from trainer import run

        work = run.run if chosen.command == "run" else run.evaluate_again
        verdict = work(
            *(chosen.folder, chosen.attempt, chosen.models_folder, chosen.device, chosen.dtype, chosen.replay_folder)
        )
        if chosen.json:
            print(json.dumps(asdict(verdict)))
    except FolderBusy as busy:
        print(f"error: {busy}", file=sys.stderr)
        return busy.exit_code
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on from the last checkpoint", file=sys.stderr)
        return 130
    except Exception as error:
        if (complaint := complaint_of(error)) is None:
            raise
        print(f"error: {complaint}", file=sys.stderr)
        return 1
    return 0


def _share_the_machine() -> None:
    """Let serving go first, and bound how long waiting OpenMP threads spin.

    `nice` alone isn't enough: the engine's threads meet hundreds of times a step, and whoever wakes up waits for a nice
    neighbour's time slice to end. An idle-class neighbour of the same session or container makes way at once and takes
    what is left over. Whoever starts this at another niceness has decided otherwise.

    Processes that spin on the same cores hold each other up; not spinning at all made SFT a third slower on two idle
    cores (318 against 500 tokens/s), this bound none. It has to be set before torch is imported.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    if not hasattr(os, "nice") or os.nice(0) != 0:
        return
    os.nice(10)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(PermissionError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Train and evaluate adapters.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("worker", help="work off the queue of runs")
    for name, summary in (("run", "train and evaluate"), ("evaluate", "evaluate a trained attempt once more")):
        command = commands.add_parser(name, help=summary)
        command.add_argument("folder", type=Path, help="the run's folder")
        command.add_argument("--attempt", type=int, default=1, help="its number; the same one again resumes it")
        command.add_argument(
            "--models-folder",
            type=Path,
            default=Path(os.environ.get("BURNISH_MODELS_FOLDER", ".burnish/models")),
            help="where prepared base models are",
        )
        command.add_argument(
            "--replay-folder", type=Path, help="where the base's own answers are kept for all runs; else in FOLDER"
        )
        command.add_argument("--device", default="auto", help="auto, cpu or cuda")
        command.add_argument("--dtype", default="auto", help="what the service serves in; candidates are judged in it")
        command.add_argument("--json", action="store_true", help="print the verdict as one line of JSON")
        command.add_argument(
            "--die-with-parent",
            type=int,
            metavar="PID",
            help="end when the process that started this one, whose id this is, does",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
