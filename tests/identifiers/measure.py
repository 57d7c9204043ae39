"""What a detector misses of valid identifiers, what it finds where nothing is, and how long it takes."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from identifiers import Sentence, make


class Found(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


Find = Callable[[str], Sequence[Found]]


def missed(find: Find, kind: str, count: int) -> Iterator[Sentence]:
    """Of `count` sentences, those whose identifier isn't found as what it is, from its first character to its last.

    Addresses may be found with what stands around them: where one begins is a matter of taste.
    """
    random = Random(kind)
    for _ in range(count):
        sentence = make(kind, random)
        whole = (sentence.start, sentence.end)
        found = [(one.start, one.end) for one in find(sentence.text) if one.kind == kind]
        around = any(start <= sentence.start and sentence.end <= end for start, end in found)
        if not (around if kind == "address" else whole in found):
            yield sentence


def false_alarms(find: Find, lines: Sequence[str]) -> list[str]:
    """What was found, each line's in one."""
    found = {line: find(line) for line in lines}
    return [" | ".join(line[one.start : one.end] for one in spans) for line, spans in found.items() if spans]


def microseconds(find: Find, texts: Sequence[str], runs: int = 9) -> float:
    """A text's processor time, on average; the median of several runs."""
    seconds = []
    for _ in range(runs):
        before = time.process_time()
        for text in texts:
            find(text)
        seconds.append(time.process_time() - before)
    return statistics.median(seconds) / len(texts) * 1e6


def lines_of(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def messages_of(file: Path) -> list[str]:
    """Prompts and replies of Open Assistant's conversation trees."""

    def texts(message: dict[str, Any]) -> Iterator[str]:
        yield message["text"]
        for reply in message["replies"]:
            yield from texts(reply)

    return [text for line in lines_of(file) for text in texts(json.loads(line)["prompt"])]
