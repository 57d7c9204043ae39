"""Which training rows most likely caused a loss: those whose gradient points where the loss came from.

TracIn (Pruthi et al. 2020, arXiv:2002.08484) on the adapter's own weights, half way to what was trained (there what was
learned still pulls; at its end it is fitted, and what pulls is the rest), normalised as in LESS (Xia et al. 2024,
arXiv:2402.04333): the cosine of ∇[log p(what it now says) - log p(what is right)], for a held-out question, and ∇[what
training on the row pushed]. A row with a high one, learned a little more, makes the loss worse. Promises ids alone, so
that nothing of a row's text is kept in another place. Leaves out deciding anything by it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from feedback.run_folder import Row, RunSpec, Split, Turn
from trainer.evaluation.record import Cause, Change, Evaluation

MOST_ROWS = 100
"""Training rows whose gradients are taken: the nearest to the losses by their words, if there are more."""
HALF_WAY = 0.5
"""Share of the adapter that is there when gradients are taken: `burnish bench causes`."""
NAMED = 10
"""Causes that are kept of each loss."""
Pushed = list[tuple[float, Sequence[Turn]]]
"""Sign and completion: what training on a row makes likelier, or less likely."""


def traced(
    evaluation: Evaluation, spec: RunSpec, splits: dict[Split, list[Row]], base_path: str, adapter: Path, device: str
) -> Evaluation:
    """The same, its worst losses with the rows that may have taught them, as many as the policy says."""
    losses = evaluation.worst[: spec.verdict.traced_losses]
    max_length = spec.hyperparameters.max_length
    causes = causes_of(losses, splits["gate"], splits["train"], base_path, adapter, device, max_length)
    worst = [loss.model_copy(update={"causes": causes.get(loss.id, [])}) for loss in evaluation.worst]
    return evaluation.model_copy(update={"worst": worst})


def causes_of(
    losses: Sequence[Change],
    gate: Sequence[Row],
    train: Sequence[Row],
    base_path: str,
    adapter: Path,
    device: str,
    max_length: int,
) -> dict[str, list[Cause]]:
    """By a loss's id, the training rows with the largest influence on it, the largest first."""
    asked = {row.id: row for row in gate if row.completion}
    known = [
        (loss, asked[loss.id]) for loss in losses if loss.id in asked and loss.after and loss.after != loss.expected
    ]
    rows = nearest(known, train)
    if not known or not rows:
        return {}
    from peft import PeftModel

    from service.engines.local.base_model import choose_dtype, load_base_model

    model, tokenizer = load_base_model(base_path, choose_dtype("auto", device), device)
    gradients = Gradients(PeftModel.from_pretrained(model, str(adapter), is_trainable=True), tokenizer, max_length)
    wanted = [
        gradients.of(row.prompt, [(1.0, [Turn(role="assistant", content=loss.after)]), (-1.0, row.completion or [])])
        for loss, row in known
    ]
    influences: list[list[Cause]] = [[] for _ in known]
    for row in rows:
        pushed = gradients.of(row.prompt, pushed_by(row))
        for place, direction in enumerate(wanted):
            influences[place].append(Cause(row_id=row.id, influence=round(float(direction @ pushed), 4)))
    return {
        loss.id: sorted((one for one in found if one.influence > 0), key=lambda cause: -cause.influence)[:NAMED]
        for (loss, _), found in zip(known, influences, strict=True)
    }


def pushed_by(row: Row) -> Pushed:
    if row.method == "dpo":
        return [(1.0, row.chosen or []), (-1.0, row.rejected or [])]
    return [(1.0 if row.label is not False else -1.0, row.completion or [])]


def nearest(losses: Sequence[tuple[Change, Row]], train: Sequence[Row]) -> list[Row]:
    """Those that share the most words with a loss's question, right reply and wrong one."""
    if len(train) <= MOST_ROWS or not losses:
        return list(train)
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [f"{loss.question} {loss.expected} {loss.after}" for loss, _ in losses]
    words = TfidfVectorizer(sublinear_tf=True).fit([*texts, *map(_text, train)])
    likeness = (words.transform(map(_text, train)) @ words.transform(texts).T).max(axis=1).toarray().ravel()
    order = sorted(range(len(train)), key=lambda place: -likeness[place])[:MOST_ROWS]
    return [train[place] for place in sorted(order)]


class Gradients:
    """Directions, of length 1, in which the adapter's weights make completions likelier."""

    def __init__(self, model: Any, tokenizer: Any, max_length: int) -> None:
        import torch

        from trainer.compute.log_probs import Compute

        self._model = model.eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.mul_(HALF_WAY)
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._compute = Compute(model)

    def of(self, prompt: Sequence[Turn], pushed: Pushed) -> Any:
        """(weights,) of Σ sign · mean log p(completion | prompt) a token."""
        import torch

        self._model.zero_grad(set_to_none=True)
        total = sum(sign * mean for sign, mean in self._means(prompt, pushed))
        total.backward()
        grads = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in self._weights]
        flat = torch.cat([grad.float().ravel() for grad in grads])
        return flat / flat.norm().clamp_min(1e-12)

    def _means(self, prompt: Sequence[Turn], pushed: Pushed) -> Iterator[tuple[float, Any]]:
        import torch

        from trainer.compute.log_probs import LabelLogProbs
        from trainer.methods.stage import completion_tokens, prompt_tokens

        begins = prompt_tokens(self._tokenizer, prompt)
        head = self._compute.model.get_output_embeddings()
        for sign, completion in pushed:
            text = (begins + completion_tokens(self._tokenizer, completion))[: self._max_length]
            hidden = self._compute.hidden([text])  # (L, H)
            labels = torch.tensor(text[len(begins) :], device=hidden.device)
            log_probs, _ = LabelLogProbs.apply(hidden[len(begins) - 1 : -1], head.weight, head.bias, labels)
            yield sign, log_probs.mean()


def _text(row: Row) -> str:
    turns = [*row.prompt[-1:], *(row.completion or row.chosen or []), *(row.rejected or [])]
    return " ".join(turn.content for turn in turns)
