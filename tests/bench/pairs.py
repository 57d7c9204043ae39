"""What DPO learns from people's choices: how often the reply they chose is the likelier one, on pairs held out.

Promises: pairs out of a file in hh-rlhf's format, divided into folds that share no question (bench/choices.py), and
some set aside to choose settings by; for each fold an adapter trained on all other pairs by the stage that runs have,
with an assistant's default settings unless `--set` says otherwise; both replies of each of the fold's pairs scored by
the engine that serves, with none of the trainer's code. A reply's likelihood is its mean log-probability a token, the
end of the turn included; the margin is the chosen one's minus the other's. The gain is the adapter's minus the base's
on the same pairs; its bounds are those of a bootstrap of groups of pairs (95 %). With `--choose`, the pairs set aside
judge an adapter trained on the others, to choose settings by. Exits with 1 if the share's gain may be none.
Leaves out what the adapter writes.
"""

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

from bench.choices import Choice, divided, read_choices
from bench.figures import Result, tell
from bench.figures import Row as Figures

from feedback import assistants
from feedback.config import BUNDLED_MODEL
from feedback.errors import InvalidInput
from feedback.hyperparameters import Hyperparameters
from feedback.models import Assistant
from feedback.policy_changes import parse_changes
from service.engines.base import BASE, Engine, ScoreRequest
from trainer.evaluation.statistics import Difference, exact_mcnemar, paired_difference
from trainer.progress import RunProgress

TOLD_STEPS, TOLD_PAIRS = 10, 100
"""Steps of training, and pairs scored, between two lines of progress."""
SHOWN = ("preference_learning_rate", "preference_epochs", "per_device_train_batch_size", "dpo_loss", "beta",
         "label_smoothing", "sft_weight", "r", "lora_alpha", "max_length")  # fmt: skip
