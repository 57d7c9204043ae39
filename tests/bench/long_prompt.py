"""How long others wait for their next token while somebody's long prompt is read.

Promises: through the engine's seam, on the bundled model; replies are being written without pause, and long prompts
that nothing of is known come one after the other. `stretch` is a gap's length as a multiple of the median gap before.
Leaves out HTTP.
"""

import argparse
import asyncio
import itertools
from pathlib import Path
from time import perf_counter

from bench.engine import running
from bench.figures import Result, Row, percentile
from bench.prompts import ticket, user, words

from service.engines.base import Engine, GenerationRequest, SamplingParams

QUIET_SECONDS = 4.0
PROMPTS = 5


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt-tokens", type=int, default=1500, help="length of the long prompts")
    parser.add_argument("--concurrency", type=int, default=4, help="streams that are being written")


def measure(options: argparse.Namespace, models: Path) -> Result:
    return asyncio.run(_measure(models, options.prompt_tokens, options.concurrency))


async def _measure(models: Path, prompt_tokens: int, concurrency: int) -> Result:
    async with running(models) as engine:
        streams = _Streams(engine)
        tasks = [asyncio.create_task(streams.write()) for _ in range(concurrency)]
        await asyncio.sleep(QUIET_SECONDS)
        before, streams.gaps_ms = streams.gaps_ms, []
        read = [await _first_token_ms(engine, number, prompt_tokens) for number in range(PROMPTS)]
        during = streams.gaps_ms
        streams.stopping = True
        await asyncio.gather(*tasks)
    plain = percentile(before, 50)
    return {
        "rows": [_row("no long prompt", before, plain), _row("a long prompt is read", during, plain)],
        "prompt_tokens": prompt_tokens,
        "concurrency": concurrency,
        "long_prompts_ttft_ms_p50": percentile(read, 50),
    }


def _row(what: str, gaps_ms: list[float], plain: float) -> Row:
    p50, p99, most = percentile(gaps_ms, 50), percentile(gaps_ms, 99), max(gaps_ms)
    gaps = {"inter_token_ms_p50": p50, "inter_token_ms_p99": p99, "inter_token_ms_max": most}
    return {"what": what, **gaps, "stretch_p50": p50 / plain, "stretch_p99": p99 / plain, "stretch_max": most / plain}


async def _first_token_ms(engine: Engine, number: int, prompt_tokens: int) -> float:
    prompt = user(words(number, prompt_tokens))
    began = perf_counter()
    async for _ in engine.generate(GenerationRequest(prompt, SamplingParams(1, temperature=0, ignore_eos=True))):
        pass
    return 1000 * (perf_counter() - began)


class _Streams:
    def __init__(self, engine: Engine) -> None:
        self.gaps_ms: list[float] = []
        self.stopping = False
        self._engine = engine
        self._prompts = map(ticket, itertools.count())

    async def write(self) -> None:
        while not self.stopping:
            last = 0.0
            request = GenerationRequest(next(self._prompts), SamplingParams(400, temperature=0.7, ignore_eos=True))
            async for _ in self._engine.generate(request):
                now = perf_counter()
                if last:
                    self.gaps_ms.append(1000 * (now - last))
                last = now
                if self.stopping:
                    return
