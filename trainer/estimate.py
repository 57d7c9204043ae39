"""What a run would take, before it runs: tokens from the tokenizer, time and memory from a few steps of its methods.

Reads what to train on from a stream, so that nobody's words touch the disk; what the trained steps leave (checkpoints)
goes into a scratch folder that the caller removes. Leaves out judging, which takes an engine and a candidate.

    {"base_model": …, "methods": [...], "hyperparameters": {...}, "seed": 1}     the first line: a Plan
    {"side": "train", "row": {...}}                                                every other one: a Row and its side
"""

import gc
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import SPLITS, Method, Row, Split
from trainer.progress import RunProgress

TIMED_STEPS = 4
"""After the first one of a method, which is slower than those that follow."""
LEAST_UNCERTAINTY = 0.15
"""However alike the timed steps are, hours on a machine that others use aren't."""


class Plan(BaseModel):
    base_model: str
    methods: list[Method]
    hyperparameters: Hyperparameters
    seed: int


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


class Measured(BaseModel):
    method: Method
    steps: int
    seconds: float
    uncertainty: float
    """As a share of `seconds`, either way: how far half of the timed steps were from their median at most."""
    tokens_per_second: float


class Estimate(BaseModel):
    tokens: list[Tokens]
    methods: list[Measured]
    seconds: float
    uncertainty: float
    peak_memory_bytes: int
    """Of the training process after those steps, which a whole run passes; on CUDA, of the GPU."""
    device: str
    dtype: str


def estimate(lines: Iterable[str], scratch: Path, models_folder: Path, device: str = "auto") -> Estimate:
    from service.engines.local.base_model import choose_device, choose_dtype, load_tokenizer, resolve_base_model

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
        fitting = [one for one in sides["train"] if lengths[id(one)][0] < longest]
        if fitting:
            sample = _sample(fitting, lengths, (TIMED_STEPS + 1) * plan.hyperparameters.per_device_train_batch_size)
            measured.append(
                _measure(
                    method,
                    plan,
                    [one.row for one in sample],
                    [one.row for one in sides["dev"][: 2 * plan.hyperparameters.per_device_train_batch_size]],
                    len(fitting),
                    counted,
                    sum(_kept(lengths[id(one)], longest) for one in sample),
                    base,
                    device,
                    scratch,
                    trained,
                )
            )
            trained = scratch / "checkpoints" / method / "final"
            gc.collect()
    seconds = sum(one.seconds for one in measured)
    apart = sum(one.seconds * one.uncertainty for one in measured)
    return Estimate(
        tokens=tokens,
        methods=measured,
        seconds=round(seconds, 1),
        uncertainty=round(apart / seconds, 2) if seconds else 0.0,
        peak_memory_bytes=_peak_memory(device, scratch),
        device=device,
        dtype=str(choose_dtype("auto", device)).removeprefix("torch."),
    )


def steps_of(method: Method, rows: int, hyperparameters: Hyperparameters) -> int:
    """Optimizer steps, unless early stopping ends them before.

    >>> [steps_of(method, 17, Hyperparameters(num_train_epochs=2)) for method in ("sft", "dpo", "kto")]
    [6, 3, 2]
    """
    batch = hyperparameters.per_device_train_batch_size
    if method == "sft":
        return math.ceil(rows / batch) * hyperparameters.num_train_epochs
    if method == "kto":
        batch = max(2, batch)  # a last batch of one is dropped: it has nobody to be compared with
        return (rows // batch + (rows % batch > 1)) * hyperparameters.preference_epochs
    return math.ceil(rows / batch) * hyperparameters.preference_epochs


class _Stopwatch(RunProgress):
    """Notes when each step, and each look at dev, was done."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.began = time.perf_counter()
        self.last = 0
        self.done: list[tuple[Literal["step", "dev"], float]] = []

    def step(self, step: int, total: int, epoch: float | None = None, note: str = "") -> None:
        super().step(step, total, epoch, note)
        if step > self.last:  # the beginning is told, too, as step 0
            self.last = step
            self.done.append(("step", time.perf_counter()))

    def loss(self, step: int, epoch: float, **values: Any) -> None:
        super().loss(step, epoch, **values)
        if values.get("dev_loss") is not None:
            self.done.append(("dev", time.perf_counter()))

    def seconds_of(self, kind: Literal["step", "dev"]) -> list[float]:
        """How long each took; the first step counts from the beginning."""
        starts = [self.began, *(at for _, at in self.done)]
        return [at - start for start, (what, at) in zip(starts, self.done, strict=False) if what == kind]


def _measure(
    method: Method,
    plan: Plan,
    sample: list[Row],
    dev: list[Row],
    rows: int,
    counted: dict[Split, Tokens],
    sample_tokens: int,
    base: str,
    device: str,
    scratch: Path,
    start: Path | None,
) -> Measured:
    """Train the method on a sample of its rows, and scale up what that took."""
    from trainer.methods.stage import Stage

    chosen = plan.hyperparameters
    at_once = max(1, steps_of(method, len(sample), _once(chosen)))
    epochs = math.ceil((TIMED_STEPS + 1) / at_once)
    few = {"num_train_epochs": epochs, "preference_epochs": epochs, "early_stopping_patience": epochs + 1}
    watch = _Stopwatch(scratch / "metrics.json")
    stage = Stage(
        method=method,
        rows=sample,
        dev=dev,
        hyperparameters=chosen.model_copy(update=few),
        seed=plan.seed,
        base_path=base,
        device=device,
        start=start,
        folder=scratch / "checkpoints" / method,
        progress=watch,
    )
    with watch.stage(method):
        import_module(f"trainer.methods.{method}").train(stage)
    first, *timed = watch.seconds_of("step")
    pace = statistics.median(timed)  # one that was held up, by a checkpoint or a neighbour, isn't the rule
    steps, steps_a_pass = steps_of(method, rows, chosen), max(1, steps_of(method, rows, _once(chosen)))
    # a step of the whole may have more or fewer tokens than one of the sample
    a_step = pace * (counted["train"].total / steps_a_pass) / (sample_tokens / at_once)
    looks = watch.seconds_of("dev")
    looked = statistics.mean(looks) / len(dev) * counted["dev"].rows * chosen.num_train_epochs if looks else 0.0
    apart = statistics.median(abs(one - pace) for one in timed) / pace
    return Measured(
        method=method,
        steps=steps,
        seconds=round(max(0.0, first - pace) + steps * a_step + looked, 1),
        uncertainty=round(max(LEAST_UNCERTAINTY, apart), 2),
        tokens_per_second=round(sample_tokens / at_once / pace, 1),
    )


def _once(hyperparameters: Hyperparameters) -> Hyperparameters:
    return hyperparameters.model_copy(update={"num_train_epochs": 1, "preference_epochs": 1})


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
