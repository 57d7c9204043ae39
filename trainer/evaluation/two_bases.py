"""Two versions on two base models, as one engine: for judging a move from one to the other.

Promises numbers that can be held against each other although the models cut text into tokens differently: scores are
scaled so that their mean is of four bytes of text, about what a token has, for both. Leaves out what needs the bare
base beside: `BASE` is the baseline's, if that is what serves, else the candidate's.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

from service.engines.base import BASE, Delta, Engine, EngineHealth, GenerationRequest, ScoreRequest

BYTES_A_TOKEN = 4.0


class TwoBases:
    def __init__(self, candidate: Engine, baseline: Engine, baseline_version: str) -> None:
        self._candidate = candidate
        self._baseline = baseline
        self._baseline_version = baseline_version

    async def start(self) -> None:
        await self._candidate.start()
        await self._baseline.start()

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        return self._of(request.version).generate(request)

    async def score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        found: list[list[float]] = [[] for _ in requests]
        for engine in (self._candidate, self._baseline):
            places = [place for place, one in enumerate(requests) if self._of(one.version) is engine]
            scored = await engine.score([requests[place] for place in places]) if places else []
            for place, scores in zip(places, scored, strict=True):
                found[place] = of_four_bytes(scores, requests[place].completion)
        return found

    async def score_text(self, texts: Sequence[str], version: str = BASE) -> list[list[float]]:
        scored = await self._of(version).score_text(texts, version)
        return [of_four_bytes(scores, text) for scores, text in zip(scored, texts, strict=True)]

    async def load(self, version: str, folder: Path) -> None:
        await self._of(version).load(version, folder)

    async def unload(self, version: str) -> None:
        await self._of(version).unload(version)

    async def close(self) -> None:
        await asyncio.gather(self._candidate.close(), self._baseline.close())

    def health(self) -> EngineHealth:
        one, other = self._candidate.health(), self._baseline.health()
        return replace(one, ready=one.ready and other.ready, loaded=one.loaded + other.loaded)

    def _of(self, version: str) -> Engine:
        return self._baseline if version == self._baseline_version else self._candidate


def of_four_bytes(scores: Sequence[float], text: str) -> list[float]:
    """As many numbers, of the same proportions, whose mean is what four bytes of the text have.

    >>> of_four_bytes([-1.0, -2.0], "sixteen bytes, .")
    [-0.5, -1.0]
    """
    share = len(scores) * BYTES_A_TOKEN / max(1, len(text.encode()))
    return [score * share for score in scores]
