"""The engine of a training process, which others may leave no processor time."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from service.engines.base import ScoreRequest
from service.engines.local.engine import SILENCE_SECONDS
from trainer.engine import open_engine

pytestmark = pytest.mark.slow


def test_an_engine_that_gets_no_time_is_waited_for(tiny_base: Path) -> None:
    async def scenario() -> None:
        engine = open_engine(str(tiny_base), tiny_base, "cpu", "float32")
        await engine.start()
        try:
            assert engine._process is not None
            child = engine._process.pid
            os.kill(child, signal.SIGSTOP)
            scores = asyncio.create_task(engine.score([ScoreRequest([{"role": "user", "content": "the key"}], "box")]))
            await asyncio.sleep(SILENCE_SECONDS + 3)
            os.kill(child, signal.SIGCONT)
            assert len(await asyncio.wait_for(scores, 60)) == 1
            assert engine._process.pid == child
        finally:
            await engine.close()

    asyncio.run(scenario())
