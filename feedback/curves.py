"""A training's curves: as points to draw, and what they mean, in words that say what to do next.

Reads the run's metrics.json alone: the loss on dev before the first epoch and after each, what the search tried, which
factor dev chose. Promises no more than dev can tell: how many rows it has stands beside every reading.
Leaves out the verdict, which knows nothing of training.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

MOST_POINTS = 300
"""Of a curve; of a longer one some, evenly, and the last."""

SMALL_DEV_ROWS = 30
"""Fewer rows than this are a hint; the loss of so few moves by a tenth with whose words they are."""
FLAT_SHARE = 0.01
"""A fall of the dev loss below this share of its start is none."""
FALLING_SHARE = 0.03
"""What the last epoch must still have taken off the loss, as a share of it, to ask for another one."""

NAMES = {"sft": "SFT", "dpo": "DPO", "kto": "KTO"}
EPOCHS = {"sft": "num_train_epochs", "dpo": "preference_epochs", "kto": "preference_epochs"}
RATES = {"sft": "learning_rate", "dpo": "preference_learning_rate", "kto": "preference_learning_rate"}


class Curve(BaseModel):
    """A method's losses, each as (epoch, loss)."""

    method: str
    train: list[tuple[float, float]]
    dev: list[tuple[float, float]]

    def scaled(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Training's and dev's points in a plot of 0 … 1, high losses on top.

        >>> Curve(method="sft", train=[(1, 2.0), (2, 1.0)], dev=[(2, 1.5)]).scaled()
        ([(0.5, 1.0), (1.0, 0.0)], [(1.0, 0.5)])
        """
        last, spread = self.epochs or 1.0, (self.high - self.low) or 1.0
        train, dev = (
            [(epoch / last, (loss - self.low) / spread) for epoch, loss in points] for points in (self.train, self.dev)
        )
        return train, dev

    @property
    def epochs(self) -> float:
        return max(epoch for epoch, _ in (*self.train, *self.dev))

    @property
    def low(self) -> float:
        return min(loss for _, loss in (*self.train, *self.dev))

    @property
    def high(self) -> float:
        return max(loss for _, loss in (*self.train, *self.dev))


class Training(BaseModel):
    """How a run's training went."""

    curves: list[Curve]
    words: list[str]
    """What they mean, and what to do next."""


def training(metrics: dict[str, Any] | None) -> Training:
    if not metrics or "loss_history" not in metrics:
        return Training(curves=[], words=[])
    return Training(curves=curves(metrics), words=[line.removeprefix("- ") for line in training_words(metrics)])


def curves(metrics: dict[str, Any]) -> list[Curve]:
    """By method, in the order they ran; without those that have less than two points.

    >>> curves({"loss_history": [
    ...     {"stage": "sft", "epoch": 1, "loss": 2.0}, {"stage": "sft", "epoch": 2, "loss": None, "dev_loss": 1.5}
    ... ]})
    [Curve(method='sft', train=[(1.0, 2.0)], dev=[(2.0, 1.5)])]
    """
    history = metrics.get("loss_history", [])
    found = []
    for method in dict.fromkeys(entry["stage"] for entry in history):
        entries = [entry for entry in history if entry["stage"] == method]
        train = [(entry["epoch"], entry["loss"]) for entry in entries if entry.get("loss") is not None]
        dev = [(entry["epoch"], entry["dev_loss"]) for entry in entries if entry.get("dev_loss") is not None]
        if len(train) + len(dev) >= 2:
            found.append(Curve(method=method, train=_thinned(train), dev=_thinned(dev)))
    return found


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """
    >>> [len(_thinned([(0.0, 0.0)] * number)) for number in (3, 300, 301, 10_000)]
    [3, 300, 151, 296]
    """
    every = -(-len(points) // MOST_POINTS)
    kept = list(points[::every]) if points else []
    return [*kept, points[-1]] if points and (len(points) - 1) % every else kept


def training_words(metrics: dict[str, Any]) -> list[str]:
    """Lines of Markdown: a sentence a method, then the search and the factor, if there were any."""
    methods = list(dict.fromkeys(entry["stage"] for entry in metrics["loss_history"] if entry["stage"] in NAMES))
    lines = []
    for method in methods:
        entries = [entry for entry in metrics["loss_history"] if entry["stage"] == method]
        dev = [(round(entry["epoch"]), entry["dev_loss"]) for entry in entries if entry["dev_loss"] is not None]
        train = [entry["loss"] for entry in entries if entry["loss"] is not None]
        lines.append(
            f"- {NAMES[method]}: {curve_words(method, dev, train, metrics.get('dev_rows', {}).get(method, 0))}"
        )
    for method, trials in metrics.get("search", {}).items():
        lines.append(f"- {_search_words(method, trials)}")
    if (scale := metrics.get("adapter_scale")) and scale["curve"]:
        lines.append(f"- Of the trained adapter dev chose {scale['why']}.")
    return lines


def curve_words(method: str, dev: list[tuple[int, float]], train: list[float], rows: int) -> str:
    """
    >>> curve_words("sft", [(0, 2.0), (1, 1.0), (2, 0.8)], [], 40)  # doctest: +ELLIPSIS
    'dev loss 2.000 → 1.000 → 0.800 (40 rows). Still falling at the last epoch: more epochs (num_train_epochs) may ...'
    >>> curve_words("sft", [(0, 2.0), (1, 1.0), (2, 1.4)], [], 40)  # doctest: +ELLIPSIS
    'dev loss 2.000 → 1.000 → 1.400 (40 rows). Best after epoch 1, then worse: it overfits from there on, and the ...'
    >>> curve_words("dpo", [(0, 0.693), (1, 0.692)], [], 9)  # doctest: +ELLIPSIS
    'dev loss 0.693 → 0.692 (9 rows). Flat: it learned nothing that dev can see. Raise preference_learning_rate, ...'
    """
    if not any(epoch > 0 for epoch, _ in dev):
        fell = f"; the training loss went from {train[0]:.3f} to {train[-1]:.3f}" if train else ""
        return f"no dev rows, so that nothing tells learning from memorising, and all epochs were trained{fell}."
    start = dev[0][1] if dev[0][0] == 0 else max(value for _, value in dev)
    after = [(epoch, value) for epoch, value in dev if epoch > 0]
    best_epoch, best = min(after, key=lambda one: one[1])
    last_epoch, last = after[-1]
    curve = f"dev loss {' → '.join(f'{value:.3f}' for _, value in dev)} ({rows} rows)."
    if start - best < FLAT_SHARE * abs(start):
        words = (
            "Rose from the first epoch on: what it learned doesn't carry over to other people's rows. "
            f"Lower {RATES[method]}, or look at the rows."
            if last > start * (1 + FLAT_SHARE)
            else f"Flat: it learned nothing that dev can see. Raise {RATES[method]}, or see whether the rows teach "
            "what dev asks."
        )
    elif best_epoch < last_epoch and last - best >= FLAT_SHARE * abs(best):
        words = (
            f"Best after epoch {best_epoch}, then worse: it overfits from there on, and the weights of epoch "
            f"{best_epoch} were kept. Fewer epochs ({EPOCHS[method]}={best_epoch}) cost less; more rows, a lower "
            f"{RATES[method]} or a smaller r overfit later."
        )
    else:
        before = dev[dev.index((last_epoch, last)) - 1][1] if len(dev) > 1 else start
        falling = before - last >= FALLING_SHARE * abs(before)
        words = (
            f"Still falling at the last epoch: more epochs ({EPOCHS[method]}) may help."
            if falling
            else "It levelled off: more epochs would bring little."
        )
    return " ".join([curve, words, *_doubts([value for _, value in after], rows)])


def _doubts(values: list[float], rows: int) -> list[str]:
    steps = [after - before for before, after in pairwise(values)]
    turns = sum(one * other < 0 for one, other in pairwise(steps))
    doubts = []
    if len(steps) >= 3 and turns >= len(steps) / 2:
        doubts.append("The curve goes up and down, so that its best epoch is partly chance.")
    if rows < SMALL_DEV_ROWS:
        doubts.append(f"{rows} dev rows are few: take this as a hint, or raise training.dev_fraction.")
    return doubts


def _search_words(method: str, trials: list[dict[str, Any]]) -> str:
    complete = [trial for trial in trials if trial["outcome"] == "complete"]
    given_up = sum(trial["outcome"] == "given up" for trial in trials)
    if not complete:
        return f"Search for {NAMES[method]}: none of {len(trials)} trials came to an end."
    best = min(complete, key=lambda trial: (trial["value"], trial["trial"]))
    first = trials[0]["value"]
    settings = ", ".join(f"{name}={value:.3g}" for name, value in best["settings"].items())
    against = f", against {first:.4g} with the settings as they were" if first is not None else ""
    what = "dev loss" if method == "sft" else "share of dev's choices wrong"
    return (
        f"Search for {NAMES[method]}: {len(trials)} trials, {given_up} given up early; the best has {settings} "
        f"({what} {best['value']:.4g}{against})."
    )
