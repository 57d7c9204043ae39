"""The base model's own answers to everyday prompts: what a new adapter must go on saying.

Written once for each base model by the engine that serves, sampled at temperature 1 as the model would talk, and kept
in the data folder. Three quarters of them are replayed in training (methods/replay.py); the last quarter is never
trained on, so that evaluation/divergence.py can tell how far an adapter has moved on prompts it hasn't seen.

Leaves out telling whether the base model behind a hub id has changed; a changed folder is noticed by its files.
"""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from feedback.files import read_json, write_json
from service.engines.base import Engine, GenerationRequest, SamplingParams
from trainer.base_files import base_sha256
from trainer.engine import open_engine

SEED = 1
ANSWER_TOKENS = 48
CONCURRENT_ANSWERS = 16
PROMPTS_AS_LONG = 6
"""So many of the prompts have about ANSWER_TOKENS tokens."""


@dataclass(frozen=True)
class OwnAnswer:
    prompt: str
    answer: str
    ended: bool
    """Whether the model ended it, rather than ANSWER_TOKENS."""


def prompts() -> list[str]:
    return Path(__file__).with_name("prompts.txt").read_text("utf-8").splitlines()


def replayed(answers: list[OwnAnswer]) -> list[OwnAnswer]:
    return [answer for index, answer in enumerate(answers) if index % 4 != 3]


def held_out(answers: list[OwnAnswer]) -> list[OwnAnswer]:
    return answers[3::4]


def kept_at(folder: Path, base_path: str) -> Path:
    """Where a base model's answers are kept: named by the model, its files, the prompts and the seed."""
    base = Path(base_path)
    which = base_sha256(base) if base.is_dir() else base_path
    said = hashlib.sha256(f"{SEED} {ANSWER_TOKENS} {prompts()} {which}".encode())
    return folder / f"{base.name}-{said.hexdigest()[:12]}.json"


def stand_ins(kept: Path) -> Path:
    """Nobody's answers, as long as the base's own: for measuring what replaying those takes."""
    asked = prompts()
    said = [" ".join([*asked, *asked][place : place + PROMPTS_AS_LONG]) for place in range(len(asked))]
    write_json(kept, [asdict(OwnAnswer(*one, ended=True)) for one in zip(asked, said, strict=True)])
    return kept


def read_answers(kept: Path) -> list[OwnAnswer] | None:
    return [OwnAnswer(**answer) for answer in read_json(kept)] if kept.is_file() else None


def write_answers(
    base_model: str,
    models_folder: Path,
    folder: Path,
    device: str,
    dtype: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Have an engine write the answers if nothing is kept yet; returns where they are."""
    from service.engines.local.base_model import resolve_base_model

    kept = kept_at(folder, resolve_base_model(base_model, models_folder))

    async def write() -> None:
        engine = open_engine(base_model, models_folder, device, dtype)
        await engine.start()
        try:
            await own_answers(engine, kept, progress)
        finally:
            await engine.close()

    if not kept.is_file():
        asyncio.run(write())
    return kept


async def own_answers(
    engine: Engine, kept: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[OwnAnswer]:
    """What is kept, or else what a started engine's base says, which is then kept."""
    if (known := read_answers(kept)) is not None:
        return known
    slots, asked, done = asyncio.Semaphore(CONCURRENT_ANSWERS), prompts(), 0

    async def answer(index: int, prompt: str) -> OwnAnswer:
        nonlocal done
        sampling = SamplingParams(max_tokens=ANSWER_TOKENS, temperature=1.0, seed=SEED + index)
        async with slots:
            deltas = [
                delta
                async for delta in engine.generate(GenerationRequest([{"role": "user", "content": prompt}], sampling))
            ]
        done += 1
        progress(done, len(asked))
        return OwnAnswer(prompt, "".join(delta.text for delta in deltas), deltas[-1].finish_reason == "stop")

    answers = list(await asyncio.gather(*(answer(index, prompt) for index, prompt in enumerate(asked))))
    write_json(kept, [asdict(one) for one in answers])
    return answers
