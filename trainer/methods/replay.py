"""Replay: the base model's own texts, on which a new adapter must go on predicting as the base does.

Teaching facts to a small model moves everything else it says too. So the base first writes a few dozen short
texts, continuations of plain openings and answers to everyday questions; at each step of SFT the adapter pays the
Kullback-Leibler divergence KL(base ‖ adapted) on a few of them. Matching whole distributions on text drawn from
the model itself keeps what it knew (on-policy replay, arXiv:2605.26097; divergence from the base on new prompts is
what forgetting follows, arXiv:2509.04259), and needs no corpus.

Promises the same texts for the same seed and machine; they are kept in the stage's folder for a resumed run.
"""

import random
from pathlib import Path
from typing import Any

import torch

from feedback.files import read_json, write_json
from service.engines.local.base_model import render
from trainer import ranks
from trainer.methods.completion_head import padded_hidden

TEXT_TOKENS = 48
OPENINGS = (
    "The history of", "In this article, we", "Once upon a time", "The first step is to", "According to the report,",
    "When water is heated,", "My grandmother used to", "The function returns", "Many people believe that",
    "In the early 1900s,", "Dear Sir or Madam,", "The main difference between", "I think the best way",
    "Scientists have discovered", "In a small town", "def main():", "The company announced", "Let x be",
    "She looked out of the", "For this recipe you", "The city of", "To install the package", "Children learn",
    "During the winter",
)  # fmt: skip
QUESTIONS = (
    "Explain why the sky looks blue.", "Write two sentences about a walk in the forest.", "How do I boil an egg?",
    "What is the capital of France?", "Give me a tip for learning a language.", "Why is sleep important?",
    "What does the heart do?", "Write a short poem about rain.", "Suggest a simple dinner.",
    "What is the difference between weather and climate?", "Who wrote Hamlet?", "What can you help me with?",
)  # fmt: skip


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

    def __init__(self, model: Any, texts: list[list[int]], seed: int) -> None:
        self._base = model.get_base_model()
        self._seed = seed
        self._texts = texts
        with torch.no_grad(), model.disable_adapter():
            self._teacher = [self._hidden([text]) for text in texts]  # each (L, H)

    def divergence(self, step: int, count: int) -> Any:
        """Mean KL a token on `count` texts; the same step always gets the same ones."""
        most = min(count, len(self._texts))
        chosen = random.Random(f"{self._seed}:{step}").sample(range(len(self._texts)), most)  # noqa: S311 (no secret)
        student = self._hidden([self._texts[index] for index in chosen])
        head = self._base.get_output_embeddings()
        teacher = torch.cat([self._teacher[index] for index in chosen])
        return Divergence.apply(student, teacher, head.weight, head.bias).mean()

    def _hidden(self, texts: list[list[int]]) -> Any:
        width = max(map(len, texts))
        device = self._base.device
        input_ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=device)  # (B, L)
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts], device=device)
        return padded_hidden(self._base, input_ids, mask, mask.bool())


def base_texts(model: Any, tokenizer: Any, seed: int, kept: Path) -> list[list[int]]:
    """What the base writes by itself, as tokens: sampled at temperature 1, once, then kept."""
    if ranks.rank() == 0 and not kept.is_file():
        starts = [tokenizer(opening)["input_ids"] for opening in OPENINGS]
        starts += [render(tokenizer, [{"role": "user", "content": question}]) for question in QUESTIONS]
        texts = []
        torch.manual_seed(seed)
        with torch.no_grad(), model.disable_adapter():
            for group in (starts[: len(OPENINGS)], starts[len(OPENINGS) :]):
                texts += _continue(model, tokenizer, group)
        write_json(kept, texts)
    ranks.wait_for_all()
    return [list(map(int, text)) for text in read_json(kept)]


def _continue(model: Any, tokenizer: Any, starts: list[list[int]]) -> list[list[int]]:
    width = max(map(len, starts))
    padding, device = tokenizer.pad_token_id, model.device
    was_training = model.training
    model.eval()
    written = model.generate(
        input_ids=torch.tensor([[padding] * (width - len(start)) + start for start in starts], device=device),
        attention_mask=torch.tensor([[0] * (width - len(start)) + [1] * len(start) for start in starts], device=device),
        max_new_tokens=TEXT_TOKENS,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        pad_token_id=padding,
    )[:, width:].tolist()
    model.train(was_training)
    return [start + _until_end(new, tokenizer.eos_token_id) for start, new in zip(starts, written, strict=True)]


def _until_end(tokens: list[int], end: int) -> list[int]:
    """Keep the end token, drop the padding behind it.

    >>> _until_end([5, 6, 2, 0, 0], 2), _until_end([5, 6], 2)
    ([5, 6, 2], [5, 6])
    """
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
