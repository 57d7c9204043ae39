"""What tokens are as text: a reply's text, and each token's own bytes.

Promises: a fast tokenizer is asked without a detour through transformers (a third of the time); a token that is part
of a character has the bytes of that part. Leaves out when text may be shown (`text_stream`).
"""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from service.engines.base import TokenLogprob
from service.engines.local.sampling import Picked
from service.engines.local.text_stream import UNREADABLE

BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
"""How byte-level BPE spells bytes (Radford et al. 2019)."""


class TokenText:
    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        self._before = tokenizer.encode("a", add_special_tokens=False)
        self._spelled: dict[int, tuple[str, tuple[int, ...]]] = {}

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The tokens' text, without special tokens unless asked for."""
        if self._backend is not None:
            return str(self._backend.decode(tokens, skip_special_tokens=not special))
        text = self._tokenizer.decode(tokens, skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        return str(text)

    def describe(self, picked: Picked) -> TokenLogprob | None:
        """A pick's log-probabilities, the tokens as text; None if nobody asked for them."""
        if picked.logprob is None:
            return None
        top = tuple(TokenLogprob(*self._spelling(token, logprob)) for token, logprob in picked.top)
        return TokenLogprob(*self._spelling(picked.token, picked.logprob), top)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for inside a text."""
        before = self.decode(self._before, special=True)  # some tokenizers drop a leading space of the first token
        text = self.decode([*self._before, token], special=True)[len(before) :]
        if UNREADABLE not in text:
            return text.encode()
        piece = str(self._tokenizer.convert_ids_to_tokens(token))
        if match := re.fullmatch("<0x([0-9A-F]{2})>", piece):
            return bytes.fromhex(match[1])
        return bytes(BYTE_OF[character] for character in piece) if set(piece) <= BYTE_OF.keys() else piece.encode()

    def _spelling(self, token: int, logprob: float) -> tuple[str, float, tuple[int, ...]]:
        if token not in self._spelled:
            own = self.token_bytes(token)
            self._spelled[token] = own.decode(errors="replace"), tuple(own)
        text, own_bytes = self._spelled[token]
        return text, logprob, own_bytes
