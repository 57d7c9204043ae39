"""How long chats wait for their first token while a training run uses the same cores.

Promises: the same closed loop against the same service, first by itself, then while `python -m trainer run`, started
as the worker starts it, takes SFT steps; a run that ended within the measurement fails the benchmark. Leaves out the
run's own evaluation, which generates through an engine of its own.
"""

import argparse
import asyncio
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import training_rows
from bench.client import BenchmarkFailed
from bench.deployment import Served, served
from bench.figures import Result, Row, tell
from bench.load import Window, closed_loop
from bench.prompts import questions
from bench.serve import chats

from feedback.config import BUNDLED_MODEL
from feedback.files import file_sha256, write_json
from feedback.hyperparameters import Hyperparameters
from feedback.policies import VerdictPolicy
from feedback.processes import trainer_command
from feedback.progress import read_progress
from feedback.row_hashes import write_rows
from feedback.run_folder import ROWS, SPLITS, RunSpec, attempt_folder

STAGE_SECONDS = 300
"""The run must take its first step within this."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=int, default=4, help="clients at once")
    parser.add_argument("--max-tokens", type=int, default=64, help="length of each reply")
    parser.add_argument("--seconds", type=float, default=30, help="least length of each measurement")


def measure(options: argparse.Namespace, models: Path) -> Result:
    with served(models, adapters=1) as service:
        bodies = chats(questions(), list(service.adapters), options.max_tokens)

        def window() -> Window:
            loop = closed_loop(service.url, service.token, bodies, options.concurrency, seconds=options.seconds)
            return asyncio.run(loop)

        idle = window()
        tell("idle measured; the run starts")
        with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder, _training(service, Path(folder)) as steps:
            before = steps()
            busy = window()
            taken = steps() - before
    return {
        "rows": [_row("by itself", idle), _row("beside a training run", busy)],
        "ttft_p95_ratio": busy.ttft_ms(95) / idle.ttft_ms(95),
        "throughput_ratio": busy.tokens_per_second() / idle.tokens_per_second(),
        "training_steps_per_minute": 60 * taken / busy.seconds,
        "concurrency": options.concurrency,
    }


def _row(what: str, window: Window) -> Row:
    return {
        "what": what,
        "ttft_ms_p50": window.ttft_ms(50),
        "ttft_ms_p95": window.ttft_ms(95),
        "inter_token_ms_p50": window.inter_token_ms(50),
        "inter_token_ms_p99": window.inter_token_ms(99),
        "tokens_per_second": window.tokens_per_second(),
    }


@contextmanager
def _training(service: Served, folder: Path) -> Iterator[Callable[[], int]]:
    """A run that takes steps when the body begins and still does when it ends; gives a way to count them."""
    write_run(folder)
    command = trainer_command(service.settings, "run", folder, 1)
    with (folder / "process.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + STAGE_SECONDS
        while not _steps(process, folder):
            if time.monotonic() > deadline:
                raise BenchmarkFailed(f"The training run took no step within {STAGE_SECONDS} s.")
            time.sleep(0.5)
        yield lambda: _steps(process, folder)
        if not _steps(process, folder):
            raise BenchmarkFailed("The training run ended while the chats were measured: give less --seconds.")
    finally:
        process.kill()
        process.wait()


def _steps(process: "subprocess.Popen[bytes]", folder: Path) -> int:
    """SFT's optimizer steps so far."""
    if process.poll() is not None:
        raise BenchmarkFailed(f"The training run ended early: {(folder / 'process.log').read_text()[-2000:]}")
    progress = read_progress(attempt_folder(folder, 1))
    return progress.step if progress is not None and progress.stage == "sft" else 0


def write_run(folder: Path) -> None:
    """A run's folder with more epochs than anyone waits for."""
    rows = training_rows.questions("sft", 160)
    parts = dict(zip(SPLITS, (rows[:128], rows[128:144], rows[144:]), strict=True))
    dataset_sha256 = write_rows(folder, parts)
    (folder / "suites").mkdir()
    (folder / "suites" / "general.txt").write_text("The river runs past the mill and under the old bridge.\n")
    files = [ROWS, "suites/general.txt"]
    spec = RunSpec(
        run_id="bench",
        assistant="support",
        base_model=BUNDLED_MODEL,
        baseline_version="base",
        methods=["sft"],
        hyperparameters=Hyperparameters(num_train_epochs=100, early_stopping_patience=100),
        verdict=VerdictPolicy(),
        seed=7,
        dataset_sha256=dataset_sha256,
        files={file: file_sha256(folder / file) for file in files},
    )
    write_json(folder / "run.json", spec.model_dump(mode="json"))
