"""What a curation leaves on its way: how many items each stage let through, and why it dropped the others.

Leaves out the stages.
"""

from collections.abc import Callable

from feedback.curate.items import Dropped, Drops, Item

Progress = Callable[[str, int], None]
"""Told a stage and how many items are left after it."""


class Passage:
    def __init__(self, progress: Progress) -> None:
        self.dropped = Drops()
        self.funnel: list[tuple[str, int]] = []
        """(stage, items left after it), in order."""
        self._progress = progress

    def passed(self, stage: str, result: tuple[list[Item], list[Dropped]]) -> list[Item]:
        """What a stage let through."""
        left, out = result
        self.dropped.add(out)
        self.note(stage, len(left))
        return left

    def note(self, stage: str, left: int) -> None:
        self.funnel.append((stage, left))
        self._progress(stage, left)
