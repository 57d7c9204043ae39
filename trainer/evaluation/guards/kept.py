"""What a version's answers to a suite came to, measured once: a candidate's numbers are the next run's baseline's.

Keeps numbers only, never what was asked or replied. They are found again by everything that they depend on: the items,
the version, the base model, where it runs, and the guards' own code. Leaves out comparing them (margins.py).
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from feedback.files import read_json, write_json
from feedback.suites.kinds import Item

Numbers = dict[str, list[Any]]
"""Measure's name → a number for each item; None: it couldn't be measured."""


LIBRARIES = ("torch", "transformers", "peft", "alt-profanity-check")


class Kept:
    def __init__(self, folder: Path | None, where: str) -> None:
        """`folder`: None keeps nothing. `where`: names the base model, device and dtype."""
        self._folder = folder
        self._where = where

    async def of(
        self, guard: str, items: Sequence[Item], version: str, measure: Callable[[], Awaitable[Numbers]]
    ) -> Numbers:
        if self._folder is None:
            return await measure()
        asked = [item.model_dump_json() for item in items]
        said = json.dumps([guard, asked, version, self._where, code_sha256()])
        path = self._folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.json"
        if path.is_file():
            known: Numbers = read_json(path)
            return known
        found = await measure()
        write_json(path, found)
        return found


@cache
def code_sha256() -> str:
    """Of all that measures: other code, or another library, may measure otherwise."""
    digest = hashlib.sha256(" ".join(f"{name} {installed(name)}" for name in LIBRARIES).encode())
    here = Path(__file__).parents[3]
    for folder in ("trainer/evaluation", "service/engines"):
        for path in sorted((here / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
