"""What a run would take, before it runs: tokens from the tokenizer, time and memory from a few steps of its methods.

Reads what to train on from a stream, so that nobody's words touch the disk; what the trained steps leave (checkpoints)
goes into a scratch folder that the caller removes. Leaves out judging, which takes an engine and a candidate.

    {"base_model": …, "methods": [...], "hyperparameters": {...}, "seed": 1, "processes": 1}   the first line: a Plan
    {"side": "train", "row": {...}}                                                every other one: a Row and its side
"""

import gc
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import SPLITS, Method, Row, Split
from trainer.pace import TIMED_STEPS, Amount, Measured, Sides, Stopwatch, measure
from trainer.progress import RunProgress


class Plan(BaseModel):
    base_model: str
    methods: list[Method]
    hyperparameters: Hyperparameters
    seed: int
    processes: int = 1
    """How many will train together. One measures."""


class PlannedRow(BaseModel):
    side: Split
    row: Row


class Tokens(BaseModel):
    """Of one method's rows on one side. A pair is two sequences, its prompt with either reply."""

    method: Method
    side: Split
    rows: int
    median: int = 0
    longest: int = 0
    total: int = 0
    """What of them fits."""
    cut: int = 0
    """Rows whose reply doesn't fit into max_length as a whole."""
    left_out: int = 0
    """Rows whose prompt leaves no room for a reply."""


class Estimate(BaseModel):
    tokens: list[Tokens]
    methods: list[Measured]
    seconds: float
    """At most, where a search takes the place of a training."""
    uncertainty: float
    peak_memory_bytes: int
    """Of the training process after those steps, which a whole run passes; on CUDA, of the GPU."""
    device: str
    dtype: str
    processes: int
    """That a run has. Time and memory are of one."""


def estimate(lines: Iterable[str], scratch: Path, models_folder: Path, device: str = "auto") -> Estimate:
    from service.engines.local.base_model import choose_device, choose_dtype, load_tokenizer, resolve_base_model
    from trainer.methods.stage import Stage

    stream = iter(lines)
    plan = Plan.model_validate_json(next(stream))
    rows = [PlannedRow.model_validate_json(line) for line in stream]
    base, device = resolve_base_model(plan.base_model, models_folder), choose_device(device)
    tokenizer = load_tokenizer(base)
    longest = plan.hyperparameters.max_length
    lengths = {id(one): _lengths(one.row, tokenizer) for one in rows}
    tokens: list[Tokens] = []
    measured: list[Measured] = []
    trained: Path | None = None
    for method in plan.methods:
        sides = {split: [one for one in rows if one.side == split and one.row.method == method] for split in SPLITS}
        counted = {
            split: _count(method, split, [lengths[id(one)] for one in some], longest) for split, some in sides.items()
        }
        tokens += counted.values()
        train, dev = ([one for one in sides[side] if lengths[id(one)][0] < longest] for side in ("train", "dev"))
        if train:
            batch = plan.hyperparameters.per_device_train_batch_size
            few_train, few_dev = _sample(train, lengths, (TIMED_STEPS + 1) * batch), dev[: 2 * batch]
            stage = Stage(
                method=method,
                rows=[one.row for one in few_train],
                dev=[one.row for one in few_dev],
                hyperparameters=plan.hyperparameters,
                seed=plan.seed,
                base_path=base,
                device=device,
                start=trained,
                folder=scratch / "checkpoints" / method,
                progress=Stopwatch(scratch / "metrics.json"),
            )
            sample, whole = (
                Sides(*(Amount(len(some), sum(_kept(lengths[id(one)], longest) for one in some)) for some in both))
                for both in ((few_train, few_dev), (train, dev))
            )
            measured.append(measure(stage, sample, whole, plan.processes))
            trained = stage.final
            gc.collect()
    seconds = sum(one.most_seconds for one in measured)
    apart = sum(one.most_seconds * one.uncertainty for one in measured)
    return Estimate(
        tokens=tokens,
        methods=measured,
        seconds=round(seconds, 1),
        uncertainty=round(apart / seconds, 2) if seconds else 0.0,
        peak_memory_bytes=_peak_memory(device, scratch),
        device=device,
        dtype=str(choose_dtype("auto", device)).removeprefix("torch."),
        processes=plan.processes,
    )


def _lengths(row: Row, tokenizer: Any) -> tuple[int, list[int]]:
    """Tokens of the prompt, and of each sequence with it."""
    from trainer.methods.stage import completion_tokens, prompt_tokens

    prompt = len(prompt_tokens(tokenizer, row.prompt))
    replies = [turns for turns in (row.completion, row.chosen, row.rejected) if turns is not None]
    return prompt, [prompt + len(completion_tokens(tokenizer, turns)) for turns in replies]


def _count(method: Method, side: Split, lengths: Sequence[tuple[int, list[int]]], longest: int) -> Tokens:
    """
    >>> _count("dpo", "train", [(4, [6, 12]), (10, [12, 13])], 10)
    Tokens(method='dpo', side='train', rows=2, median=12, longest=13, total=16, cut=1, left_out=1)
    """
    if not lengths:
        return Tokens(method=method, side=side, rows=0)
    sequences = [length for _, some in lengths for length in some]
    kept = [(prompt, some) for prompt, some in lengths if prompt < longest]
    return Tokens(
        method=method,
        side=side,
        rows=len(lengths),
        median=round(statistics.median(sequences)),
        longest=max(sequences),
        total=sum(_kept(one, longest) for one in kept),
        cut=sum(max(some) > longest for _, some in kept),
        left_out=len(lengths) - len(kept),
    )


def _kept(lengths: tuple[int, list[int]], longest: int) -> int:
    return sum(min(length, longest) for length in lengths[1])


def _sample(rows: Sequence[PlannedRow], lengths: dict[int, tuple[int, list[int]]], count: int) -> Sequence[PlannedRow]:
    """As many short and long ones as there are of each; the longest among them, for the memory that it takes."""
    by_length = sorted(rows, key=lambda one: sum(lengths[id(one)][1]))
    if len(rows) <= count:
        return by_length
    return [by_length[round((number + 1) * (len(rows) - 1) / count)] for number in range(count)]


def _peak_memory(device: str, scratch: Path) -> int:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    progress = RunProgress(scratch / "metrics.json")
    progress.write()
    return int(progress.data["peak_memory_bytes"])
