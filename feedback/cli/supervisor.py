"""`burnish up`: prepare, start service and worker as processes, keep them running, stop both cleanly."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

import httpx
from rich.panel import Panel

import migrations
from feedback import assistants, keys, ports
from feedback.cli.app import ACTOR, console
from feedback.config import BUNDLED_MODEL, Settings
from feedback.errors import BurnishError
from feedback.processes import die_with_parent
from feedback.states import Role

FIRST_ASSISTANT = "assistant"
READY_SECONDS = 180.0
MAX_RESTARTS = 5
"""Times in a row that a program is started again before `burnish up` gives it up."""
SETTLED_SECONDS = 60.0
"""A program that has run for so long had started well: an end after that is the first in a row again."""
RESTART_WAIT_SECONDS = 2.0
CLOSING_SECONDS = 20
"""What a service may need to close engine and database once its replies have ended; then it is killed."""


def prepare(settings: Settings) -> int:
    """Everything that must be there before the programs start, for deployments that start them on their own."""
    if status := _prepare_bundled(settings):
        return status
    first_key = prepare_database(settings)
    print(f"first operator key: {first_key}" if first_key else "The database is up to date; it has keys already.")
    return 0


def up(settings: Settings) -> int:
    ports.take(settings.host, settings.port).close()
    if status := _prepare_bundled(settings):
        return status
    first_key = prepare_database(settings)
    if first_key:  # at once: if the start fails, nobody would ever have seen it
        print(f"first operator key: {first_key}", flush=True)
    programs = Programs(settings)
    programs.stop_on_signals()
    try:
        programs.start("service", "service")
        programs.start("worker", "trainer", "worker")
        wait_until_ready(settings, programs, "service")  # one that can't learn can still serve
        _announce(settings, first_key)
        programs.tend()
    finally:
        programs.stop(settings.shutdown_seconds + CLOSING_SECONDS)
    return 1 if programs.gave_up else 0


def _prepare_bundled(settings: Settings) -> int:
    needed = settings.engine == "local" and settings.base_model == BUNDLED_MODEL
    return prepare_model(settings) if needed else 0


def prepare_model(settings: Settings) -> int:
    """Make sure the bundled base model is unpacked; its own process keeps torch out of this one."""
    command = [sys.executable, "-m", "service.engines.local", "prepare", str(settings.models)]
    return subprocess.run(command, check=False).returncode


def prepare_database(settings: Settings) -> str | None:
    """Migrate, make the first assistant and, once, the first operator key; returns that key's text."""
    database = settings.open_database()
    migrations.upgrade(database)
    with database.write() as session:
        assistants.ensure_base(session, settings.base_model)
        if len(assistants.list_assistants(session)) == 1:
            assistants.create(session, FIRST_ASSISTANT, settings.base_model, actor=ACTOR)
        token = None
        if not keys.list_keys(session):
            _, token = keys.create(session, "first operator", Role.OPERATOR, actor=ACTOR)
    database.close()
    return token


@dataclass
class Program:
    """A child process as it runs now, and how often in a row it had to be started again."""

    process: subprocess.Popen[bytes]
    command: tuple[str, ...]
    started: float
    restarts: int


