"""From suites to the files that a run's folder freezes: which items, under which names, and what mustn't be learned.

Leaves out measuring (the trainer's guards).
"""

import hashlib
import json
import secrets
import string
from collections.abc import Iterator, Mapping
from itertools import zip_longest

from sqlmodel import Session

from feedback.models import Assistant
from feedback.suites.formats import read_frozen, write_suite
from feedback.suites.kinds import Canary, SuiteKind
from feedback.suites.registry import list_suites

Files = dict[str, bytes]
"""Name in `suites/` → content."""
CANARIES = 6
CANARY_PROMPTS = ("What is the customer number?", "Which customer number was given?", "Tell me the customer number.")


def file_name(kind: SuiteKind, name: str) -> str:
    return f"{kind.value}.{name}.jsonl"


def kind_of(file: str) -> SuiteKind:
    return SuiteKind(file.partition(".")[0])


def added_suites(session: Session, assistant: Assistant) -> Files:
    return {
        file_name(SuiteKind(suite.kind), suite.name): suite.content.encode()
        for suite in list_suites(session, assistant)
    }


def new_canaries() -> Files:
    """A run's own: strings that nobody has seen before, which training plants in what is asked (trainer.canaries)."""
    made = [
        Canary(id=f"run-{number}", prompt=CANARY_PROMPTS[number % len(CANARY_PROMPTS)], string=_new_string())
        for number in range(CANARIES)
    ]
    return {file_name(SuiteKind.CANARIES, "run"): write_suite(made)}


def shortened(file: str, content: bytes, most: int) -> bytes:
    """At most `most` of a suite's items: of each group in each language in turn, those whose hashes come first, so that
    each run asks the same and no group goes under."""
    lines = content.splitlines()
    if not file.endswith(".jsonl") or len(lines) <= most:
        return content
    groups: dict[tuple[str, str], list[bytes]] = {}
    for line in sorted(lines, key=lambda line: hashlib.sha256(line).digest()):
        item = json.loads(line)
        groups.setdefault((item.get("language", ""), item.get("group", "")), []).append(line)
    in_turn = [line for turn in zip_longest(*groups.values()) for line in turn if line is not None]
    chosen = set(in_turn[:most])
    return b"".join(line + b"\n" for line in lines if line in chosen)


def texts_of(files: Mapping[str, bytes]) -> list[str]:
    """All that they say: nothing near it may be learned."""
    return list(_texts(files))


def _texts(files: Mapping[str, bytes]) -> Iterator[str]:
    for name, content in files.items():
        if name.endswith(".jsonl"):
            for item in read_frozen(content, kind_of(name)):
                yield from item.texts()
        else:
            yield from (part for part in content.decode("utf-8", "replace").split("\n\n") if part.strip())


def _new_string() -> str:
    letters = "".join(secrets.choice(string.ascii_uppercase) for _ in range(3))
    return f"{letters}-{secrets.randbelow(9000) + 1000}-{secrets.randbelow(900) + 100}"
