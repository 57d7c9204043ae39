"""How long a method takes: a few of its steps on a sample of its rows, scaled up to all rows, epochs and trials.

What is measured is what a run does: the methods' own trainers, with the reference's pass and with replay. The base's
own answers need not be there yet: stand-ins are as long. Leaves out writing those answers, which the first run on a
base model does, how much of the adapter stays, and judging.
"""

import math
import statistics
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from feedback.hyperparameters import Hyperparameters
from feedback.run_folder import Method
from trainer.methods.batches import FEWEST_AT_ONCE, whole_batch
from trainer.own_answers import read_answers, replayed, stand_ins
from trainer.progress import RunProgress
from trainer.search import most_epochs, why_no_search

if TYPE_CHECKING:
    from trainer.methods.stage import Stage

TIMED_STEPS = 4
"""After the first one of a method, which is slower than those that follow."""
LEAST_UNCERTAINTY = 0.15
"""However alike the timed steps are, hours on a machine that others use aren't."""


class Searched(BaseModel):
    """A search's bounds: as many epochs in every trial as a trial may have, and no trial given up early."""

    trials: int
    most_steps: int
    most_seconds: float


class Measured(BaseModel):
    method: Method
    steps: int
    """Of one training, as `seconds`."""
    seconds: float
    uncertainty: float
    """As a share of `seconds`, either way: how far half of the timed steps were from their median at most."""
    tokens_per_second: float
    """Of the rows, beside which replay's aren't counted."""
    replayed_tokens: int
    """Of the base's own texts, over all steps."""
    search: Searched | None
    """What takes the place of the one training."""
    no_search: str | None
    """Why there is none, though it is set."""

    @property
    def most_seconds(self) -> float:
        return self.seconds if self.search is None else self.search.most_seconds


@dataclass(frozen=True)
class Amount:
    rows: int
    tokens: int


@dataclass(frozen=True)
class Sides:
    train: Amount
    dev: Amount

    @property
    def tokens(self) -> int:
        return self.train.tokens + self.dev.tokens


@dataclass(frozen=True)
class Seconds:
    """What the parts of one training take."""

    loading: float
    reference: float
    """DPO's and KTO's pass over all rows, before the first step."""
    look: float
    """At dev, before the first epoch and after each."""
    step: float

    def scaled(self, sample: Sides, whole: Sides, longer_steps: float) -> "Seconds":
        """From a sample's rows to all of them; a step of those has `longer_steps` times as many tokens.

        >>> sample, whole = (Sides(Amount(rows, 50 * rows), Amount(rows // 4, 50 * rows // 4)) for rows in (40, 400))
        >>> Seconds(loading=3.0, reference=1.0, look=0.5, step=2.0).scaled(sample, whole, 1.5)
        Seconds(loading=3.0, reference=10.0, look=5.0, step=3.0)
        """
        return Seconds(
            loading=self.loading,
            reference=self.reference * whole.tokens / sample.tokens,
            look=self.look * whole.dev.rows / max(1, sample.dev.rows),
            step=self.step * longer_steps,
        )

    def of_training(self, epochs: int, steps_a_pass: int) -> float:
        """
        >>> Seconds(loading=3.0, reference=10.0, look=5.0, step=2.0).of_training(epochs=2, steps_a_pass=50)
        228.0
        """
        return self.loading + self.reference + epochs * steps_a_pass * self.step + (epochs + 1) * self.look


def epochs_of(method: Method, hyperparameters: Hyperparameters) -> int:
    return hyperparameters.num_train_epochs if method == "sft" else hyperparameters.preference_epochs


def steps_a_pass(method: Method, rows: int, hyperparameters: Hyperparameters) -> int:
    """
    >>> [steps_a_pass(method, 17, Hyperparameters()) for method in ("sft", "dpo", "kto")]
    [3, 3, 2]
    """
    batch = whole_batch(hyperparameters.per_device_train_batch_size, least=FEWEST_AT_ONCE[method])
    if method != "kto":
        return math.ceil(rows / batch)
    return rows // batch + (rows % batch > 1)  # a last batch of one is dropped: it has nobody to be compared with


