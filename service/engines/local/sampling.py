"""Picking the next token of every row of a batch at once.

Promises: settings act in vLLM's order: bias and penalties, the schema's mask, temperature, top_k, top_p, min_p, then
a draw; a row's token depends on its own logits, settings and random stream only, never on who else is in the batch.
Leaves out when a reply ends (`scheduler`) and what a schema allows (`structured`).
"""

import random
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy
import torch
from numpy.typing import NDArray

from service.engines.base import FinishReason, SamplingParams
from service.engines.local.structured import Matcher

BLOCK = 256
"""A draw finds the block of so many tokens by the blocks' sums, then the token in it: long running sums are slow."""

GREEDY_BELOW = 1e-5
LEAST_TEMPERATURE = 0.01
"""As in vLLM: below the first a temperature is greedy; below the second it would only amplify rounding errors."""

Floats = NDArray[numpy.floating[Any]]
Chooser = Callable[[torch.Tensor, Sequence["Picking"]], list[int]]


class Picked(NamedTuple):
    """A row's token. Log-probabilities are the model's own, from before any setting; None where nobody asked."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Picking:
    """What a request's next token depends on besides the logits: its settings, its dice, what it has written."""

    def __init__(self, sampling: SamplingParams, prompt: Sequence[int], matcher: Matcher | None = None) -> None:
        self.sampling = sampling
        self.matcher = matcher
        self.edits = Edits(sampling, prompt) if Edits.needed(sampling) else None
        self.greedy = sampling.temperature < GREEDY_BELOW
        self.cut = sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0
        seed = None if sampling.seed is None else str(sampling.seed)  # as a number, -1 gives the same stream as 1
        self._random = random.Random(seed)  # noqa: S311 - sampling, no secret

    @property
    def ended(self) -> FinishReason | None:
        """Why the reply ends here by its schema: the document is complete, or can't be followed further."""
        return self.matcher.ended if self.matcher is not None else None

    def uniform(self) -> float:
        """The next number of the request's own stream, in [0, 1): one for each token drawn."""
        return self._random.random()

    def advance(self, token: int) -> None:
        """The token was written."""
        if self.edits is not None:
            self.edits.count(token)
        if self.matcher is not None:
            self.matcher.advance(token)


