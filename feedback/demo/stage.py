"""The demo's deployment: a temporary data folder, a free port, the real service and the real worker."""

import contextlib
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from feedback import assistants, keys, runs
from feedback.cli import supervisor
from feedback.config import Settings
from feedback.demo.product import Product, Size
from feedback.errors import RunFailed
from feedback.models import Run
from feedback.policies import Changes
from feedback.progress import read_progress
from feedback.run_folder import attempt_folder
from feedback.states import OPEN_RUNS, Role, RunStatus

ACTOR = "demo"
SECRET = "the demo's people fall on the same sides every time"  # noqa: S105  nobody real is behind these hashes


class Stage:
    """A context: entering it opens the house, leaving it stops everything and removes the folder."""

    def __init__(self, console: Console, product: Product, size: Size) -> None:
        self._console = console
        self._product = product
        self._size = size
        self._folder = Path(tempfile.mkdtemp(prefix="burnish-demo-"))
        models = Settings().models.resolve()
        self.settings = Settings(
            data_folder=self._folder, models_folder=models, database_url="", secret=SECRET, port=_free_port()
        )
        self.name = product.name.lower()
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> "Stage":
        try:
            with self.timed("start"):
                self._open_house()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._console.print(f"[bold]{self._product.name}[/bold]: {self._product.description}\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "client"):
            self.client.close()
        if hasattr(self, "_programs"):
            self._programs.stop(10)
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self._console.print(f"The demo's folder is kept for a look: {self._folder}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open_house(self) -> None:
        if supervisor.prepare_model(self.settings):
            raise RunFailed("The base model could not be prepared: see above.")
        supervisor.prepare_database(self.settings)
        self.database = self.settings.open_database()
        with self.database.write() as session:
            self.assistant = assistants.create(
                session,
                self.name,
                self.settings.base_model,
                system_prompt=self._product.system_prompt,
                actor=ACTOR,
            )
            assistants.set_policies(session, self.assistant, policies_of(self._size), actor=ACTOR)
            self.key, self.token = keys.create(session, "demo", Role.OPERATOR, actor=ACTOR)
        log = (self._folder / "programs.log").open("ab")
        self._programs = supervisor.Programs(self.settings, log)
        self._programs.start("service", "service")
        self._programs.start("worker", "trainer", "worker")
        supervisor.wait_until_ready(self.settings, self._programs)
        headers = {"Authorization": f"Bearer {self.token}"}
        limits = httpx.Limits(max_connections=32)
        self.client = httpx.Client(base_url=self.settings.url, headers=headers, timeout=300, limits=limits)

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - began, 1)

    def chat(self, **body: Any) -> dict[str, Any]:
        answer = self.client.post("/v1/chat/completions", json={"model": self.name, **body})
        answer.raise_for_status()
        reply: dict[str, Any] = answer.json()
        return reply

    def feedback(self, **body: Any) -> None:
        self.client.post("/v1/feedback", json=body).raise_for_status()

    def set_threshold(self, lessons: int) -> None:
        """The operator's training policy: a run is due after this many corrections and choices."""
        with self.database.write() as session:
            assistant = assistants.get_assistant(session, self.name)
            changes = {"training": {"min_new_feedback": lessons}}
            assistants.set_policies(session, assistant, changes, actor=ACTOR)

    def find_run(self) -> Run | None:
        with self.database.read() as session:
            found = runs.list_runs(session, self.assistant, limit=1)
        return found[0] if found else None

    def wait_for_run(self, console: Console) -> Run:
        """Follow the run that the policy started, to its end."""
        deadline = time.monotonic() + 30
        while (run := self.find_run()) is None:
            if time.monotonic() > deadline:
                raise RunFailed("No run became due: fewer lessons arrived than the policy asks for.")
            time.sleep(0.1)
        console.print(f"[bold]{run.id}[/bold] is due: {run.reason}.")
        columns = (TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.fields[detail]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
            bars: dict[str, Any] = {}
            while run.status in OPEN_RUNS:
                told = read_progress(attempt_folder(self.settings.runs / run.id, run.attempt))
                if told is not None:
                    bar = bars.get(told.stage)
                    if bar is None:
                        bar = bars[told.stage] = progress.add_task(told.stage, detail="")
                        if not console.is_terminal:  # a pipe shows no moving bars
                            console.print(f"  {told.stage} …")
                    loss = f"loss {told.loss:.3f}" if told.loss is not None else ""
                    progress.update(bar, completed=told.step, total=told.total_steps or None, detail=loss)
                time.sleep(0.2)
                run = self.find_run() or run
        if run.status != RunStatus.SUCCEEDED:
            raise RunFailed(f"{run.id} {run.status}: {run.error}")
        return run


def policies_of(size: Size) -> Changes:
    return {
        "training": {
            "gate_fraction": size.gate_fraction,
            "dev_fraction": size.dev_fraction,
            "max_preference_pairs": size.max_preference_pairs,
            "min_new_feedback": 1_000_000,  # until it is known how many lessons there will be
        },
        "hyperparameters": size.hyperparameters,
        "verdict": {
            "max_new_tokens": 32,
            "max_suite_items": size.suite_items,
            "max_length_factor": size.max_length_factor,
        },
        "release": {"promotion": "auto"},
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
