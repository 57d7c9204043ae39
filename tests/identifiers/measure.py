"""What a detector misses of valid identifiers, and what it finds where nothing is."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Protocol

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
