"""What DPO learns from people's choices: how often the reply they chose is the likelier one, on pairs held out.

Promises: pairs out of a file in hh-rlhf's format, divided into folds that share no question (bench/choices.py), and
some set aside to choose settings by; for each fold an adapter trained on all other pairs by the stage that runs have,
with an assistant's default settings unless `--set` says otherwise; both replies of each of the fold's pairs scored by
transformers' and PEFT's own forward pass, with none of the trainer's. A reply's likelihood is its mean log-probability
a token, the end of the turn included; the margin is the chosen one's minus the other's. The gain is the adapter's minus
the base's on the same pairs; its bounds are those of a bootstrap of groups of pairs (95 %). With `--choose`, the pairs
set aside judge an adapter trained on the others, to choose settings by. Exits with 1 if the share's gain may be none.
Leaves out what the adapter writes.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
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
    from peft import PeftModel

    from service.engines.local.base_model import choose_device, choose_dtype, load_base_model, resolve_base_model

    hyperparameters = _settings(options.set)
    device = choose_device()
    base_path = resolve_base_model(BUNDLED_MODEL, models)
    seconds: dict[str, float] = defaultdict(float)
    began = time.perf_counter()
    model, tokenizer = load_base_model(base_path, choose_dtype("auto", device), device)
    choices, counts = read_choices(options.file, tokenizer, options.longest)
    divisions = divisions_of(choices, options.folds, options.aside, options.seed, choose=options.choose)
    judged = [choice for fold, _ in divisions for choice in fold]
    tell(f"{len(judged)} pairs to judge by, {len(divisions[0][1])} to train on, {counts}")
    with _timed(seconds, "score_base"):
        base = margins(model, judged, "base")
    adapted: list[float] = []
    for number, (fold, train) in enumerate(divisions, 1):
        with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
            with _timed(seconds, "train"):
                adapter = _trained(train, hyperparameters, options.seed, base_path, device, Path(place))
            wrapped = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False).eval()
        with _timed(seconds, "score_adapters"):
            adapted += margins(wrapped, fold, f"adapter {number} of {len(divisions)}")
        model = wrapped.unload()
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
        "bootstrap_resamples": RESAMPLES,
        "bootstrap_groups": share.contributors,
    }


def margins(model: Any, choices: Sequence[Choice], what: str) -> list[float]:
    """By how much each chosen reply is likelier than the other, in nats a token."""
    found = []
    for number, choice in enumerate(choices, 1):
        chosen, rejected = mean_log_probs(model, choice.prompt, [choice.chosen, choice.rejected])
        found.append(chosen - rejected)
        if number % TOLD_PAIRS == 0 or number == len(choices):
            tell(f"{what}: {number} of {len(choices)} pairs scored")
    return found


def mean_log_probs(model: Any, prompt: list[int], replies: list[list[int]]) -> list[float]:
    """Of each reply's tokens, in nats. The prompt is read once for all of them."""
    import torch

    longest = max(map(len, replies))
    padded = [reply + [0] * (longest - len(reply)) for reply in replies]  # behind, where no token of the reply looks
    with torch.inference_mode(), model.device:
        read = model(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        read.past_key_values.batch_repeat_interleave(len(replies))
        following = model(input_ids=torch.tensor(padded), past_key_values=read.past_key_values, use_cache=True)
        first = read.logits.expand(len(replies), -1, -1)
        log_probs = torch.cat([first, following.logits[:, :-1]], dim=1).float().log_softmax(-1)  # (replies, T, V)
        told = log_probs.gather(-1, torch.tensor(padded)[:, :, None])[:, :, 0]
        return [float(of_reply[: len(reply)].mean()) for reply, of_reply in zip(replies, told, strict=True)]


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
    seconds[what] += time.perf_counter() - began
