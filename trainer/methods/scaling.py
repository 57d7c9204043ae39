"""How much of the trained adapter to keep: B times a factor that dev chooses (λ-scaling, arXiv:2406.16768).

A smaller factor forgets less; where dev doesn't prefer more, less is better. Corrections decide by their loss on dev,
else choices by how many dev gets right, and equals go to the smaller factor. Ratings have no right answer to hold a
factor against, and a few rows no opinion: then the adapter stays as it is. Every factor's number is kept.
Leaves out whether the result is better than what serves: the gate's rows, which this never sees, tell that.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from feedback.files import publish_folder
from feedback.run_folder import Row
from service.engines.adapter_format import ADAPTER_FILES, TENSOR_FILE
from trainer.compute.log_probs import Compute, LabelLogProbs
from trainer.methods.stage import Stage, completion_tokens, fitting, prompt_tokens

log = logging.getLogger("trainer")

LEAST_DEV_ROWS = 16
MOST_DEV_ROWS = 200


@dataclass(frozen=True)
class ScaleChoice:
    """What dev said of each factor. `measure`: the loss in nats a token, or the share of choices got wrong."""

    chosen: float
    measure: Literal["loss", "choices wrong"] | None
    rows: int
    curve: list[tuple[float, float]]
    """(factor, measure), in the order of the factors."""
    why: str


def scale(stage: Stage, dev: Sequence[Row]) -> Path:
    """Publish `stage.start`, scaled as dev wants it, in `stage.final`; the choice is in the progress' data."""
    import torch

    assert stage.start is not None
    factors = sorted(set(stage.hyperparameters.adapter_scales))
    choice = _choose(stage, list(dev), factors)
    stage.progress.data["adapter_scale"] = asdict(choice)
    stage.progress.write()
    log.info("scale: %s", choice.why)
    draft = stage.folder / "draft"
    draft.mkdir(parents=True, exist_ok=True)
    for name in ADAPTER_FILES:
        (draft / name).write_bytes((stage.start / name).read_bytes())
    if choice.chosen != 1:
        from safetensors.torch import load_file, save_file

        tensors: dict[str, torch.Tensor] = load_file(draft / TENSOR_FILE)
        scaled = {name: half * choice.chosen if ".lora_B." in name else half for name, half in tensors.items()}
        save_file(scaled, draft / TENSOR_FILE)
    publish_folder(draft, stage.final, ADAPTER_FILES)
    return stage.final


def choices_wrong(stage: Stage) -> float:
    """The share of dev's choices that the stage's result gets wrong."""
    model, tokenizer = _model(stage.base_path, stage.final, stage.device)
    rows = fitting(stage, stage.dev, tokenizer)[:MOST_DEV_ROWS]
    return _measure(stage, model, tokenizer, rows, "choices wrong")


def dev_loss(stage: Stage) -> float:
    """The loss of dev's corrections, in nats a token, under the adapter that the stage starts from."""
    assert stage.start is not None
    model, tokenizer = _model(stage.base_path, stage.start, stage.device)
    rows = fitting(stage, stage.dev, tokenizer)[:MOST_DEV_ROWS]
    return _measure(stage, model, tokenizer, rows, "loss")


def _choose(stage: Stage, dev: list[Row], factors: list[float]) -> ScaleChoice:
    if len(factors) == 1:
        return ScaleChoice(factors[0], None, 0, [], f"factor {factors[0]:g}, as adapter_scales says")
    corrections, choices = ([row for row in dev if row.method == method] for method in ("sft", "dpo"))
    measure: Literal["loss", "choices wrong"] = "loss" if corrections else "choices wrong"
    assert stage.start is not None
    model, tokenizer = _model(stage.base_path, stage.start, stage.device)
    rows = fitting(stage, (corrections or choices)[:MOST_DEV_ROWS], tokenizer)
    if len(rows) < LEAST_DEV_ROWS:
        why = f"{len(rows)} corrections or choices in dev say too little ({LEAST_DEV_ROWS} are needed): as trained"
        return ScaleChoice(1.0, None, len(rows), [], why)
    if not Compute(model).plain_head:
        return ScaleChoice(1.0, None, len(rows), [], "this model's head scales its logits: as trained")
    curve = []
    for factor in factors:
        with _scaled(model, factor):
            curve.append((factor, round(_measure(stage, model, tokenizer, rows, measure), 4)))
    chosen, _ = min(curve, key=lambda one: one[1])  # the first of equals is the smallest factor
    told = ", ".join(f"{factor:g} → {value:g}" for factor, value in curve)
    unit = "loss, nats a token" if measure == "loss" else "share of choices wrong"
    return ScaleChoice(chosen, measure, len(rows), curve, f"factor {chosen:g} of {told} ({unit}, {len(rows)} dev rows)")


def _model(base_path: str, adapter: Path, device: str) -> tuple[Any, Any]:
    from peft import PeftModel

    from service.engines.local.base_model import choose_dtype, load_base_model

    model, tokenizer = load_base_model(base_path, choose_dtype("auto", device), device)
    return PeftModel.from_pretrained(model, str(adapter)).eval(), tokenizer


class _scaled:  # noqa: N801 (reads as a verb)
    """The model with B times a factor, while it lasts."""

    def __init__(self, model: Any, factor: float) -> None:
        self._weights = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
        self._whole = [weight.detach().clone() for weight in self._weights]
        self._factor = factor

    def __enter__(self) -> None:
        for weight, whole in zip(self._weights, self._whole, strict=True):
            weight.data = whole * self._factor

    def __exit__(self, *_: object) -> None:
        for weight, whole in zip(self._weights, self._whole, strict=True):
            weight.data = whole


def _measure(stage: Stage, model: Any, tokenizer: Any, rows: Sequence[Row], measure: str) -> float:
    longest, at_once = stage.hyperparameters.max_length, stage.rows_at_once(stage.halvings)
    if measure == "loss":
        sums = completion_sums(model, tokenizer, [(row, row.completion) for row in rows], longest, at_once)
        return -sum(total for total, _ in sums) / sum(tokens for _, tokens in sums)
    sides = [(row, side) for row in rows for side in (row.chosen, row.rejected)]
    sums = completion_sums(model, tokenizer, sides, longest, at_once)
    each = [total / tokens for total, tokens in sums]
    return sum(chosen <= rejected for chosen, rejected in zip(each[::2], each[1::2], strict=True)) / len(rows)


def completion_sums(
    model: Any, tokenizer: Any, asked: Sequence[tuple[Row, Any]], longest: int, at_once: int = 8
) -> list[tuple[float, int]]:
    """(summed log-probability in nats, tokens) of each completion after its row's prompt, cut as in training."""
    import torch

    compute = Compute(model)
    head = compute.model.get_output_embeddings()
    result: list[tuple[float, int]] = []
    for start in range(0, len(asked), at_once):
        texts, starts = [], []
        for row, completion in asked[start : start + at_once]:
            prompt = prompt_tokens(tokenizer, row.prompt)
            texts.append((prompt + completion_tokens(tokenizer, completion))[:longest])
            starts.append(len(prompt))
        with torch.no_grad():
            hidden = compute.hidden(texts).split([len(text) for text in texts])  # each (L, H)
            for text, begins, states in zip(texts, starts, hidden, strict=True):
                labels = torch.tensor(text[begins:], device=states.device)
                log_probs, _ = LabelLogProbs.apply(states[begins - 1 : -1], head.weight, head.bias, labels)
                result.append((float(log_probs.sum()), len(log_probs)))
    return result
