"""Training as a run does it against plain TRL, on the same rows, seed and steps: tokens a second, and the same losses.

Plain TRL has a bfloat16 base and no gradient checkpointing, as good as its settings allow on a CPU. A row's tokens
count once, padding never; replay is left out, and the time that a run takes for its reference is in. Each way is a
process of its own; batches are the same, so that losses can be compared step by step.

Right are the losses of plain TRL in float32: in bfloat16 PEFT loses what an adapter changes by less than half a step
between two such numbers. They take long: only the first seed has them. How far from them TRL in bfloat16 is told, too.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from bench.figures import Result, Row, tell
from bench.training_rows import KINDS

from feedback.config import BUNDLED_MODEL
from feedback.errors import InvalidInput

METHODS = ("sft", "dpo", "kto")
WAYS = ("trl-float32", "trl", "ours")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=METHODS, help="only this one")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured, with another seed")
    parser.add_argument("--rows", type=int, default=32, help="rows of the one epoch")
    parser.add_argument(
        "--of", choices=[*KINDS], default="conversations", help="long or short rows about the demo's product"
    )
    parser.add_argument("--file", type=Path, help="rows of people's choices in hh-rlhf's format instead")
    parser.add_argument("--longest", type=int, default=512, help="tokens of such a row at most; plain TRL needs room")


def measure(options: argparse.Namespace, models: Path) -> Result:
    if options.file is not None and not options.file.is_file():
        raise InvalidInput(f"{options.file} isn't there: `--file` names people's choices in hh-rlhf's format.")
    if options.runs < 1:
        raise InvalidInput("`--runs` is how often each way is measured: at least once.")
    methods = [options.method] if options.method else METHODS
    peak = _bf16_flops_per_second()
    rows = [_compared(method, options, models, peak) for method in methods]
    figures = rows[0] if options.method and options.json else {"rows": rows}
    return {
        **figures,
        "bf16_peak_gflops_per_second": peak / 1e9,
        "ok": all(row["max_loss_difference"] < 0.02 for row in rows),
    }


def _compared(method: str, options: argparse.Namespace, models: Path, peak: float) -> Row:
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for seed in range(1, options.runs + 1):
        for way in WAYS if seed == 1 else ("trl", "ours"):
            one = _child(method, way, options, seed, models)
            found[way].append(one)
            tell(f"{method}, {way}, seed {seed}: {_pace(one):.0f} tokens/s, loss {one['losses'][-1]:.4f}")
    ours, trl, right = found["ours"], found["trl"], found["trl-float32"][0]
    ratios = [_pace(mine) / _pace(theirs) for mine, theirs in zip(ours, trl, strict=True)]
    norms = [norm for one in ours for norm in one["grad_norms"]]
    return {
        "method": method,
        "ours_tokens_per_second": median(map(_pace, ours)),
        "trl_tokens_per_second": median(map(_pace, trl)),
        "ratio": median(ratios),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        "loss_ours": _mean(ours[0]["losses"]),
        "loss_trl": _mean(right["losses"]),
        "max_loss_difference": _apart(ours[0], right),
        "loss_trl_bf16": _mean(trl[0]["losses"]),
        "max_loss_difference_trl_bf16": _apart(trl[0], right),
        "grad_norms": f"{min(norms):.3g} to {max(norms):.3g}",
        "peak_rss_mib_ours": max(one["peak_rss_mib"] for one in ours),
        "peak_rss_mib_trl": max(one["peak_rss_mib"] for one in trl),
        "share_of_bf16_peak": median(map(_pace, ours)) * _flops_per_token(models) / peak,
    }


def _child(method: str, way: str, options: argparse.Namespace, seed: int, models: Path) -> dict[str, Any]:
    child = Path(__file__).with_name("train_child.py")
    rows = [options.of] if options.file is None else [str(options.file), str(options.longest)]
    process = subprocess.run(
        [sys.executable, str(child), method, way, str(options.rows), str(seed), *rows],
        stdout=subprocess.PIPE,
        env=os.environ | {"BURNISH_MODELS_FOLDER": str(models)},
        check=True,
    )
    measured: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return measured


def _pace(measured: dict[str, Any]) -> float:
    return float(measured["tokens"] / measured["seconds"])


def _mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)


def _apart(measured: dict[str, Any], right: dict[str, Any]) -> float:
    """The largest difference of a step's loss, as a share of the right mean loss: single steps' losses come near 0."""
    pairs = zip(measured["losses"], right["losses"], strict=True)
    return max(abs(loss - exact) for loss, exact in pairs) / _mean(right["losses"])


def _flops_per_token(models: Path) -> float:
    """Forward, and backward to the inputs alone, through the frozen layers: 4 for each of their weights."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(models / BUNDLED_MODEL)
    width = config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads + config.num_key_value_heads
    layer = config.hidden_size * (2 * heads * width + 3 * config.intermediate_size)
    return 4.0 * config.num_hidden_layers * layer


def _bf16_flops_per_second(size: int = 1536, passes: int = 10) -> float:
    """The best of several large products."""
    import torch

    left, right = (torch.randn(size, size, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(passes):
        began = perf_counter()
        left @ right
        best = min(best, perf_counter() - began)
    return 2 * size**3 / best
