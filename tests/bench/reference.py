"""What the engine's output is held against: transformers in float32, with PEFT's adapters, never merged.

Promises: no cache and no batching of ours, the prompts rendered as the engine renders them. Leaves out the engine.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.engines.base import BASE, ChatMessage


class Reference:
    """`adapters` has each version's folder."""

    def __init__(self, base: Path, adapters: Mapping[str, Path]) -> None:
        import torch
        from peft import PeftModel

        from service.engines.local.base_model import load_base_model, stop_tokens

        self._model, self.tokenizer = load_base_model(str(base), torch.float32)
        self.stop_tokens = stop_tokens(self._model, self.tokenizer)
        for version, folder in adapters.items():
            if isinstance(self._model, PeftModel):
                self._model.load_adapter(str(folder), version)
            else:
                self._model = PeftModel.from_pretrained(self._model, str(folder), version)
        self._model.eval()

    def greedy(self, version: str, conversations: Sequence[Sequence[ChatMessage]], max_tokens: int) -> list[list[int]]:
        """What `generate` writes for each, the end-of-turn token included; several at once, padded on the left."""
        import torch

        prompts = [self.render(messages) for messages in conversations]
        width = max(map(len, prompts))
        padding = self.tokenizer.pad_token_id
        with self._as(version), torch.inference_mode():
            output = self._model.generate(
                input_ids=torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts]),  # (B, T)
                attention_mask=torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]),
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=sorted(self.stop_tokens),
            )
        return [self._until_the_end(row) for row in output[:, width:].tolist()]

    def _until_the_end(self, tokens: list[int]) -> list[int]:
        """Without what `generate` fills a shorter reply up with."""
        ends = [place for place, token in enumerate(tokens) if token in self.stop_tokens]
        return tokens[: ends[0] + 1] if ends else tokens

    def logprobs(self, version: str, messages: Sequence[ChatMessage], completion: str) -> list[float]:
        """log p of each token of the completion and its end of turn, in nats, as the seam's `score` has them."""
        from service.engines.local.base_model import encode_completion

        tokens = encode_completion(self.tokenizer, completion)
        chosen = self.logits(version, messages, tokens).log_softmax(-1)  # (T, V)
        return [float(chosen[place, token]) for place, token in enumerate(tokens)]

    def logits(self, version: str, messages: Sequence[ChatMessage], reply: Sequence[int]) -> Any:
        """The logits (T, V) that each of the reply's tokens was picked from."""
        import torch

        prompt = self.render(messages)
        with self._as(version), torch.inference_mode():
            logits = self._model(torch.tensor([[*prompt, *reply]])).logits[0]
        return logits[len(prompt) - 1 : -1]

    def shown(self, reply: Sequence[int]) -> list[str]:
        """The text that a client has seen after each of these tokens, the end of the reply aside."""
        from service.engines.local.text_stream import TextStream

        stream, text, seen = TextStream(self._decode), "", []
        for token in reply:
            if token not in self.stop_tokens:
                text += stream.push(token)
            seen.append(text)
        if seen:
            seen[-1] += stream.finish()
        return seen

    def _decode(self, tokens: list[int]) -> str:
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def render(self, messages: Sequence[ChatMessage]) -> list[int]:
        from service.engines.local.base_model import render

        return render(self.tokenizer, messages)

    @contextmanager
    def _as(self, version: str) -> Iterator[None]:
        if version != BASE:
            self._model.set_adapter(version)
            yield
        elif hasattr(self._model, "disable_adapter"):
            with self._model.disable_adapter():
                yield
        else:
            yield


def tokens_alike(shown: Sequence[str], text: str, completion_tokens: int) -> int:
    """How many of the reference's tokens a reply has, from the first on, by the texts seen after each of them.

    >>> tokens_alike(["It", "It is", "It is red"], "It is red", 3)
    3
    >>> tokens_alike(["It", "It is", "It is red"], "It is blue", 3)
    2
    >>> tokens_alike(["It", "It is", "It is"], "It is", 2), tokens_alike(["It", "It is", "It is"], "It is so", 3)
    (2, 2)
    """
    alike = next((place for place, seen in enumerate(shown) if not text.startswith(seen)), len(shown))
    if alike == len(shown) and (text != shown[-1] or completion_tokens != len(shown)):
        return min(completion_tokens, len(shown) - 1)
    return alike
