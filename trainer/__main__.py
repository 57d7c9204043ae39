"""`python -m trainer`: run or evaluate a run's folder by hand, or work off the queue.

    python -m trainer run FOLDER [--attempt N] [--models-folder P] [--device D] [--dtype D] [--report-to S] [--json]
                                 [--processes N] [--checkpoint-seconds S]
    python -m trainer evaluate FOLDER [--attempt N] [--models-folder P] [--device D] [--dtype D] [--json]
    python -m trainer estimate SCRATCH_FOLDER [--models-folder P] [--device D] < what estimate.py reads
    python -m trainer worker

Exit codes: 0 done (whatever the verdict); else one line on stderr says why it failed, and the code which kind it was
(failures.py).
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
from feedback.errors import BurnishError, OutOfMemory
from feedback.processes import die_with_parent, keep_files_private
from feedback.run_folder import attempt_folder
from trainer import ranks
from trainer.evaluation.verdict import Verdict
from trainer.failures import exit_status
from trainer.launchers import several
from trainer.progress import RunProgress


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    keep_files_private()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # else TRL tells Hugging Face of every trainer it makes
    try:
        if chosen.command == "worker":
            from trainer import worker

            return worker.main()
        if chosen.die_with_parent is not None:
            die_with_parent(chosen.die_with_parent)
        if chosen.command == "estimate":
            return _estimate(chosen)
        if not chosen.folder.is_dir():
            raise BurnishError(f"{chosen.folder}: no such folder. Give a run's folder, such as runs/<run_id>.")
        _share_the_machine()
        if chosen.command == "run" and chosen.processes > 1 and not several.is_rank():
            attempt = attempt_folder(chosen.folder, chosen.attempt)
            return several.launch(_as_arguments(chosen), chosen.processes, attempt)
        if not several.is_rank():
            _take_one_card()
        from trainer import run

        where = (chosen.folder, chosen.attempt, chosen.models_folder, chosen.device, chosen.dtype, chosen.replay_folder)
        if chosen.command == "evaluate":
            verdict: Verdict | None = run.evaluate_again(*where)
        else:
            report_to = tuple(filter(None, chosen.report_to.split(",")))
            # else it writes into whatever folder the worker was started in, and sends what goes to the terminal
            os.environ.setdefault("WANDB_DIR", str(attempt_folder(chosen.folder, chosen.attempt)))
            os.environ.setdefault("WANDB_CONSOLE", "off")
            verdict = run.run(*where, chosen.checkpoint_seconds, report_to)
        if chosen.json and verdict:
            print(json.dumps(asdict(verdict)))
    except OutOfMemory as error:
        several.tell_launcher(error.message)
        if several.is_rank() and chosen.die_with_parent is not None:
            return exit_status(error)  # to our own launcher, which notes it and goes on
        print(error.message, file=sys.stderr, flush=True)
        if ranks.rank() == 0:
            RunProgress(attempt_folder(chosen.folder, chosen.attempt) / "metrics.json").ran_out_of_memory()
        if several.is_rank():
            return exit_status(error)  # torchrun or accelerate ends its other ranks; started again, it goes on
        # a new process in place of this one: the same id, the same parent, and all memory given back
        os.execv(sys.executable, [sys.executable, "-m", "trainer", *_as_arguments(chosen, with_parent=True)])  # noqa: S606
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on from the last checkpoint", file=sys.stderr)
        return 130
    except Exception as error:
        if (complaint := complaint_of(error)) is None:
            raise
        several.tell_launcher(complaint)
        print(f"error: {complaint}", file=sys.stderr)
        return exit_status(error)
    return 0


def _as_arguments(chosen: argparse.Namespace, *, with_parent: bool = False) -> list[str]:
    """The command line again."""
    words = [chosen.command, str(chosen.folder)]
    for name, value in vars(chosen).items():
        if name not in ("command", "folder", "json", "die_with_parent") and value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if with_parent and chosen.die_with_parent is not None:
        words += ["--die-with-parent", str(chosen.die_with_parent)]
    return [*words, "--json"] if chosen.json else words


def _estimate(chosen: argparse.Namespace) -> int:
    """What it comes to is one line of JSON on stdout, and nothing else is."""
    _share_the_machine()
    _take_one_card()
    from trainer.estimate import estimate

    with contextlib.redirect_stdout(sys.stderr):
        found = estimate(sys.stdin, chosen.folder, chosen.models_folder, chosen.device)
    print(found.model_dump_json())
    return 0


def _share_the_machine() -> None:
    """Let serving go first, and bound how long waiting OpenMP threads spin.

    `nice` alone isn't enough: the engine's threads meet hundreds of times a step, and whoever wakes up waits for a nice
    neighbour's time slice to end. An idle-class neighbour of the same session or container makes way at once and takes
    what is left over. Whoever starts this at another niceness has decided otherwise.

    Threads that spin beside another program's use up their time slices, and the next one then waits for a whole slice
    of the other's, hundreds of times a step. With one busy neighbour on two cores a step of SFT took 11.3 s as OpenMP
    spins by itself, 2.3 s with 20,000 turns, 1.1 s with 2,000, 0.94 s with none; alone 0.49, 0.50, 0.51 and 0.56 s. It
    has to be set before torch is imported.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    if not hasattr(os, "nice") or os.nice(0) != 0:
        return
    os.nice(10)
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(PermissionError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _take_one_card() -> None:
    """Of several cards the first, or the first that CUDA_VISIBLE_DEVICES names, before torch is imported.

    Else transformers' Trainer spreads one process over all of them, and the batch grows by as much. Several cards take
    several processes.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainer", description="Train and evaluate adapters.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("worker", help="work off the queue of runs")
    for name, summary in (
        ("run", "train and evaluate"),
        ("evaluate", "evaluate a trained attempt once more"),
        ("estimate", "measure what a run would take; what to train on comes by stdin"),
    ):
        command = commands.add_parser(name, help=summary)
        command.add_argument("folder", type=Path, help="the run's folder; for an estimate an empty one, removed later")
        if name != "estimate":
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
        if name == "run":
            command.add_argument("--processes", type=int, default=1, help="how many train together on this machine")
            command.add_argument(
                "--checkpoint-seconds",
                type=float,
                default=60.0,
                help="least seconds between two checkpoints of one epoch",
            )
        command.add_argument("--json", action="store_true", help="print the verdict as one line of JSON")
        if name == "run":
            command.add_argument("--report-to", default="", help="wandb, mlflow, or both with a comma between them")
        command.add_argument(
            "--die-with-parent",
            type=int,
            metavar="PID",
            help="end when the process that started this one, whose id this is, does",
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
