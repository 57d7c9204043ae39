"""Float32 replies of the engine against transformers' `generate`, token for token.

Promises: many kinds of prompts, each on the base and on two adapters (PEFT's, unmerged, as the reference); asked alone
and in mixed batches of 16, each time once before and once after the prompt's prefix may have been cached; the
log-probabilities of the replies within 1e-4 nats. Every difference counts; one between tokens that the reference finds
likely to within 1e-4 nats is marked as a tie. Leaves out other dtypes (`agreement` in `serve`).
"""

import argparse
import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.deployment import random_adapter
from bench.engine import Reply, greedy, running
from bench.figures import Result, Row, tell
from bench.prompts import diverse
from bench.reference import Reference, tokens_alike

from feedback.config import BUNDLED_MODEL
from service.engines.adapter_format import adapter_sha256
from service.engines.base import BASE, ChatMessage, Engine, ScoreRequest

BATCH = 16
TOLERANCE_NATS = 1e-4
CANDIDATES = 200
"""Among so many of the likeliest tokens the one is sought that the engine wrote instead."""


@dataclass(frozen=True)
class Case:
    prompt: int
    messages: list[ChatMessage]
    version: str
    name: str  # of the version, for people


@dataclass(frozen=True)
class Expected:
    tokens: list[int]
    shown: list[str]  # the text after each token
    logprobs: list[float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompts", type=int, default=200, help="how many")
    parser.add_argument("--max-tokens", type=int, default=24, help="most tokens of a reply")


def measure(options: argparse.Namespace, models: Path) -> Result:
    return compare(models, prompts=options.prompts, max_tokens=options.max_tokens)


def compare(models: Path, *, prompts: int, max_tokens: int, every_version: bool = True) -> Result:
    """`every_version`: each prompt on the base and both adapters; else on one of them in turn."""
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as folder:
        made = [random_adapter(models, Path(folder) / str(seed), seed=seed, rank=16) for seed in (1, 2)]
        adapters = {adapter_sha256(adapter): adapter for adapter in made}
        names = dict(zip([BASE, *adapters], ["base", "adapter 1", "adapter 2"], strict=True))
        cases = [
            Case(number, messages, version, name)
            for number, messages in enumerate(diverse(prompts))
            for place, (version, name) in enumerate(names.items())
            if every_version or number % len(names) == place
        ]
        reference = Reference(models / BUNDLED_MODEL, adapters)
        expected = _expected(reference, cases, max_tokens)
        check = _Check(reference, cases, expected, max_tokens)
        asyncio.run(check.run(models, adapters))
    return {
        "rows": check.rows,
        "ok": not check.mismatches and check.largest_logprob_difference <= TOLERANCE_NATS,
        "largest_logprob_difference_nats": check.largest_logprob_difference,
        "mismatches": check.mismatches,
    }


def _expected(reference: Reference, cases: Sequence[Case], max_tokens: int) -> list[Expected]:
    """What the reference writes, a batch of one version and of similar lengths at a time; in the cases' order."""
    lengths = [len(reference.render(case.messages)) for case in cases]
    order = sorted(range(len(cases)), key=lambda index: (cases[index].version, lengths[index]))
    found: dict[int, Expected] = {}
    for _, group in itertools.groupby(order, key=lambda index: cases[index].version):
        same = list(group)
        for start in range(0, len(same), BATCH):
            part = same[start : start + BATCH]
            written = reference.greedy(cases[part[0]].version, [cases[index].messages for index in part], max_tokens)
            for index, tokens in zip(part, written, strict=True):
                shown = reference.shown(tokens)
                logprobs = reference.logprobs(cases[index].version, cases[index].messages, shown[-1])
                found[index] = Expected(tokens, shown, logprobs)
            tell(f"reference {len(found)}/{len(cases)}")
    return [found[index] for index in range(len(cases))]


class _Check:
    """The engine's passes over the cases, and what came out other than expected."""

    def __init__(
        self, reference: Reference, cases: Sequence[Case], expected: Sequence[Expected], max_tokens: int
    ) -> None:
        self._reference = reference
        self._pairs = list(zip(cases, expected, strict=True))
        self._max_tokens = max_tokens
        self.rows: list[Row] = []
        self.mismatches: list[dict[str, Any]] = []
        self.largest_logprob_difference = 0.0

    async def run(self, models: Path, adapters: dict[str, Path]) -> None:
        """One half of the prompts first alone, then in batches; the other half the other way round."""
        halves = [[pair for pair in self._pairs if pair[0].prompt % 2 == side] for side in (0, 1)]
        async with running(models, dtype="float32", max_batch=BATCH) as engine:
            for version, folder in adapters.items():
                await engine.load(version, folder)
            await self._pass(engine, "alone, first time", halves[0], batch=1)
            await self._pass(engine, "in batches, first time", halves[1], batch=BATCH)
            await self._pass(engine, "in batches, again", halves[0], batch=BATCH)
            await self._pass(engine, "alone, again", halves[1], batch=1)
            await self._score(engine)

    async def _pass(self, engine: Engine, name: str, pairs: Sequence[tuple[Case, Expected]], batch: int) -> None:
        tell(name)
        replies: list[Reply] = []
        for start in range(0, len(pairs), batch):
            asked = (
                greedy(engine, case.version, case.messages, self._max_tokens)
                for case, _ in pairs[start : start + batch]
            )
            replies += await asyncio.gather(*asked)
        different = [
            self._difference(name, case, expected, reply)
            for (case, expected), reply in zip(pairs, replies, strict=True)
            if reply.text != expected.shown[-1] or reply.completion_tokens != len(expected.tokens)
        ]
        self.mismatches += different
        self.rows.append(
            {
                "pass": name,
                "replies": len(replies),
                "different": len(different),
                "ties": sum(one["tie"] for one in different),
                "tokens": sum(reply.completion_tokens for reply in replies),
                "cached_prompt_tokens": sum(reply.cached_tokens for reply in replies),
            }
        )

    def _difference(self, name: str, case: Case, expected: Expected, reply: Reply) -> dict[str, Any]:
        """Where a reply leaves the reference, for which token, and by how much the reference prefers its own."""
        position = tokens_alike(expected.shown, reply.text, reply.completion_tokens)
        logprobs = self._reference.logits(case.version, case.messages, expected.tokens)[position].log_softmax(-1)
        ours = self._written(logprobs, reply.text[len(expected.shown[position - 1]) if position else 0 :])
        margin = None if ours is None else float(logprobs[expected.tokens[position]] - logprobs[ours])
        return {
            "pass": name,
            "prompt": case.prompt,
            "version": case.name,
            "position": position,
            "reference_token": self._name(expected.tokens[position]),
            "engine_token": None if ours is None else self._name(ours),
            "margin_nats": margin,
            "tie": margin is not None and margin < TOLERANCE_NATS,
        }

    def _written(self, logprobs: Any, rest: str) -> int | None:
        """The token that the rest of the reply's text begins with: the longest of the likely ones."""
        likely = [int(token) for token in logprobs.topk(CANDIDATES).indices]
        if not rest:
            return next((token for token in likely if token in self._reference.stop_tokens), None)
        fitting = [token for token in likely if (text := self._name(token)) and rest.startswith(text)]
        return max(fitting, key=lambda token: len(self._name(token)), default=None)

    def _name(self, token: int) -> str:
        return str(self._reference.tokenizer.decode([token]))

    async def _score(self, engine: Engine) -> None:
        tell("log-probabilities")
        for start in range(0, len(self._pairs), BATCH):
            part = self._pairs[start : start + BATCH]
            requests = [ScoreRequest(case.messages, expected.shown[-1], case.version) for case, expected in part]
            for scores, (_, expected) in zip(await engine.score(requests), part, strict=True):
                differences = (abs(one - other) for one, other in zip(scores, expected.logprobs, strict=True))
                self.largest_logprob_difference = max(self.largest_logprob_difference, *differences)
