"""A deployment with a real `python -m service`, and what tests do to it: keys, versions, commands, looks inside."""

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy
import uvicorn
from safetensors.numpy import save_file
from sqlmodel import col, select

from feedback import adapters, assistants, keys, releases, runs
from feedback.models import AdapterVersion, Evaluation, Message, Run
from feedback.states import OPEN_RUNS, Role, VerdictWord
from feedback.testing import make_database, make_settings
from service.app import create_app
from service.engines.adapter_format import read_adapter
from service.engines.base import Engine

if TYPE_CHECKING:
    import openai

DEADLINE_SECONDS = 120.0
"""How long anything may take before a test gives up on it; nothing is expected to come near."""
BURNISH = Path(sys.executable).with_name("burnish")
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_FIRST_PORT = 20_000 + _WORKER % 12 * 1_000
_PORTS = itertools.cycle(random.sample(range(_FIRST_PORT, _FIRST_PORT + 1_000), 1_000))


def eventually(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true value of `condition`, asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return value


def free_port() -> int:
    """A port that nobody listens on, and that nobody else takes before it is needed.

    The kernel gives those from 32768 to whoever connects; below, each of pytest's workers has a thousand for itself.
    """
    return next(port for port in _PORTS if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment with no BURNISH_ setting but the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BURNISH_")}
    return {**kept, **settings}


class Deployment:
    """A data folder with a migrated database; the service runs once `start()` was called."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.settings = make_settings(folder, port=free_port(), **changes)
        self.database = make_database(self.settings)
        self.log = folder / "service.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self.environment = clean_environment(**self.settings.as_environment())
        self.make_assistant("support")
        self.admin = self.make_key(Role.ADMIN)
        self.http = httpx.Client(base_url=self.settings.url, headers=bearer(self.admin), timeout=DEADLINE_SECONDS)
        self.anyone = httpx.Client(base_url=self.settings.url, timeout=DEADLINE_SECONDS)
        self._clients = [self.http, self.anyone]

    # ── the service's process ──

    def start(self) -> "Deployment":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"], env=self.environment, stdout=log, stderr=log, process_group=0
            )
        eventually(self._answers, "the service answers")
        return self

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_SECONDS)

    # ── the worker's process ──

    def start_worker(self) -> None:
        with self.log.with_name("worker.log").open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "trainer", "worker"],
                env=self.environment,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def kill_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait()

    def stop_worker(self) -> int:
        assert self._worker is not None
        self._worker.terminate()
        return self._worker.wait(DEADLINE_SECONDS)

    def ended_run(self, run_id: str) -> Run | None:
        """The run, once it has ended."""
        with self.database.read() as session:
            run = runs.get_run(session, run_id)
        return None if run.status in OPEN_RUNS else run

    def clean_up(self) -> None:
        self.kill_worker()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for client in self._clients:
            client.close()
        self.database.close()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.anyone.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    # ── keys, assistants, versions ──

    def make_assistant(self, name: str) -> str:
        with self.database.write() as session:
            assistants.create(session, name, self.settings.base_model, actor="test")
        return name

    def make_key(self, role: Role, *names: str) -> str:
        with self.database.write() as session:
            return keys.create(session, f"a {role} key", role, names, actor="test")[1]

    def publish_version(
        self, name: str = "support", *, verdict: VerdictWord = VerdictWord.PROMOTE, source: Path | None = None
    ) -> AdapterVersion:
        """A new adapter (with random weights, if none is given), registered the way the worker does it."""
        source = source or write_adapter(self.settings.data_folder / f"made-{os.urandom(4).hex()}")
        read_adapter(source)
        sha256 = adapters.publish(source, self.settings.adapters)
        with self.database.write() as session:
            run = runs.request(session, assistants.get_assistant(session, name), "a test", actor="test")
        held = runs.claim(self.database, "test", lease_seconds=60)
        assert held is not None
        assert held.run_id == run.id
        with self.database.write() as session:
            assistant = assistants.get_assistant(session, name)
            baseline = releases.live(session, assistant).version
            version = adapters.register(session, assistant, sha256, run.id)
            evaluation = Evaluation(
                run_id=run.id, candidate_id=version.id, baseline_id=baseline.id, verdict=verdict, reasons=["a test"]
            )
            session.add(evaluation)
            session.flush()
            runs.finish(session, held)
        return version

    def promote(self, version: AdapterVersion, name: str = "support") -> None:
        with self.database.write() as session:
            releases.promote(
                session, assistants.get_assistant(session, name), version, actor="test", reason="a test", force=True
            )

    # ── talking to it ──

    @cached_property
    def _transport(self) -> httpx.Client:  # shared, since making one takes long
        import openai  # for developers alone; the benchmarks, which anyone may run, do without

        self._clients.append(made := openai.DefaultHttpxClient())
        return made

    def openai(self, token: str | None = None) -> "openai.OpenAI":
        import openai

        return openai.OpenAI(
            base_url=f"{self.settings.url}/v1",
            api_key=token or self.admin,
            max_retries=0,
            timeout=DEADLINE_SECONDS,
            http_client=self._transport,
        )

    def ask(self, words: str, model: str = "support", **more: Any) -> dict[str, Any]:
        body = {"model": model, "messages": [{"role": "user", "content": words}], **more}
        answer = self.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def give(self, completion_id: str, kind: str, value: Any = None, **more: Any) -> httpx.Response:
        return self.http.post(
            "/v1/feedback", json={"completion_id": completion_id, "kind": kind, "value": value, **more}
        )

    def ready(self) -> httpx.Response:
        return self.http.get("/health/ready")

    def serves(self, model: str) -> bool:
        return model in self.ready().json()["serving"]

    # ── looking inside ──

    def replies(self, completion_id: str) -> list[Message]:
        with self.database.read() as session:
            return list(
                session.exec(
                    select(Message).where(Message.completion_id == completion_id).order_by(col(Message.choice_index))
                )
            )

    def version_label(self, message: Message) -> str:
        assert message.adapter_version_id is not None
        with self.database.read() as session:
            return adapters.label_of(session, session.get_one(AdapterVersion, message.adapter_version_id))

    def burnish(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return burnish(*arguments, environment=self.environment, **more)


class InProcess:
    """The application on a deployment's database, in a thread of this process: the engine can be looked at."""

    def __init__(self, made: Deployment, engine: Engine) -> None:
        self.engine = engine
        self._server = uvicorn.Server(
            uvicorn.Config(create_app(made.settings, engine), log_config=None, access_log=False)
        )
        self._listener = socket.create_server(("127.0.0.1", made.settings.port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        eventually(lambda: self._server.started, "the application starts")

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])

    def call(self, deed: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine where the application runs."""
        return asyncio.run_coroutine_threadsafe(deed, self._loop).result(DEADLINE_SECONDS)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()


def burnish(
    *arguments: str, environment: dict[str, str], stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the `burnish` command to its end."""
    return subprocess.run(
        [str(BURNISH), *arguments],
        env={**environment, "COLUMNS": "200", **settings},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def write_adapter(folder: Path) -> Path:
    """A LoRA of rank 2 on one module, in PEFT's format, with weights nobody else has."""
    folder.mkdir(parents=True)
    module, dice = "base_model.model.model.layers.0.self_attn.q_proj", numpy.random.default_rng()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps({**config, "bias": "none"}))
    tensors = {
        f"{module}.lora_A.weight": dice.standard_normal((2, 8), dtype=numpy.float32),
        f"{module}.lora_B.weight": dice.standard_normal((8, 2), dtype=numpy.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@contextmanager
def deployment(folder: Path, **changes: Any) -> Iterator[Deployment]:
    made = Deployment(folder, **changes)
    try:
        yield made
    finally:
        made.clean_up()
