"""Replay: the base model's own answers, on which a new adapter must go on predicting as the base does.

Teaching facts to a small model moves everything else it says too. So at each step of SFT the adapter pays the
Kullback-Leibler divergence KL(base ‖ adapted) on a few texts that the base wrote itself (own_answers.py). Matching
whole distributions on text drawn from the model keeps what it knew (on-policy replay, arXiv:2605.26097; divergence
from the base on new prompts is what forgetting follows, arXiv:2509.04259), and needs no corpus; docs/training.md
compares it with replaying the answers as rows.

Leaves out writing the answers.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch

from service.engines.local.base_model import disarm, render
from trainer.compute.log_probs import Compute
from trainer.own_answers import OwnAnswer


class Divergence(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """KL(teacher ‖ student) at each position, in nats, through a frozen head: d/d student = (q - p) @ weight."""

    @staticmethod
    def forward(ctx: Any, student: Any, teacher: Any, weight: Any, bias: Any) -> Any:
        log_q = torch.nn.functional.linear(student, weight, bias).float().log_softmax(-1)  # (N, V)
        log_p = torch.nn.functional.linear(teacher, weight, bias).float().log_softmax(-1)
        p = log_p.exp()
        divergence = (p * (log_p - log_q)).sum(-1)
        ctx.save_for_backward((log_q.exp_() - p).to(weight.dtype) @ weight)  # (N, H)
        return divergence

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return gradients[0][:, None].to(slopes.dtype) * slopes, None, None, None


class Replay:
    """The base's texts with the base's last hidden state at each token."""

    def __init__(
        self, model: Any, compute: Compute, texts: list[list[int]], seed: int, texts_a_step: float, at_once: int
    ) -> None:
        """`at_once`: of the texts, how many go through the base together."""
        self._compute = compute
        self._seed = seed
        self._texts = texts
        self._texts_a_step = texts_a_step
        self.share = min(1.0, texts_a_step)
        """Of the steps, those that have texts: what they count has to be divided by it."""
        with torch.no_grad(), model.disable_adapter():
            self._teacher: list[torch.Tensor] = []  # each (L, H)
            for start in range(0, len(texts), at_once):
                some = texts[start : start + at_once]
                self._teacher += compute.hidden(some).split([len(text) for text in some])

    def divergence(self, step: int) -> Any:
        """Mean KL a token on this step's texts, in nats; None in a step without any.

        The same step always gets the same texts. Half a text a step is one text, with double weight, each other step.
        """
        count = due(step, self._texts_a_step)
        if not count:
            return None
        most = min(count, len(self._texts))
        chosen = random.Random(f"{self._seed}:{step}").sample(range(len(self._texts)), most)  # noqa: S311 (no secret)
        student = self._compute.hidden([self._texts[index] for index in chosen])
        head = self._compute.model.get_output_embeddings()
        teacher = torch.cat([self._teacher[index] for index in chosen])
        return Divergence.apply(student, teacher, head.weight, head.bias).mean()


def due(step: int, texts_a_step: float) -> int:
    """How many texts a step gets, so that `texts_a_step` come on average.

    >>> [due(step, 0.4) for step in range(5)], [due(step, 1.5) for step in range(4)]
    ([0, 0, 1, 0, 1], [1, 2, 1, 2])
    """
    return int((step + 1) * texts_a_step + 1e-9) - int(step * texts_a_step + 1e-9)


def texts_of(answers: Sequence[OwnAnswer], tokenizer: Any) -> list[list[int]]:
    """The answers as tokens: every other one in its chat, the rest as plain text, which has to stay likely as well."""
    texts = []
    for index, answer in enumerate(answers):
        tokens = tokenizer(disarm(tokenizer, answer.answer), add_special_tokens=False)["input_ids"]
        if index % 2 == 0:
            prompt = render(tokenizer, [{"role": "user", "content": answer.prompt}])
            tokens = prompt + tokens + ([tokenizer.eos_token_id] if answer.ended else [])
        texts.append(tokens)
    return [text for text in texts if len(text) > 1]
