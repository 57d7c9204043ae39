"""Continuous batching: which requests run in the next step, and what comes out of it.

Promises: requests join and leave between steps, and keys take turns (`waiting`), with slots kept free for keys that
have none; a long prompt is read in pieces, so small that they hold nobody up by much (`pace`), short ones before it,
and what was read before isn't read again (`prefix_cache`); the running requests' keys and values stay within their
memory; scoring takes its turn beside all that, a bounded piece a step; a request keeps its adapter version to the end;
the same seed gives the same random stream whoever else is in the batch.
Leaves out processes and messages (`worker`) and the model (`decoder`).
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from service.engines.base import Delta, FinishReason, SamplingParams, TokenLogprob
from service.engines.local.decoder import BLOCK_TOKENS, Chunk, Decoder, Slot
from service.engines.local.pace import Pace
from service.engines.local.prefix_cache import PrefixCache, Whose, shared_tokens
from service.engines.local.sampling import Picked, Picking, pick
from service.engines.local.scoring import ScoreJob, Scoring
from service.engines.local.structured import Matcher
from service.engines.local.text_stream import TextStream
from service.engines.local.waiting import Waiting, in_turn

SPARE = 8
"""One slot more for so many: only a key that holds none may take it."""

OLDEST_SHARE = 4
"""The oldest prompt gets at least one part in so many of what a step reads, whoever is shorter."""


@dataclass(eq=False)
class Row:
    """A request. `length` of its tokens are in its slot; `tokens` is the prompt and what was picked."""

    id: int
    version: str
    tokens: list[int]
    prompt_tokens: int
    sampling: SamplingParams
    text: TextStream
    picking: Picking
    key: str = ""
    length: int = 0
    cached_tokens: int = 0
    slot: Slot | None = None  # once it runs

    @property
    def whose(self) -> Whose:
        return self.version, self.key

    @property
    def completion_tokens(self) -> int:
        return len(self.tokens) - self.prompt_tokens

    @property
    def unread_tokens(self) -> int:
        return max(0, self.prompt_tokens - self.length)

    @property
    def reading(self) -> bool:
        return self.length < self.prompt_tokens


@dataclass
class Step:
    """What one step produced: deltas by request id, and scores by job."""

    deltas: list[tuple[int, Delta]] = field(default_factory=list)
    scored: list[ScoreJob] = field(default_factory=list)


class Scheduler:
    """`slots`: requests of one key that may run at once; an eighth more are there for the other keys.

    kv_cache_tokens: prompt and reply of all running requests together. prefix_cache_bytes: what read prompts may take.
    clock: in seconds.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        slots: int,
        context_tokens: int,
        kv_cache_tokens: int,
        prefix_cache_bytes: int,
        stop_tokens: frozenset[int],
        decode: Callable[[list[int]], str],
        describe: Callable[[Picked], TokenLogprob | None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.context_tokens = context_tokens
        self._decoder = decoder
        self._stop_tokens = stop_tokens
        self._decode = decode
        self._describe = describe
        self._clock = clock
        self._kv_cache_tokens = kv_cache_tokens
        self._spare = max(1, slots // SPARE)
        self._free = list(decoder.open_slots(slots + self._spare))
        self._waiting: Waiting[Row] = Waiting()
        self._rows: list[Row] = []
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._pace = Pace()
        self._scoring = Scoring(decoder)

    @property
    def busy(self) -> bool:
        return bool(self._rows or self._waiting or self._scoring.busy)

    def uses(self, version: str) -> bool:
        rows = (*self._rows, *self._waiting)
        return any(row.version == version for row in rows) or self._scoring.uses(version)

    def forget(self, version: str) -> None:
        """A version that nothing uses is unloaded."""
        self._prefixes.forget(version)

    def submit(
        self,
        id: int,
        version: str,
        prompt: Sequence[int],
        sampling: SamplingParams,
        key: str = "",
        matcher: Matcher | None = None,
    ) -> None:
        """Queue a request whose prompt leaves room for at least one token; `matcher` is its schema's."""
        self._waiting.add(
            Row(
                id=id,
                version=version,
                tokens=list(prompt),
                prompt_tokens=len(prompt),
                sampling=sampling,
                text=TextStream(self._decode, sampling.stop),
                picking=Picking(sampling, prompt, matcher),
                key=key,
            ),
            key,
        )

    def score(self, jobs: Sequence[ScoreJob]) -> None:
        self._scoring.add(jobs)

    def cancel(self, id: int) -> None:
        """Forget a request or a scoring call; its slot is free in the next step. Unknown ids are ignored."""
        self._scoring.cancel(id)
        self._waiting.remove(lambda row: row.id == id)
        with torch.inference_mode():
            for row in [row for row in self._rows if row.id == id]:
                self._leave(row)

    def step(self) -> Step:
        """Admit who fits, write a token of every reply, read a piece of the prompts, score a piece."""
        step = Step()
        with torch.inference_mode():
            self._admit()
            if self._rows:
                self._advance(step)
            if self._scoring.busy:
                step.scored = self._scoring.step(patient=bool(self._rows))
        return step

    def _admit(self) -> None:
        """Fill the free slots."""
        while self._free:
            row = self._waiting.next(Counter(row.key for row in self._rows), self._fits)
            if row is None:
                return
            row.slot = self._free.pop()
            self._rows.append(row)

    def _fits(self, row: Row) -> bool:
        """Whether there is a slot for it, and memory for as long as it may get."""
        if len(self._free) <= self._spare and any(other.key == row.key for other in self._rows):
            return False
        return not self._rows or sum(map(self._most_tokens, [*self._rows, row])) <= self._kv_cache_tokens

    def _most_tokens(self, row: Row) -> int:
        return min(row.prompt_tokens + row.sampling.max_tokens, self.context_tokens)

    def _pieces(self, budget: int) -> list[tuple[Row, int]]:
        """The prompts to go on with, and how many tokens of each: the shortest first, keys in turn."""
        reading = [row for row in self._rows if row.reading]
        shortest_first = in_turn(sorted(reading, key=lambda row: row.unread_tokens), lambda row: row.key)
        shares = [(row, budget // OLDEST_SHARE) for row in reading[:1]] + [(row, budget) for row in shortest_first]
        pieces: dict[Row, int] = {}
        for row, most in shares:
            if budget == 0:
                break
            if row not in pieces:
                if self._read_by_another(row, list(pieces)):
                    continue
                if row.length == 0 and row.slot is not None:
                    row.length = row.cached_tokens = self._prefixes.restore(row.whose, row.tokens, row.slot)
            begun = pieces.get(row, 0)
            count = min(row.unread_tokens - begun, most, budget)
            if count:
                pieces[row] = begun + count
                budget -= count
        return list(pieces.items())

    def _read_by_another(self, row: Row, others: list[Row]) -> bool:
        """Whether somebody is just reading a beginning that this row needs too: it is worth waiting for."""
        if row.length:
            return False
        candidates = [other for other in others if other.whose == row.whose]
        shared = max((shared_tokens(row.tokens[:-1], other.tokens) for other in candidates), default=0)
        return shared >= BLOCK_TOKENS and shared >= self._prefixes.match(row.whose, row.tokens) + BLOCK_TOKENS

    def _advance(self, step: Step) -> None:
        """One forward: a token of every reply, and pieces of the prompts."""
        began = self._clock()
        writing = [row for row in self._rows if not row.reading]
        pieces = [*((row, 1) for row in writing), *self._pieces(self._pace.reading_tokens(len(writing)))]
        chunks = []
        for row, count in pieces:
            assert row.slot is not None
            tokens = row.tokens[row.length : row.length + count]
            complete = row.length + count == len(row.tokens)
            chunks.append(Chunk(tokens, row.length, row.version, int(complete), row.slot))
        logits = self._decoder.forward(chunks)
        read = sum(count for _, count in pieces) - len(writing)
        self._pace.took(self._clock() - began, len(writing), read)
        for row, count in pieces:
            row.length += count
            if row.length == row.prompt_tokens and row.slot is not None:
                self._prefixes.keep(row.whose, row.tokens, row.slot)
        self._extend([row for row, _ in pieces if row.length == len(row.tokens)], logits, step)

    def _extend(self, rows: list[Row], logits: torch.Tensor, step: Step) -> None:
        """Pick each row's next token from its logits (B, V) and turn it into text."""
        if not rows:
            return
        for row, picked in zip(rows, pick(logits, [row.picking for row in rows]), strict=True):
            row.tokens.append(picked.token)
            text, reason = self._text_of(row, picked)
            if text or reason:
                counts = row.prompt_tokens, row.completion_tokens
                delta = Delta(text, *counts, reason, row.cached_tokens, row.text.take_logprobs())
                step.deltas.append((row.id, delta))
            if reason:
                self._leave(row)

    def _text_of(self, row: Row, picked: Picked) -> tuple[str, FinishReason | None]:
        if picked.token in self._stop_tokens and not row.sampling.ignore_eos:
            return row.text.finish(), "stop"
        text = row.text.push(picked.token, self._describe(picked))
        if row.text.stopped:
            return text, "stop"
        limit = min(row.sampling.max_tokens, self.context_tokens - row.prompt_tokens)
        ended = row.picking.ended or ("length" if row.completion_tokens >= limit else None)
        if ended is None:
            return text, None
        text += row.text.finish()
        return text, "stop" if row.text.stopped else ended

    def _leave(self, row: Row) -> None:
        self._rows.remove(row)
        if row.slot is not None:
            self._prefixes.keep(row.whose, row.tokens[: row.length], row.slot)
            row.slot.clear()
            self._free.append(row.slot)
            row.slot = None
