"""What DPO learns from people's choices: how often the reply they chose is the likelier one, on pairs held out.

Promises: pairs out of a file in hh-rlhf's format, no question of which is on both sides (bench/choices.py); an adapter
trained on one side by the stage that runs have, with an assistant's default settings unless `--set` says otherwise;
both replies of every other pair scored by transformers' and PEFT's own forward pass, with none of the trainer's. A
reply's likelihood is its mean log-probability a token, the end of the turn included; the margin is the chosen one's
minus the other's. The gain is the adapter's minus the base's on the same pairs; its bounds are those of a bootstrap of
groups of pairs (95 %). With `--choose`, pairs of the training side judge, to choose settings by. Exits with 1 if the
share's gain may be none. Leaves out what the adapter writes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

from bench.choices import Choice, divided, read_choices
from bench.figures import Result, tell
from bench.figures import Row as Figures

from feedback import assistants
from feedback.cli.policy_changes import parse_changes
from feedback.config import BUNDLED_MODEL
from feedback.errors import InvalidInput
from feedback.hyperparameters import Hyperparameters
from feedback.models import Assistant
from trainer.evaluation.statistics import Difference, exact_mcnemar, paired_difference
from trainer.progress import RunProgress

RESAMPLES = 10_000
SCORED_AT_ONCE = 8
TOLD_STEPS, TOLD_BATCHES = 10, 20
"""Steps of training, and batches of scoring, between two lines of progress."""
SHOWN = ("preference_learning_rate", "preference_epochs", "per_device_train_batch_size", "dpo_loss", "beta",
         "label_smoothing", "sft_weight", "r", "lora_alpha", "max_length")  # fmt: skip
"""Settings that DPO goes by."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", type=Path, help="people's choices in hh-rlhf's format; not shipped")
    parser.add_argument("--train", type=int, default=700, help="pairs to train on")
    parser.add_argument("--held-out", type=int, default=400, help="pairs to judge by")
    parser.add_argument("--choose", type=int, default=0, help="so many of the training pairs judge in their stead")
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
    from peft import PeftModel

    from service.engines.local.base_model import choose_device, choose_dtype, load_base_model, resolve_base_model

    hyperparameters = _settings(options.set)
    device = choose_device()
    base_path = resolve_base_model(BUNDLED_MODEL, models)
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    with _timed(seconds, "read"):
        model, tokenizer = load_base_model(base_path, choose_dtype("auto", device), device)
        choices, counts = read_choices(options.file, tokenizer, options.longest)
        held_out, train = divided(choices, (options.held_out, options.train), options.seed)
    if options.choose:
        if not 0 < options.choose < options.train:
            raise InvalidInput(f"--choose takes some of the {options.train} training pairs, not {options.choose}.")
        held_out, train = divided(train, (options.choose, len(train) - options.choose), options.seed)
    tell(f"{len(train)} pairs to train on, {len(held_out)} to judge by, {counts}")
    with _timed(seconds, "score_base"):
        base = margins(model, held_out, "base")
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
        with _timed(seconds, "train"):
            adapter = _trained(train, hyperparameters, options.seed, base_path, device, Path(place))
        model = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False).eval()
    with _timed(seconds, "score_adapter"):
        adapted = margins(model, held_out, "adapter")
    seconds["all"] = time.perf_counter() - began
    return {
        **compared(base, adapted, [choice.row.cluster for choice in held_out]),
        "pairs": {**counts, "train": len(train), "judged": len(held_out)},
        "settings": {name: str(getattr(hyperparameters, name)) for name in SHOWN},  # 1e-05 would be rounded to 0
        "seconds": seconds,
    }


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
        "bootstrap_resamples": RESAMPLES,
        "bootstrap_groups": share.contributors,
    }


def margins(model: Any, choices: Sequence[Choice], what: str) -> list[float]:
    """By how much each chosen reply is likelier than the other, in nats a token."""
    asked = [(choice.prompt, reply) for choice in choices for reply in (choice.chosen, choice.rejected)]
    found = mean_log_probs(model, asked, lambda done: tell(f"{what}: {done} of {len(asked)} replies scored"))
    return [chosen - rejected for chosen, rejected in zip(found[::2], found[1::2], strict=True)]


def mean_log_probs(
    model: Any, asked: Sequence[tuple[list[int], list[int]]], progress: Callable[[int], None]
) -> list[float]:
    """Of each reply's tokens after its prompt, in nats, in the order asked; those of like length go side by side."""
    import torch

    found = [0.0] * len(asked)
    order = sorted(range(len(asked)), key=lambda place: sum(map(len, asked[place])))
    for start in range(0, len(order), SCORED_AT_ONCE):
        places = order[start : start + SCORED_AT_ONCE]
        texts = [[*asked[place][0], *asked[place][1]] for place in places]
        width = max(map(len, texts))
        kept = max(len(asked[place][1]) for place in places) + 1
        lacking = [width - len(text) for text in texts]  # on the left, so that all replies end at the end
        inputs = {
            "input_ids": [[0] * lacks + text for lacks, text in zip(lacking, texts, strict=True)],  # (B, L)
            "attention_mask": [[0] * lacks + [1] * (width - lacks) for lacks in lacking],
            "position_ids": [[0] * lacks + list(range(width - lacks)) for lacks in lacking],
        }
        tensors = {name: torch.tensor(rows, device=model.device) for name, rows in inputs.items()}
        with torch.inference_mode():
            logits = model(**tensors, use_cache=False, logits_to_keep=kept).logits  # (B, kept, V)
            for place, of_row in zip(places, logits, strict=True):
                reply = torch.tensor(asked[place][1], device=model.device)
                log_probs = of_row[-len(reply) - 1 : -1].float().log_softmax(-1)  # (T, V)
                found[place] = float(log_probs.gather(-1, reply[:, None]).mean())
        if (start // SCORED_AT_ONCE + 1) % TOLD_BATCHES == 0 or start + SCORED_AT_ONCE >= len(order):
            progress(min(start + SCORED_AT_ONCE, len(order)))
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
    return paired_difference(differences, clusters, ["all"] * len(clusters), alpha=0.025, resamples=RESAMPLES, seed=0)


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[what] = time.perf_counter() - began
