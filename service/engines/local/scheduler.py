"""Continuous batching: which rows run in the next step, and what comes out of them.

Promises: requests join and leave between steps; a long prompt is read in pieces so that replies being written
are held up by one piece at most; scoring takes its turn beside both, a bounded piece a step; a row keeps its
adapter version to the end; the same seed gives the same random stream whoever else is in the batch.
Leaves out processes and messages (`worker`) and the model (`decoder`).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from service.engines.base import Delta, FinishReason, SamplingParams, TokenLogprob
from service.engines.local.decoder import Chunk, Decoder
from service.engines.local.sampling import Picked, Picking, pick
from service.engines.local.scoring import ScoreJob, Scoring
from service.engines.local.slot_cache import SlotCache
from service.engines.local.structured import Matcher
from service.engines.local.text_stream import TextStream

PREFILL_TOKENS = 256
"""How many prompt tokens, padding included, one step reads."""


@dataclass(eq=False)
class Row:
    """A running request. `length` of its tokens are in the cache; `tokens` is the prompt and what was picked."""

    id: int
    version: str
    tokens: list[int]
    prompt_tokens: int
    sampling: SamplingParams
    text: TextStream
    picking: Picking
    length: int = 0

    @property
    def completion_tokens(self) -> int:
        return len(self.tokens) - self.prompt_tokens


@dataclass
class Step:
    """What one step produced: deltas by request id, and scores by job."""

    deltas: list[tuple[int, Delta]] = field(default_factory=list)
    scored: list[ScoreJob] = field(default_factory=list)


class Scheduler:
    def __init__(
        self,
        decoder: Decoder,
        *,
        slots: int,
        context_tokens: int,
        stop_tokens: frozenset[int],
        decode: Callable[[list[int]], str],
        describe: Callable[[Picked], TokenLogprob | None],
    ) -> None:
        self.context_tokens = context_tokens
        self._decoder = decoder
        self._slots = slots
        self._stop_tokens = stop_tokens
        self._decode = decode
        self._describe = describe
        self._cache = SlotCache(slots)
        self._waiting: deque[Row] = deque()
        self._rows: list[Row] = []  # a row's place is its slot: those writing first, then those still reading
        self._writing = 0
        self._scoring = Scoring(decoder)

    @property
    def busy(self) -> bool:
        return bool(self._rows or self._waiting or self._scoring.busy)

    def uses(self, version: str) -> bool:
        rows = (*self._rows, *self._waiting)
        return any(row.version == version for row in rows) or self._scoring.uses(version)

    def submit(
        self, id: int, version: str, prompt: Sequence[int], sampling: SamplingParams, matcher: Matcher | None = None
    ) -> None:
        """Queue a request whose prompt leaves room for at least one token; `matcher` is its schema's."""
        self._waiting.append(
            Row(
                id=id,
                version=version,
                tokens=list(prompt),
                prompt_tokens=len(prompt),
                sampling=sampling,
                text=TextStream(self._decode, sampling.stop),
                picking=Picking(sampling, prompt, matcher),
            )
        )

    def score(self, jobs: Sequence[ScoreJob]) -> None:
        self._scoring.add(jobs)

    def cancel(self, id: int) -> None:
        """Forget a request or a scoring call; its slot is free in the next step. Unknown ids are ignored."""
        self._scoring.cancel(id)
        self._waiting = deque(row for row in self._waiting if row.id != id)
        with torch.inference_mode():
            for row in [row for row in self._rows if row.id == id]:
                self._leave(row)

    def step(self) -> Step:
        """Read a piece of the prompts, write one token a row, score a piece."""
        step = Step()
        with torch.inference_mode():
            while self._waiting and len(self._rows) < self._slots:
                self._rows.append(self._waiting.popleft())
            if self._writing < len(self._rows):
                self._read(step)
            if self._writing:
                self._write(step)
            if self._scoring.busy:
                step.scored = self._scoring.step(patient=bool(self._rows))
        if not self.busy:
            self._cache.shrink()
        return step

    def _read(self, step: Step) -> None:
        """Read the next piece of the prompts that joined, several short ones at once."""
        chunks: list[Chunk] = []
        widest = 0
        for row in self._rows[self._writing :]:
            piece = row.tokens[row.length : row.length + PREFILL_TOKENS]
            widest = max(widest, len(piece))
            if chunks and widest * (len(chunks) + 1) > PREFILL_TOKENS:
                break
            done = row.length + len(piece) == row.prompt_tokens
            chunks.append(Chunk(piece, row.length, row.version, keep=int(done)))
        rows = self._rows[self._writing : self._writing + len(chunks)]
        logits = self._decoder.forward(self._cache, self._writing, chunks)
        for row, chunk in zip(rows, chunks, strict=True):
            row.length += len(chunk.tokens)
        ready = [row for row in rows if row.length == row.prompt_tokens]
        for row in ready:
            self._exchange(self._rows.index(row), self._writing)
            self._writing += 1
        if ready:
            self._extend(ready, logits, step)

    def _write(self, step: Step) -> None:
        rows = self._rows[: self._writing]
        chunks = [Chunk(row.tokens[-1:], row.length, row.version, keep=1) for row in rows]
        logits = self._decoder.forward(self._cache, 0, chunks)
        for row in rows:
            row.length += 1
        self._extend(rows, logits, step)

    def _extend(self, rows: list[Row], logits: torch.Tensor, step: Step) -> None:
        """Pick each row's next token from its logits (B, V) and turn it into text."""
        for row, picked in zip(rows, pick(logits, [row.picking for row in rows]), strict=True):
            row.tokens.append(picked.token)
            text, reason = self._text_of(row, picked)
            if text or reason:
                counts = row.prompt_tokens, row.completion_tokens
                step.deltas.append((row.id, Delta(text, *counts, reason, logprobs=row.text.take_logprobs())))
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
        """Free a row's slot, closing the gap: first with the last writing row, then with the last row."""
        gap = self._rows.index(row)
        if gap < self._writing:
            self._writing -= 1
            gap = self._fill(gap, self._writing)
        self._fill(gap, len(self._rows) - 1)
        self._rows.pop()

    def _fill(self, gap: int, last: int) -> int:
        """Move the row at `last` into the gap; the gap is then at `last`."""
        if gap != last:
            self._cache.move(last, gap, self._rows[last].length)
            self._rows[gap] = self._rows[last]
        return last

    def _exchange(self, one: int, other: int) -> None:
        if one != other:
            self._cache.swap(one, other, max(self._rows[one].length, self._rows[other].length))
            self._rows[one], self._rows[other] = self._rows[other], self._rows[one]
