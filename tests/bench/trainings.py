"""Training runs started as a worker does, several side by side."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

from bench.client import BenchmarkFailed
from bench.figures import tell

from feedback.processes import trainer_command
from feedback.testing import make_settings


def train_all(
    folders: list[Path], at_once: int, models: Path, told: Callable[[Path], str] = lambda folder: ""
) -> list[float]:
    """Runs them as a worker does, some side by side, each with its share of the cores; returns how long each took.

    `told`: what to say of one that has ended.
    """
    settings = make_settings(folders[0].parent, models_folder=models)
    threads = max(1, (os.cpu_count() or 1) // at_once)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    waiting, running, seconds = list(folders), dict[Path, subprocess.Popen[bytes]](), dict[Path, float]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                folder = waiting.pop(0)
                command = [*trainer_command(settings, "run", folder, 1), "--die-with-parent", str(os.getpid())]
                with (folder / "process.log").open("wb") as log:
                    running[folder] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
                seconds[folder] = perf_counter()
            for folder, process in list(running.items()):
                if process.poll() is None:
                    continue
                if running.pop(folder).returncode:
                    raise BenchmarkFailed(f"A training run failed: {(folder / 'process.log').read_text()[-2000:]}")
                seconds[folder] = perf_counter() - seconds[folder]
                tell(f"{folder.name} of {len(folders)}: {seconds[folder]:.0f} s {told(folder)}")
            sleep(0.5)
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return [seconds[folder] for folder in folders]
