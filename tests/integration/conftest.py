"""A service that runs for the whole session, and one of a test's own for those that hurt it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from burnish_server import Deployment, deployment
from pretended_training import Works

from feedback.testing import House


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running service with the assistants `support` and `garden`; tests share it and leave it running."""
    with deployment(tmp_path_factory.mktemp("service")) as made:
        made.make_assistant("garden")
        yield made.start()


@pytest.fixture
def own_deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment that only one test uses; its service isn't started yet."""
    with deployment(tmp_path) as made:
        yield made


@pytest.fixture
def works(embedded: House) -> Works:
    """A worker whose training processes only pretend."""
    return Works(embedded)


@pytest.fixture(scope="session")
def replay_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base's own answers, written by the first run and kept for the others."""
    return tmp_path_factory.mktemp("replay")
