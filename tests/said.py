"""Runs `burnish …` in this process, which saves the start of a new one."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import feedback.cli


@dataclass
class Said:
    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


def say(
    *arguments: str,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Said:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("a program was started"))
    monkeypatch.setattr(sys, "argv", ["burnish", *arguments])
    capsys.readouterr()
    status: Any = 0
    try:
        feedback.cli.main()
    except SystemExit as end:
        status = end.code or 0
    said = capsys.readouterr()
    return Said(status, said.out, said.err)


def assert_one_clear_line(said: Said, *words: str) -> None:
    assert said.status != 0
    assert "Traceback" not in said.err
    assert said.err.startswith("burnish: ")
    assert said.err.count("\n") == 1, said.err
    for word in words:
        assert word in said.err