class Edits:
    """The tokens whose logits a request's settings change, as columns: a whole batch is a few vector operations.

    `logit_bias` adds. Then `repetition_penalty` divides positive logits and multiplies negative ones, of all tokens
    in prompt and reply (Keskar et al. 2019, section 4.1). Then `frequency_penalty` subtracts for each time a token
    was written, `presence_penalty` once.
    """

    def __init__(self, sampling: SamplingParams, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._places: dict[int, int] = {}
        self.tokens, self.added, self.divided, self._written = array("q"), array("d"), array("d"), array("d")
        for token in sampling.logit_bias:
            self._place(token)
        if sampling.repetition_penalty != 1:
            for token in prompt:
                self.divided[self._place(token)] = sampling.repetition_penalty

    @staticmethod
    def needed(sampling: SamplingParams) -> bool:
        penalised = sampling.frequency_penalty or sampling.presence_penalty or sampling.repetition_penalty != 1
        return bool(penalised or sampling.logit_bias)

    def count(self, token: int) -> None:
        """The token was written once more."""
        place = self._place(token)
        self.divided[place] = self._sampling.repetition_penalty
        self._written[place] += 1

    def subtracted(self) -> Floats:
        written = numpy.asarray(self._written)
        return written * self._sampling.frequency_penalty + (written > 0) * self._sampling.presence_penalty

    def _place(self, token: int) -> int:
        place = self._places.setdefault(token, len(self.tokens))
        if place == len(self.tokens):
            self.tokens.append(token)
            self.added.append(self._sampling.logit_bias.get(token, 0.0))
            self.divided.append(1.0)
            self._written.append(0.0)
        return place


def pick(logits: torch.Tensor, rows: Sequence[Picking]) -> list[Picked]:
    """One token for each row of `logits` (B, V), float32, which stay as they are. Each row's state moves on."""
    tokens = _choose(_blocked(_edited(logits, rows)), rows)
    picked = [Picked(token) for token in tokens]
    asked = [place for place, row in enumerate(rows) if row.sampling.logprobs is not None]
    if asked:
        for place, report in zip(asked, _report(logits, rows, tokens, asked), strict=True):
            picked[place] = report
    for row, token in zip(rows, tokens, strict=True):
        row.advance(token)
    return picked


def _edited(logits: torch.Tensor, rows: Sequence[Picking]) -> torch.Tensor:
    """The logits with bias and penalties, minus infinity where a schema forbids."""
    edits = [(place, row.edits) for place, row in enumerate(rows) if row.edits is not None]
    masks = [(place, row.matcher.forbidden) for place, row in enumerate(rows) if row.matcher is not None]
    if not edits and not masks:
        return logits
    logits = logits.clone(memory_format=torch.contiguous_format)
    if edits:
        width = logits.shape[1]
        flat = logits.view(-1)
        where = _joined([numpy.asarray(edit.tokens) + place * width for place, edit in edits]).to(logits.device)
        added, divided, subtracted = (
            _joined(column).to(logits)
            for column in (
                [edit.added for _, edit in edits],
                [edit.divided for _, edit in edits],
                [edit.subtracted() for _, edit in edits],
            )
        )
        values = flat[where] + added
        flat[where] = torch.where(values > 0, values / divided, values * divided) - subtracted
    for place, forbidden in masks:
        logits[place].masked_fill_(forbidden.to(logits.device), -torch.inf)
    return logits


def _joined(columns: Sequence[Any]) -> torch.Tensor:
    return torch.from_numpy(numpy.concatenate(columns))


def _blocked(logits: torch.Tensor) -> torch.Tensor:
    """The logits (B, N, BLOCK), the last block filled up with what is never drawn."""
    missing = -logits.shape[1] % BLOCK
    if missing:
        logits = torch.nn.functional.pad(logits, (0, missing), value=-torch.inf)
    return logits.reshape(len(logits), -1, BLOCK)


def _choose(blocks: torch.Tensor, rows: Sequence[Picking]) -> list[int]:
    """A token for each row of `blocks` (B, N, BLOCK), all rows of a kind at once."""
    kinds: dict[Chooser, list[int]] = {}
    for place, row in enumerate(rows):
        kinds.setdefault(_likeliest if row.greedy else _draw_from_cut if row.cut else _draw, []).append(place)
    tokens = [0] * len(rows)
    for choose, places in kinds.items():
        chosen = choose(_part(blocks, places), [rows[place] for place in places])
        for place, token in zip(places, chosen, strict=True):
            tokens[place] = token
    return tokens


def _part(table: torch.Tensor, places: list[int]) -> torch.Tensor:
    """Those rows of it."""
    return table if len(places) == len(table) else table[places]


def _likeliest(blocks: torch.Tensor, rows: Sequence[Picking]) -> list[int]:
    best = blocks.amax(-1).argmax(-1, keepdim=True)  # (B, 1)
    return _integers(best * BLOCK + _block(blocks, best).argmax(-1, keepdim=True))


def _draw(blocks: torch.Tensor, rows: Sequence[Picking]) -> list[int]:
    """The tokens at which the running sums of the rows' distributions pass their random numbers."""
    weights = _weights(blocks, rows).view_as(blocks)
    uniforms = torch.tensor([[row.uniform()] for row in rows], dtype=torch.float64, device=blocks.device)
    block, rest = _passed(weights.sum(-1).double(), uniforms)  # (B, 1)
    inside, _ = _passed(_block(weights, block).double(), rest)
    return _integers(block * BLOCK + inside)


def _draw_from_cut(blocks: torch.Tensor, rows: Sequence[Picking]) -> list[int]:
    """The same, of the tokens that top_k, top_p and min_p leave."""
    tokens = []
    for row, weights in zip(rows, _weights(blocks, rows).cpu().numpy(), strict=True):
        kept = _kept(weights, row.sampling)
        sums = weights[kept].cumsum(dtype=numpy.float64)
        place = int(sums.searchsorted(row.uniform() * sums[-1], side="right"))
        tokens.append(int(kept[min(place, len(kept) - 1)]))
    return tokens


def _weights(blocks: torch.Tensor, rows: Sequence[Picking]) -> torch.Tensor:
    """The rows' distributions (B, N * BLOCK) at their temperatures."""
    inverse = [[1 / max(row.sampling.temperature, LEAST_TEMPERATURE)] for row in rows]
    return torch.softmax(blocks.flatten(1) * torch.tensor(inverse, dtype=blocks.dtype, device=blocks.device), -1)


def _passed(weights: torch.Tensor, uniforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The index at which the running sum of `weights` (B, N) passes `uniforms` (B, 1) of its total, and what part of
    that index's own weight is passed: a uniform number again."""
    sums = weights.cumsum(-1)
    total = sums[:, -1:]
    targets = torch.minimum(uniforms * total, total.nextafter(total.new_zeros(())))  # rounding must not reach the end
    index = torch.searchsorted(sums, targets, right=True).masked_fill_(~(total > 0), 0)  # weights that are no numbers
    own = weights.gather(1, index)
    return index, ((targets - sums.gather(1, index) + own) / own).clamp(0, 1)


def _kept(weights: Floats, sampling: SamplingParams) -> NDArray[numpy.int64]:
    """The tokens that top_k, then top_p of these, and min_p leave. Tokens that are equally likely stay or go together.

    `weights` (N * BLOCK,) add up to one.
    """
    least, total = float(numpy.finfo(weights.dtype).smallest_subnormal), 1.0
    if 0 < sampling.top_k < len(weights):
        upper = _upper(weights, sampling.top_k)
        least = max(least, float(numpy.partition(upper, -sampling.top_k)[-sampling.top_k]))
        total = float(upper[upper >= least].sum(dtype=numpy.float64))
    elif sampling.top_p < 1:  # all below it have less than 1 - top_p together, so that few need sorting
        least = max(least, (1 - sampling.top_p) / len(weights))
    least = max(least, sampling.min_p * float(weights.max()))
    tokens = numpy.flatnonzero(weights >= least)
    if sampling.top_p < 1 and len(tokens):
        # Holtzman et al. 2020, section 3.1: the likeliest tokens up to and including the one that reaches top_p
        left = weights[tokens]
        ordered = numpy.sort(left)[::-1]
        place = int(ordered.cumsum(dtype=numpy.float64).searchsorted(sampling.top_p * total))
        tokens = tokens[left >= ordered[min(place, len(ordered) - 1)]]
    return tokens if len(tokens) else numpy.atleast_1d(weights.argmax())  # no numbers, or rounding


def _upper(weights: Floats, count: int) -> Floats:
    """Some weights with the `count` greatest among them: those from the block maximum on that comes `count`th."""
    maxima = weights.reshape(-1, BLOCK).max(1)
    if count > len(maxima):
        return weights
    upper: Floats = weights[weights >= numpy.partition(maxima, -count)[-count]]
    return upper if len(upper) else weights  # weights that are no numbers


def _report(logits: torch.Tensor, rows: Sequence[Picking], tokens: Sequence[int], asked: list[int]) -> list[Picked]:
    """The picks of the rows that asked for log-probabilities."""
    table = _part(logits, asked).log_softmax(-1)  # (A, V)
    chosen = [tokens[place] for place in asked]
    own = table.gather(1, torch.tensor(chosen, device=table.device).unsqueeze(1)).squeeze(1).tolist()
    counts = [min(rows[place].sampling.logprobs or 0, table.shape[1]) for place in asked]
    values, ids = (found.tolist() for found in table.topk(max(counts)))
    return [
        Picked(token, logprob, tuple(zip(row_ids[:count], row_values[:count], strict=True)))
        for token, logprob, row_ids, row_values, count in zip(chosen, own, ids, values, counts, strict=True)
    ]


def _block(blocks: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Of each row of `blocks` (B, N, BLOCK) the block of that `number` (B, 1)."""
    return blocks[torch.arange(len(blocks), device=blocks.device), number.squeeze(1)]


def _integers(column: torch.Tensor) -> list[int]:
    return [int(number) for number in column.flatten().tolist()]
