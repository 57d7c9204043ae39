"""The real service for a benchmark: its own process, folder, SQLite file and key, and assistants with live versions.

Promises: no database and no files but its own in a temporary folder; nothing is left running. What the environment
sets besides (`BURNISH_MAX_BATCH=8 burnish bench serve`) holds. Leaves out what is asked.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from adapters import make_adapter
from bench.memory import descendants
from burnish_server import Deployment, deployment, eventually

from feedback.config import BUNDLED_MODEL
from feedback.states import Role

BARE = "support"
"""The assistant without a release: the bare base model answers."""

SCALE = 0.002
"""Of random adapters of rank 16: greedy replies differ from the base's (0.1 nats a token) and stay English."""


class Served:
    """A running service. `adapters` has a folder for each assistant with a version of its own."""

    def __init__(self, house: Deployment, adapters: dict[str, Path], start_seconds: float) -> None:
        self.start_seconds = start_seconds
        self.house = house
        self.url = house.settings.url
        self.settings = house.settings
        self.token = house.make_key(Role.CHAT)
        self.adapters = adapters
        assert house.process is not None
        self.pid = house.process.pid

    def processes(self) -> list[int]:
        """The service's process and the engine's."""
        return [self.pid, *descendants(self.pid)]


@contextmanager
def served(models: Path, *, adapters: int = 0, rank: int = 16, **settings: Any) -> Iterator[Served]:
    """The service with the bundled model, `support` on the bare base, and `tuned-1`… each on an adapter of its own."""
    fixed = {"host": "127.0.0.1", "database_url": "", "models_folder": models}
    chosen = {"engine": "local", "base_model": BUNDLED_MODEL, **settings}
    with (
        tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder,
        deployment(Path(folder), **fixed, **chosen) as house,
    ):
        made = {}
        for number in range(1, adapters + 1):
            name = house.make_assistant(f"tuned-{number}")
            made[name] = random_adapter(models, Path(folder) / "made" / name, seed=number, rank=rank)
            house.promote(house.publish_version(name, source=made[name]), name)
        began = perf_counter()
        house.start()
        eventually(lambda: house.ready().status_code == 200, "the service is ready")
        yield Served(house, made, perf_counter() - began)
        house.stop()


def random_adapter(models: Path, folder: Path, *, seed: int, rank: int) -> Path:
    """An adapter such as training makes, but for what it learned: all linear modules, outputs changed but sane."""
    scale = SCALE / (rank / 16) ** 0.5
    return make_adapter(models / BUNDLED_MODEL, folder, seed=seed, rank=rank, targets="all-linear", scale=scale)[1]
