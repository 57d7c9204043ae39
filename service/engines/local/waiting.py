"""Requests that wait for a slot or to be read, and whose turn it is.

Promises: the next slot goes to the key that has the fewest rows running, among equals to the one that has waited for
its turn longest; within a key the first to come is the first to be served. Prompts are read each key's first before
any key's second. So a single request waits neither for the slots nor for the prompts of all that another key sent
before it. Leaves out how many may wait (the service's `admission`) and what a row is.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Waiting(Generic[Row]):
    """Rows in lines, one a key.

    >>> waiting = Waiting[str]()
    >>> for name in ("a1", "a2", "a3", "b1"):
    ...     waiting.add(name, key=name[0])
    >>> [waiting.next({}), waiting.next({"a": 1}), waiting.next({"a": 1, "b": 1}), waiting.next({"a": 2, "b": 1})]
    ['a1', 'b1', 'a2', 'a3']
    """

    def __init__(self) -> None:
        self._lines: dict[str, deque[Row]] = {}  # none is empty; the key that had its turn last comes last

    def add(self, row: Row, key: str) -> None:
        self._lines.setdefault(key, deque()).append(row)

    def next(self, running: Mapping[str, int], fits: Callable[[Row], bool] = lambda row: True) -> Row | None:
        """Take out the row whose turn it is; None if nothing waits, or if that row doesn't fit yet.

        `running` counts the running rows by key.
        """
        if not self._lines:
            return None
        key = min(self._lines, key=lambda key: running.get(key, 0))  # the first of equals
        if not fits(self._lines[key][0]):
            return None
        line = self._lines.pop(key)
        row = line.popleft()
        if line:
            self._lines[key] = line
        return row

    def remove(self, unwanted: Callable[[Row], bool]) -> None:
        """Take out every row that is `unwanted`; the others keep their places."""
        kept = {key: deque(row for row in line if not unwanted(row)) for key, line in self._lines.items()}
        self._lines = {key: line for key, line in kept.items() if line}

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[Row]:
        for line in self._lines.values():
            yield from line


def in_turn(rows: Iterable[Row], key: Callable[[Row], str]) -> list[Row]:
    """Every key's first row, then every key's second, and so on; the rows of a turn in the given order.

    >>> in_turn(["a1", "a2", "a3", "b1", "c1", "b2"], key=lambda name: name[0])
    ['a1', 'b1', 'c1', 'a2', 'b2', 'a3']
    """
    seen = Counter[str]()
    turns: list[tuple[int, Row]] = []
    for row in rows:
        turns.append((seen[key(row)], row))
        seen[key(row)] += 1
    return [row for _, row in sorted(turns, key=lambda turn: turn[0])]