class Stopwatch(RunProgress):
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
        """How long each took; what was done first counts from the beginning."""
        starts = [self.began, *(at for _, at in self.done)]
        return [at - start for start, (what, at) in zip(starts, self.done, strict=False) if what == kind]


def measure(stage: "Stage", sample: Sides, whole: Sides, processes: int) -> Measured:
    """Train the stage, whose rows are a sample of `whole`; its progress is a Stopwatch, and its result is published."""
    from trainer.methods.loop import learn

    method, chosen, watch = stage.method, stage.hyperparameters, stage.progress
    assert isinstance(watch, Stopwatch)
    at_once = max(1, steps_a_pass(method, sample.train.rows, chosen))
    epochs = math.ceil((TIMED_STEPS + 1) / at_once)
    few = {"num_train_epochs": epochs, "preference_epochs": epochs, "early_stopping_patience": epochs + 1}
    stage = replace(stage, hyperparameters=chosen.model_copy(update=few))
    replaying = method == "sft" and chosen.replay_fraction > 0
    if replaying:
        stage = replace(stage, answers=stand_ins(stage.folder / "answers.json"))
    with watch.stage(method):
        trainer = import_module(f"trainer.methods.{method}").build(stage)
        learn(stage, trainer)
    first, *timed = watch.seconds_of("step")
    pace = statistics.median(timed)  # one that was held up, by a checkpoint or a neighbour, isn't the rule
    looks = watch.seconds_of("dev")
    look = statistics.median(looks[1:]) if looks else 0.0
    reference = getattr(trainer, "reference_seconds", 0.0)
    # what is done first, a look or a step, counts from the beginning
    before = (looks[0] - look if looks else 0.0) + first - pace
    loading = max(0.0, before - reference)

    a_pass, own_epochs = steps_a_pass(method, whole.train.rows, chosen), epochs_of(method, chosen)
    sample_a_step, whole_a_step = sample.train.tokens / at_once, whole.train.tokens / max(1, a_pass)
    replay_timed, replay_a_step = _replayed_a_step(stage, len(timed)) if replaying else (0.0, 0.0)
    longer = (whole_a_step + replay_a_step) / (sample_a_step + replay_timed)
    takes = Seconds(loading, reference, look, pace).scaled(sample, whole, longer)
    apart = statistics.median(abs(one - pace) for one in timed) / pace
    no_search = why_no_search(method, chosen, whole.dev.rows, processes) if chosen.search_trials else None
    return Measured(
        method=method,
        steps=own_epochs * a_pass,
        seconds=round(takes.of_training(own_epochs, a_pass), 1),
        uncertainty=round(max(LEAST_UNCERTAINTY, apart), 2),
        tokens_per_second=round(sample_a_step / pace, 1),
        replayed_tokens=round(own_epochs * a_pass * replay_a_step),
        search=_searched(method, chosen, takes, a_pass) if chosen.search_trials and no_search is None else None,
        no_search=no_search,
    )


def _searched(method: Method, chosen: Hyperparameters, takes: Seconds, a_pass: int) -> Searched:
    """The first trial has the settings as they are; DPO's trials are read once more on dev, for what they get wrong."""
    own, trials = epochs_of(method, chosen), chosen.search_trials
    most = most_epochs(own)
    seconds = takes.of_training(own, a_pass) + (trials - 1) * takes.of_training(most, a_pass)
    seconds += trials * takes.look if method == "dpo" else 0.0
    return Searched(trials=trials, most_steps=(own + (trials - 1) * most) * a_pass, most_seconds=round(seconds, 1))


def _replayed_a_step(stage: "Stage", timed: int) -> tuple[float, float]:
    """Tokens of replayed texts a step: of the timed ones, which come after the first, and of all."""
    from service.engines.local.base_model import load_tokenizer
    from trainer.methods.replay import due, texts_of

    assert stage.answers is not None
    answers = read_answers(stage.answers) or []
    texts = texts_of(replayed(answers), load_tokenizer(stage.base_path))
    length = statistics.mean(map(len, texts))
    texts_a_step = stage.hyperparameters.replay_fraction * stage.hyperparameters.per_device_train_batch_size
    replayed_texts = [min(len(texts), due(step, texts_a_step)) for step in range(1, timed + 1)]
    return length * statistics.mean(replayed_texts), length * min(texts_a_step, len(texts))
