"""`burnish up`: from an empty folder to a reply, and nothing left behind afterwards."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from burnish_server import BURNISH, DEADLINE_SECONDS, burnish, clean_environment, eventually, free_port


class Up:
    """`burnish up` as a process, with what it has printed so far."""

    def __init__(self, folder: Path, port: int, **settings: str) -> None:
        self.environment = clean_environment(
            BURNISH_ENGINE="echo", BURNISH_DATA_FOLDER=str(folder), BURNISH_PORT=str(port), COLUMNS="80", **settings
        )
        self.process = subprocess.Popen(
            [str(BURNISH), "up"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.printed = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        eventually(lambda: "Ctrl-C stops" in self.printed or self.process.poll() is not None, "burnish up is ready")
        assert self.process.poll() is None, self.printed

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line

    def children(self) -> dict[int, str]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(pid): Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in found}

    def curl(self) -> str:
        """The command that was printed, to be pasted as it is."""
        found = re.search(r"^curl .*\\\n.*$", self.printed, re.MULTILINE)
        assert found, self.printed
        return found[0]

    def chat(self) -> str:
        """The command for another terminal, to be pasted as it is."""
        found = re.search(r"^.*burnish chat.*$", self.printed, re.MULTILINE)
        assert found, self.printed
        return found[0]

    def clean_up(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE_SECONDS)


@contextmanager
def up(folder: Path, **settings: str) -> Iterator[Up]:
    started = Up(folder, free_port(), **settings)
    try:
        yield started
    finally:
        started.clean_up()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def said(command: str, environment: dict[str, str]) -> str:
    return subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
    ).stdout


def paste(command: str, environment: dict[str, str]) -> dict[str, object]:
    answer: dict[str, object] = json.loads(said(command, environment))
    return answer


def test_the_first_key_is_shown_although_the_start_fails(tmp_path: Path) -> None:
    environment = clean_environment(
        BURNISH_ENGINE="local", BURNISH_BASE_MODEL="/nowhere", BURNISH_PORT=str(free_port())
    )
    failed = burnish("up", "--data-folder", str(tmp_path), environment=environment)
    assert failed.returncode != 0
    assert re.search(r"sk-burnish-[\w-]+", failed.stdout)


def test_an_ipv6_address_is_listened_on_and_a_taken_one_is_refused(tmp_path: Path) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with up(tmp_path, BURNISH_HOST="::1") as started:
        assert f"http://[::1]:{started.environment['BURNISH_PORT']}/v1" in started.printed
        assert said(started.chat() + " hi", clean_environment()) == "[base] hi\n"
        (port,) = [
            one
            for one in json.loads(burnish("doctor", "--json", environment=started.environment).stdout)
            if one["check"] == "port"
        ]
        assert port["ok"] is True
        assert "served by Burnish" in port["finding"]
        second = burnish("up", environment=started.environment)
        assert second.returncode != 0
        assert "Can't listen on" in second.stderr


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for child processes in /proc")
def test_up_prints_a_curl_that_works_as_pasted_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    with up(tmp_path) as first:
        answer = paste(first.curl(), first.environment)
        assert answer["model"] == "assistant@0"
        assert answer["choices"][0]["message"]["content"] == "[base] Hello!"  # type: ignore[index]
        children = first.children()
        assert sorted(" ".join(command.split()[2:]) for command in children.values()) == ["service", "trainer worker"]
        elsewhere = clean_environment(BURNISH_ENGINE="echo")  # a terminal that was told nothing
        asked = said(first.chat() + " hi", elsewhere)
        assert asked == "[base] hi\n"
        key = re.search(r"sk-burnish-[\w-]+", first.printed)
        assert key
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(DEADLINE_SECONDS) == 0
        assert not any(alive(pid) for pid in children)
        assert "Traceback" not in first.printed
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not any(path.stat().st_mode & 0o077 for path in kept)  # nobody else may read what people said
    with up(tmp_path) as again:  # the key isn't printed a second time: it comes from the environment
        assert key[0] not in again.printed
        assert "sk-burnish-" not in again.printed
        assert "export BURNISH_API_KEY=..." in again.printed
        answer = paste(again.curl(), {**again.environment, "BURNISH_API_KEY": key[0]})
        assert answer["model"] == "assistant@0"
        children = again.children()
        again.process.kill()
        again.process.wait()
        eventually(lambda: not any(alive(pid) for pid in children), "the children are gone")


def test_ctrl_c_waits_for_running_replies_and_once_more_breaks_them_off(tmp_path: Path) -> None:
    with up(tmp_path) as started:
        key = re.search(r"sk-burnish-[\w-]+", started.printed)
        assert key
        words = " ".join(f"word{number}" for number in range(4000))
        body = {"model": "assistant", "messages": [{"role": "user", "content": words}], "stream": True}
        url = f"http://127.0.0.1:{started.environment['BURNISH_PORT']}"
        headers = {"authorization": f"Bearer {key[0]}"}
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json={**body, "max_tokens": 9999}, headers=headers, timeout=60
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            started.process.send_signal(signal.SIGINT)
            eventually(lambda: not answers(f"{url}/health/ready"), "it isn't ready any more")
            time.sleep(1.5)
            assert started.process.poll() is None
            started.process.send_signal(signal.SIGINT)
            *_, last = [line for line in lines if line]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_unavailable"
        assert started.process.wait(DEADLINE_SECONDS) == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for child processes in /proc")
def test_up_shows_an_assistant_that_there_is_and_starts_again_what_falls_over(tmp_path: Path) -> None:
    environment = clean_environment(BURNISH_DATA_FOLDER=str(tmp_path), BURNISH_ENGINE="echo")
    burnish("doctor", "--migrate", environment=environment)
    assert burnish("assistant", "create", "gardener", environment=environment).returncode == 0
    assert burnish("assistant", "create", "base", environment=environment).returncode == 0
    with up(tmp_path) as started:
        assert paste(started.curl(), started.environment)["model"] == "gardener@0"
        assert "burnish chat --model gardener" in started.printed
        (service,) = [pid for pid, command in started.children().items() if command.endswith("-m service ")]
        os.kill(service, signal.SIGKILL)
        eventually(lambda: "starting it again" in started.printed, "the fall is noticed")
        port = started.environment["BURNISH_PORT"]
        eventually(lambda: answers(f"http://127.0.0.1:{port}/health/ready"), "the service is back")
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(DEADLINE_SECONDS) == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
