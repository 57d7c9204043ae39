"""Log-probabilities of given tokens, computed on the path that serves: same cache, same adapters, same dtype.

Promises: a step costs a bounded number of tokens, so that replies being written are held up by one piece at most.
Leaves out what the tokens mean; a job says which of its tokens count.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from service.engines.local.decoder import Chunk, Decoder
from service.engines.local.slot_cache import SlotCache

STEP_TOKENS = 1024
"""Tokens a scoring step takes, padding included, when nobody waits for a reply."""

PATIENT_STEP_TOKENS = 256
"""The same while replies are being written."""


@dataclass(eq=False)
class ScoreJob:
    """Score `tokens[first:]`, each given all before it. `id` is the call, `index` its place in the answer."""

    id: int
    index: int
    version: str
    tokens: list[int]
    first: int
    scores: list[float] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many tokens the model reads: the last one is only predicted."""
        return len(self.tokens) - 1


class Scoring:
    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._waiting: deque[ScoreJob] = deque()
        self._batch: list[ScoreJob] = []
        self._cache = SlotCache(0)
        self._done = 0  # how many positions of the batch have been read
        self._width = 0

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._batch)

    def uses(self, version: str) -> bool:
        return any(job.version == version for job in (*self._batch, *self._waiting))

    def add(self, jobs: Sequence[ScoreJob]) -> None:
        """Queue jobs that score at least one token each, similar lengths together."""
        self._waiting.extend(sorted(jobs, key=lambda job: job.inputs))

    def cancel(self, id: int) -> None:
        """Forget a call's jobs; a running batch is dropped only if nobody else is in it."""
        self._waiting = deque(job for job in self._waiting if job.id != id)
        if all(job.id == id for job in self._batch):
            self._batch = []

    def step(self, *, patient: bool) -> list[ScoreJob]:
        """Read one more piece of the batch; returns its jobs once they are complete."""
        if not self._batch:
            self._form_batch(PATIENT_STEP_TOKENS if patient else STEP_TOKENS)
        chunks = [self._chunk(job) for job in self._batch]
        logits = self._decoder.forward(self._cache, 0, chunks)  # (N, V), the rows' kept positions in order
        self._record(chunks, logits)
        self._done += self._width
        if any(job.inputs > self._done for job in self._batch):
            return []
        finished, self._batch = self._batch, []
        self._cache = SlotCache(0)
        return finished

    def _form_batch(self, budget: int) -> None:
        self._width = 0
        while self._waiting:
            width = max(self._width, min(self._waiting[0].inputs, PATIENT_STEP_TOKENS))
            if self._batch and width * (len(self._batch) + 1) > budget:
                break
            self._width = width
            self._batch.append(self._waiting.popleft())
        self._cache = SlotCache(len(self._batch))
        self._done = 0

    def _chunk(self, job: ScoreJob) -> Chunk:
        stop = min(self._done + self._width, job.inputs)
        tokens = job.tokens[self._done : stop]
        # The logits at position p predict token p + 1, so that `first` is predicted at first - 1.
        keep = min(len(tokens), stop - max(self._done, job.first - 1))
        return Chunk(tokens, self._done, job.version, max(0, keep))

    def _record(self, chunks: list[Chunk], logits: torch.Tensor) -> None:
        targets: list[int] = []
        for job, chunk in zip(self._batch, chunks, strict=True):
            end = chunk.start + len(chunk.tokens) + 1
            targets += job.tokens[end - chunk.keep : end] if chunk.keep else []
        if not targets:
            return
        index = torch.tensor(targets, device=logits.device).unsqueeze(1)  # (N, 1)
        scores = (logits.gather(1, index).squeeze(1) - logits.logsumexp(-1)).tolist()  # (N,)
        for job, chunk in zip(self._batch, chunks, strict=True):
            job.scores += scores[: chunk.keep]
            scores = scores[chunk.keep :]
