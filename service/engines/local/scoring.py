"""Log-probabilities of given tokens, computed on the path that serves: same cache, same adapters, same dtype.

Promises: a step costs a bounded number of tokens, so that replies being written are held up by one piece at most,
and its logits a bounded amount of memory.
Leaves out what the tokens mean; a job says which of its tokens count.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from service.engines.local.decoder import Chunk, Decoder, Slot

STEP_TOKENS = 1024
"""Tokens a scoring step takes, padding included, when nobody waits for a reply."""

PATIENT_STEP_TOKENS = 64
"""The same while replies are being written."""

LARGEST_GROUP = 16
"""Completions of one prompt that are read side by side."""

LOGITS_BYTES = 256 << 20
"""Memory that a step's logits may take: with a vocabulary of 150,000 words a token's are 600 kB."""


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


@dataclass(eq=False)
class _Pass:
    """One reading of a batch: rows of tokens that continue their slots from `start` on, at most `width` a step."""

    rows: list[list[int]]
    starts: list[int]
    versions: list[str]
    slots: Sequence[Slot]
    keep: int | None  # how many last positions' logits are wanted; None: all
    width: int
    done: int = 0

    def chunks(self) -> list[Chunk]:
        made = []
        for row, start, version, slot in zip(self.rows, self.starts, self.versions, self.slots, strict=True):
            tokens = row[self.done : self.done + self.width]
            ends = self.done + len(tokens) == len(row)
            keep = len(tokens) if self.keep is None else min(self.keep, len(tokens)) * ends
            made.append(Chunk(tokens, start + self.done, version, keep, slot))
        return made


class Scoring:
    """Two passes a batch: each prompt is read once, then all its completions side by side."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._most_kept = LOGITS_BYTES // (4 * decoder.vocabulary)  # positions a step may have logits of
        self._waiting: deque[list[ScoreJob]] = deque()  # jobs of one prompt and version together
        self._batch: list[list[ScoreJob]] = []
        self._pass: _Pass | None = None

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._batch)

    def uses(self, version: str) -> bool:
        return any(group[0].version == version for group in (*self._batch, *self._waiting))

    def add(self, jobs: Sequence[ScoreJob]) -> None:
        """Queue jobs that score at least one token each, similar lengths together."""
        groups: dict[tuple[str, tuple[int, ...]], list[ScoreJob]] = {}
        for job in jobs:
            groups.setdefault((job.version, tuple(job.tokens[: job.first])), []).append(job)
        parts = [
            group[start : start + LARGEST_GROUP]
            for group in groups.values()
            for start in range(0, len(group), LARGEST_GROUP)
        ]
        self._waiting.extend(sorted(parts, key=lambda group: (group[0].first, max(job.inputs for job in group))))

    def cancel(self, id: int) -> None:
        """Forget a call's jobs; a running batch is dropped only if nobody else is in it."""
        kept = ([job for job in group if job.id != id] for group in self._waiting)
        self._waiting = deque(group for group in kept if group)
        if all(job.id == id for group in self._batch for job in group):
            self._batch, self._pass = [], None

    def step(self, *, patient: bool) -> list[ScoreJob]:
        """Read one more piece of the batch; returns its jobs once they are complete."""
        if self._pass is None:
            self._begin(PATIENT_STEP_TOKENS if patient else STEP_TOKENS)
        reading = self._pass
        assert reading is not None
        chunks = reading.chunks()
        logits = self._decoder.forward(chunks)  # (N, V), the rows' kept positions in order
        if reading.keep is None:
            self._record_completions(chunks, logits)
        elif any(chunk.keep for chunk in chunks):
            self._record_prompts(chunks, logits)
        reading.done += reading.width
        if any(reading.done < len(row) for row in reading.rows):
            return []
        if reading.keep is not None and self._continue():
            return []
        finished = [job for group in self._batch for job in group]
        self._batch, self._pass = [], None
        return finished

    def _begin(self, budget: int) -> None:
        """Take as many prompts as fit the budget in either pass, and start reading them."""
        prompt_width = completion_width = rows = 0
        while self._waiting:
            group = self._waiting[0]
            prompt = max(prompt_width, min(group[0].first, PATIENT_STEP_TOKENS))
            completion = max(completion_width, min(max(job.inputs - job.first for job in group), PATIENT_STEP_TOKENS))
            widest = max(prompt * (len(self._batch) + 1), completion * (rows + len(group)))
            if self._batch and (widest > budget or rows + len(group) > self._most_kept):
                break
            prompt_width, completion_width, rows = prompt, completion, rows + len(group)
            self._batch.append(self._waiting.popleft())
        self._pass = _Pass(
            rows=[group[0].tokens[: group[0].first] for group in self._batch],
            starts=[0] * len(self._batch),
            versions=[group[0].version for group in self._batch],
            slots=self._decoder.open_slots(len(self._batch)),
            keep=1,  # the last prompt token predicts the first scored one, for all completions alike
            width=prompt_width,
        )

    def _continue(self) -> bool:
        """Give every completion its prompt's cache; False when the prompts have predicted all there is."""
        jobs = [job for group in self._batch for job in group]
        rows = [job.tokens[job.first : -1] for job in jobs]
        width = max(len(row) for row in rows)
        if width == 0:
            return False
        assert self._pass is not None
        slots = self._decoder.open_slots(len(jobs))
        copies = iter(slots)
        for group, slot in zip(self._batch, self._pass.slots, strict=True):
            read = slot.read(0, group[0].first)
            for _ in group:
                next(copies).write(0, read)
        versions = [job.version for job in jobs]
        starts = [job.first for job in jobs]
        width = min(width, PATIENT_STEP_TOKENS, max(1, self._most_kept // len(rows)))
        self._pass = _Pass(rows, starts, versions, slots, keep=None, width=width)
        return True

    def _record_prompts(self, chunks: list[Chunk], logits: torch.Tensor) -> None:
        ended = [group for group, chunk in zip(self._batch, chunks, strict=True) if chunk.keep]
        jobs = [job for group in ended for job in group]
        row = [number for number, group in enumerate(ended) for _ in group]
        targets = torch.tensor([job.tokens[job.first] for job in jobs], device=logits.device)
        scores = logits[row, targets] - logits.logsumexp(-1)[row]
        for job, score in zip(jobs, scores.tolist(), strict=True):
            job.scores.append(score)

    def _record_completions(self, chunks: list[Chunk], logits: torch.Tensor) -> None:
        jobs = [job for group in self._batch for job in group]
        targets: list[int] = []
        for job, chunk in zip(jobs, chunks, strict=True):
            targets += job.tokens[chunk.start + 1 : chunk.start + 1 + chunk.keep]
        index = torch.tensor(targets, device=logits.device).unsqueeze(1)  # (N, 1)
        scores = (logits.gather(1, index).squeeze(1) - logits.logsumexp(-1)).tolist()  # (N,)
        for job, chunk in zip(jobs, chunks, strict=True):
            job.scores += scores[: chunk.keep]
            scores = scores[chunk.keep :]