"""Settings that DPO goes by."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, help="people's choices in hh-rlhf's format; not shipped")
    parser.add_argument("--folds", type=int, default=2, help="parts, each judged by what the others teach")
    parser.add_argument("--aside", type=int, default=200, help="pairs to choose settings by: trained on, never judged")
    parser.add_argument("--choose", action="store_true", help="those set aside judge; the others are trained on")
    parser.add_argument("--longest", type=int, default=384, help="tokens of a pair's prompt and longer reply at most")
    parser.add_argument("--seed", type=int, default=1, help="of the division and of the training")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings as `burnish assistant set` takes them, e.g. hyperparameters.beta=0.2",
    )


class ToldProgress(RunProgress):
    """Steps as lines, too."""

    def step(self, step: int, total: int, epoch: float | None = None, note: str = "") -> None:
        super().step(step, total, epoch, note)
        if step and (step % TOLD_STEPS == 0 or step == total):
            tell(f"step {step} of {total}, {note}")


def measure(options: argparse.Namespace, models: Path) -> Result:
    return asyncio.run(_measure(options, models))


async def _measure(options: argparse.Namespace, models: Path) -> Result:
    from service.engines.adapter_format import adapter_sha256
    from service.engines.local.base_model import choose_device, load_tokenizer, resolve_base_model
    from service.engines.local.engine import LocalEngine

    hyperparameters = _settings(options.set)
    device = choose_device()
    base_path = resolve_base_model(BUNDLED_MODEL, models)
    seconds: dict[str, float] = defaultdict(float)
    began = time.perf_counter()
    choices, counts = read_choices(options.file, load_tokenizer(base_path), options.longest)
    divisions = divisions_of(choices, options.folds, options.aside, options.seed, choose=options.choose)
    judged = [choice for fold, _ in divisions for choice in fold]
    tell(f"{len(judged)} pairs to judge by, {len(divisions[0][1])} to train on, {counts}")
    adapted: list[float] = []
    engine = LocalEngine(BUNDLED_MODEL, models, device=device)
    try:
        with _timed(seconds, "score_base"):
            await engine.start()
            base = await margins(engine, judged, BASE, "base")
        for number, (fold, train) in enumerate(divisions, 1):
            with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
                with _timed(seconds, "train"):
                    adapter = _trained(train, hyperparameters, options.seed, base_path, device, Path(place))
                version = adapter_sha256(adapter)
                await engine.load(version, adapter)
            with _timed(seconds, "score_adapters"):
                adapted += await margins(engine, fold, version, f"adapter {number} of {len(divisions)}")
    finally:
        await engine.close()
    seconds["all"] = time.perf_counter() - began
    return {
        **compared(base, adapted, [choice.row.cluster for choice in judged]),
        "pairs": {**counts, "judged": len(judged), "trained_on": len(divisions[0][1]), "adapters": len(divisions)},
        "settings": {name: str(getattr(hyperparameters, name)) for name in SHOWN},  # 1e-05 would be rounded to 0
        "seconds": dict(seconds),
    }


def divisions_of(
    choices: Sequence[Choice], folds: int, aside: int, seed: int, *, choose: bool
) -> list[tuple[list[Choice], list[Choice]]]:
    """Who judges, and who is trained on, for each adapter. Raises InvalidInput if there are too few pairs."""
    size = (len(choices) - aside) // folds
    if folds < 2 or size < 1:
        raise InvalidInput(
            f"{len(choices)} pairs aren't enough for {folds} folds beside {aside} set aside, or one fold."
        )
    kept, *parts = divided(choices, (aside, *(size for _ in range(folds))), seed)
    if choose:
        return [(kept, [choice for part in parts for choice in part])]
    return [(part, [*kept, *(choice for other in parts if other is not part for choice in other)]) for part in parts]


def compared(base: Sequence[float], adapted: Sequence[float], clusters: Sequence[str]) -> Result:
    """What the margins of the same pairs say, before and after."""
    before, after = ([float(margin > 0) for margin in margins] for margins in (base, adapted))
    share = _gain(before, after, clusters)
    margin = _gain(base, adapted, clusters)
    righted = sum(now > was for was, now in zip(before, after, strict=True))
    wronged = sum(now < was for was, now in zip(before, after, strict=True))
    rows = [
        _row("base", mean(before), mean(base)),
        _row("adapter", mean(after), mean(adapted)),
        _row("gain", share.mean, margin.mean),
        _row("gain's lower bound", share.lower, margin.lower),
        _row("gain's upper bound", share.upper, margin.upper),
    ]
    return {
        "ok": share.lower > 0,
        "rows": rows,
        "turned_right": righted,
        "turned_wrong": wronged,
        "mcnemar_p": exact_mcnemar(righted, wronged),
        "bootstrap_groups": share.contributors,
    }


async def margins(engine: Engine, choices: Sequence[Choice], version: str, what: str) -> list[float]:
    """By how much each chosen reply is likelier than the other, in nats a token."""
    found = []
    for start in range(0, len(choices), TOLD_PAIRS):
        rows = [choice.row for choice in choices[start : start + TOLD_PAIRS]]
        asked = [
            ScoreRequest([turn.model_dump() for turn in row.prompt], reply[0].content, version)
            for row in rows
            for reply in (row.chosen or [], row.rejected or [])
        ]
        means = [mean(tokens) for tokens in await engine.score(asked)]
        found += [chosen - rejected for chosen, rejected in zip(means[::2], means[1::2], strict=True)]
        tell(f"{what}: {len(found)} of {len(choices)} pairs scored")
    return found


def _settings(assignments: list[str]) -> Hyperparameters:
    """An assistant's, so changed. Raises InvalidInput as `burnish assistant set` does."""
    assistant = Assistant(name="bench", base_model=BUNDLED_MODEL, policies={})
    return assistants.changed_policies(assistant, parse_changes(assignments)).hyperparameters


def _trained(
    train: Sequence[Choice], hyperparameters: Hyperparameters, seed: int, base_path: str, device: str, folder: Path
) -> Path:
    """The adapter that a run's stage makes."""
    from trainer.methods import dpo
    from trainer.methods.stage import Stage

    stage = Stage(
        method="dpo",
        rows=[choice.row for choice in train],
        dev=[],
        hyperparameters=hyperparameters,
        seed=seed,
        base_path=base_path,
        device=device,
        start=None,
        folder=folder,
        progress=ToldProgress(folder / "metrics.json"),
    )
    with stage.progress.stage(stage.method):
        dpo.train(stage)
    return stage.final


def _row(what: str, share: float, margin: float) -> Figures:
    return {"what": what, "chosen_likelier_percent": 100 * share, "margin_millinats_a_token": 1000 * margin}


def _gain(before: Sequence[float], after: Sequence[float], clusters: Sequence[str]) -> Difference:
    """With the bounds of a two-sided interval of 95 %. Only groups are drawn: they are all about one thing."""
    differences = [now - was for was, now in zip(before, after, strict=True)]
    return paired_difference(differences, clusters, None, alpha=0.025)


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[what] += time.perf_counter() - began