class Programs:
    """The child processes; each dies with this one, and each that falls over is started again.

    The service is what all is about: without it there is nothing to go on for. Without another one, it goes on.
    """

    def __init__(self, settings: Settings, log: IO[bytes] | None = None) -> None:
        """`log` takes what the programs print; None lets it through to the terminal."""
        self._environment = os.environ | settings.as_environment()
        self._log = log
        self._running: dict[str, Program] = {}
        self._stopping = False
        self.gave_up = False

    def stop_on_signals(self) -> None:
        """Take Ctrl-C and SIGTERM as the wish to stop in order, and a second one as haste.

        Without this they interrupt this process.
        """
        for wanted in (signal.SIGINT, signal.SIGTERM):
            signal.signal(wanted, self._ask_to_stop)

    def start(self, name: str, *module_and_arguments: str) -> None:
        self._start(name, module_and_arguments, restarts=0)

    def all_alive(self, *names: str) -> bool:
        """Whether the named programs run; no name stands for all."""
        return all(self._running[name].process.poll() is None for name in names or self._running)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def tend(self) -> None:
        """Until asked to stop, start again what ended by itself."""
        while not self._stopping and not self.gave_up:
            time.sleep(0.3)
            for name, program in list(self._running.items()):
                if program.process.poll() is not None and not self._stopping:
                    self._restart(name, program)

    def _start(self, name: str, command: tuple[str, ...], restarts: int) -> None:
        parent = os.getpid()
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self._environment,
            stdout=self._log,
            stderr=self._log,
            process_group=0,  # Ctrl-C reaches only this process, which then stops them in order
            preexec_fn=lambda: die_with_parent(parent),
        )
        self._running[name] = Program(process, command, time.monotonic(), restarts)

    def _restart(self, name: str, program: Program) -> None:
        settled = time.monotonic() - program.started > SETTLED_SECONDS
        restarts = 0 if settled else program.restarts
        ended = f"The {name} ended with status {program.process.returncode}"
        if restarts < MAX_RESTARTS:
            console.print(f"[red]{ended}: starting it again.[/red]")
            time.sleep(RESTART_WAIT_SECONDS)
            self._start(name, program.command, restarts + 1)
            return
        del self._running[name]
        self.gave_up = name == "service"
        rest = "" if self.gave_up else " The service goes on; once that is mended, stop and start `burnish up`."
        console.print(f"[red]{ended} {restarts + 1} times in a row: giving it up.{rest}[/red]")

    def stop(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        processes = [program.process for program in self._running.values()]
        self._terminate()
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _terminate(self) -> None:
        for program in self._running.values():
            if program.process.poll() is None:
                program.process.send_signal(signal.SIGTERM)

    def _ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        if self._stopping:
            self._terminate()  # asked twice, the service waits for no reply
        else:
            console.print("\nStopping: running replies finish first; Ctrl-C again breaks them off.")
        self._stopping = True


def wait_until_ready(settings: Settings, programs: Programs, *needed: str) -> None:
    """Wait for the service; the end of a needed program (unnamed: of any) is told at once."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and not programs.stopping:
        if not programs.all_alive(*needed):
            raise BurnishError(f"The {' or the '.join(needed) or 'service or the worker'} ended at once: see above.")
        try:
            if httpx.get(f"{settings.url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    if not programs.stopping:
        raise BurnishError(f"The service wasn't ready after {READY_SECONDS:.0f} s: see its log above.")


def _announce(settings: Settings, first_key: str | None) -> None:
    assistant = _shown_assistant(settings)
    api = f"{settings.url}/v1"
    body = f'{{"model": "{assistant}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    key = first_key or "$BURNISH_API_KEY"
    curl = f"curl {api}/chat/completions -H 'Content-Type: application/json' -H \"Authorization: Bearer {key}\" \\\n"
    curl += f"  -d {shlex.quote(body)}"
    burnish = _from_another_terminal(settings)
    if first_key:
        first = f"operator key  {first_key}\n              (shown this once; keep it)"
    else:
        first = "operator key  as shown at the first start: set BURNISH_API_KEY to it"
        curl = f"export BURNISH_API_KEY=...  # that key; a new one: {burnish} key create NAME --role operator\n{curl}"
    chat = f"{burnish} chat" if assistant == FIRST_ASSISTANT else f"{burnish} chat --model {assistant}"
    places = f"chat          {settings.url}/\nconsole       {settings.url}/console\nchat API      {api}\n{first}"
    console.print(Panel(places, title="Burnish is ready", expand=False), highlight=False)
    print(f"In another terminal, same folder:\n\n{chat}\n\n{curl}\n\nCtrl-C stops.", flush=True)


def _from_another_terminal(settings: Settings) -> str:
    """How another terminal calls `burnish` on this deployment: it knows neither options given here nor this venv."""
    program = Path(sys.executable).with_name("burnish")
    found = shutil.which("burnish")
    if not program.exists() or (found and Path(found).samefile(program) and "VIRTUAL_ENV" not in os.environ):
        called = "burnish"
    else:
        called = str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
    differing = [
        f"BURNISH_{name.upper()}={shlex.quote(str(getattr(settings, name)))}"
        for name in ("data_folder", "host", "port")
        if getattr(settings, name) != Settings.model_fields[name].default
    ]
    return " ".join([*differing, shlex.quote(called)])


def _shown_assistant(settings: Settings) -> str:
    """An assistant that there is: the first one made, unless the deployment has only others."""
    database = settings.open_database()
    with database.read() as session:
        names = [one.name for one in assistants.list_assistants(session) if one.name != assistants.BASE_VERSION]
    database.close()
    return FIRST_ASSISTANT if FIRST_ASSISTANT in names else names[0]
