"""Many people doing a thing at once, with a bar that shows how far they are."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

AT_ONCE = 16

Thing = TypeVar("Thing")
Result = TypeVar("Result")


def together(deed: Callable[[Thing], Result], things: Sequence[Thing], what: str, console: Console) -> list[Result]:
    """`[deed(thing) for thing in things]`, AT_ONCE side by side; Ctrl-C and errors leave the rest undone."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        return list(track(pool.map(deed, things), what, total=len(things), console=console))
    finally:
        pool.shutdown(cancel_futures=True)
