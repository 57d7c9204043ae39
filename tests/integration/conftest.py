"""A service that runs for the whole session, and one of a test's own for those that hurt it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from burnish_server import Deployment, deployment
from pretended_training import Works
from tiny_runs import METHODS, tiny_run

from feedback.errors import RunFailed
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
def one_thread() -> Iterator[None]:
    """A model this small only loses by sharing its work; other tests get their threads back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A run's folder in which all methods were trained, on one thread; not judged."""
    import torch

    from trainer.run import run

    def stop(*_: object) -> None:
        raise RunFailed("stopped before it is judged")

    folder = tiny_run(tmp_path_factory.mktemp("tiny-trained") / "run-1", tiny_base, METHODS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("trainer.run._evaluate", stop)
        with pytest.raises(RunFailed, match="stopped"):
            run(folder, 1, folder, "cpu")
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def works(embedded: House) -> Works:
    """A worker whose training processes only pretend."""
    return Works(embedded)


@pytest.fixture(scope="session")
def replay_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base's own answers, written by the first run and kept for the others."""
    return tmp_path_factory.mktemp("replay")
