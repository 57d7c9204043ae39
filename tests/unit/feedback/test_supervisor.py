"""What `burnish up` does with programs that fall over: stand-ins for service and worker, as real processes."""

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from burnish_server import eventually
from rich.console import Console

from feedback.cli import supervisor
from feedback.cli.supervisor import Programs
from feedback.errors import BurnishError
from feedback.testing import make_settings

STAND_INS = {
    "lives": "import time; time.sleep(600)",
    "dies": "import sys; open(sys.argv[1], 'a').write('.'); sys.exit(3)",
    "dies_later": "import sys, time; open(sys.argv[1], 'a').write('.'); time.sleep(0.3); sys.exit(3)",
}


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    """A file with a dot for each time that a stand-in that dies was started."""
    return tmp_path / "starts"


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    monkeypatch.setattr(supervisor, "console", Console(file=text, width=200))
    return text


@pytest.fixture
def programs(tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    for name, source in STAND_INS.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(supervisor, "MAX_RESTARTS", 2)
    monkeypatch.setattr(supervisor, "RESTART_WAIT_SECONDS", 0.0)
    before = {wanted: signal.getsignal(wanted) for wanted in (signal.SIGINT, signal.SIGTERM)}
    made = Programs(make_settings(tmp_path))
    made.stop_on_signals()
    yield made
    made.stop(10)
    for wanted, handler in before.items():
        signal.signal(wanted, handler)


def tend_until(programs: Programs, condition: Callable[[], object], what: str) -> None:
    """Tend as `burnish up` does, and ask it to stop as Ctrl-C does once the condition holds."""

    def ask_to_stop() -> None:
        try:
            eventually(condition, what)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask_to_stop)
    asking.start()
    programs.tend()
    asking.join()


def test_without_its_worker_the_service_goes_on(programs: Programs, starts: Path, said: io.StringIO) -> None:
    programs.start("service", "lives")
    programs.start("worker", "dies", str(starts))
    tend_until(programs, lambda: "giving it up" in said.getvalue(), "the worker is given up")
    assert starts.read_text() == "..."
    assert "The worker ended with status 3 3 times in a row: giving it up. The service goes on" in said.getvalue()
    assert not programs.gave_up
    assert programs.all_alive("service")


def test_without_the_service_everything_stops(programs: Programs, starts: Path, said: io.StringIO) -> None:
    programs.start("service", "dies", str(starts))
    programs.start("worker", "lives")
    programs.tend()
    assert programs.gave_up
    assert starts.read_text() == "..."
    assert "The service ended with status 3 3 times in a row: giving it up." in said.getvalue()


def test_ends_far_apart_are_no_reason_to_give_up(
    programs: Programs, starts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SETTLED_SECONDS", 0.2)
    programs.start("service", "dies_later", str(starts))
    tend_until(programs, lambda: starts.exists() and len(starts.read_text()) > 5, "the service is started on and on")
    assert not programs.gave_up


def test_each_program_is_counted_for_itself(programs: Programs, starts: Path, said: io.StringIO) -> None:
    programs.start("service", "lives")
    programs.start("worker", "dies", str(starts))
    programs.start("other", "dies", str(starts))
    tend_until(programs, lambda: said.getvalue().count("giving it up") == 2, "both are given up")
    assert starts.read_text() == "." * 6


def test_a_needed_program_that_ends_at_once_is_told(programs: Programs, starts: Path, tmp_path: Path) -> None:
    programs.start("service", "dies", str(starts))
    with pytest.raises(BurnishError, match="The service ended at once"):
        supervisor.wait_until_ready(make_settings(tmp_path, port=1), programs, "service")
