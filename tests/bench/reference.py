"""What the engine's output is held against: transformers in float32, with PEFT's adapters, never merged.

Promises: one request at a time, no cache of ours, the prompts rendered as the engine renders them. Leaves out the
engine.
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

    def greedy(self, version: str, messages: Sequence[ChatMessage], max_tokens: int) -> list[int]:
        """What `generate` writes, the end-of-turn token included."""
        import torch

        prompt = torch.tensor([self.render(messages)])  # (1, T)
        with self._as(version), torch.inference_mode():
            output = self._model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=sorted(self.stop_tokens),
            )
        return [int(token) for token in output[0, prompt.shape[1] :]]

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
