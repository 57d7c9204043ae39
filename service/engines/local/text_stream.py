"""Tokens in, text that may be shown out.

Promises: the pieces joined are the reply's text; no piece ends inside a character; nothing of a stop string, nor
of what might still become one, is ever shown. Leaves out special tokens (`decode` skips them) and token counts.
"""

from collections.abc import Callable, Sequence

MAX_PENDING_TOKENS = 8
"""A character is four bytes, so four tokens at most; what is unreadable after this many will stay so."""

UNREADABLE = "\ufffd"


class TextStream:
    """Turns one reply's tokens into text. `decode` maps tokens to text, U+FFFD standing for incomplete bytes."""

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self.stopped = False
        """A stop string was found; everything before it has been returned."""
        self._decode = decode
        self._stop = tuple(text for text in stop if text)
        self._tokens: list[int] = []  # a window: the last piece's tokens, then those not yet shown
        self._shown = 0  # how many tokens of the window are in text already
        self._held = ""  # text that may be the beginning of a stop string

    def push(self, token: int) -> str:
        """Take one token; return the text that is certain by now (often empty)."""
        self._tokens.append(token)
        return self._release(self._new_text(final=False))

    def finish(self) -> str:
        """The reply has ended: return what was held back."""
        text = self._release(self._new_text(final=True))
        if not self.stopped:
            text, self._held = text + self._held, ""
        return text

    def _new_text(self, *, final: bool) -> str:
        # Decoded together with the piece before it: some tokenizers drop a leading space of the first token.
        before = self._decode(self._tokens[: self._shown])
        text = self._decode(self._tokens)
        pending = len(self._tokens) - self._shown
        incomplete = text.endswith(UNREADABLE) and pending < MAX_PENDING_TOKENS
        if not final and (incomplete or len(text) <= len(before)):
            return ""
        self._tokens = self._tokens[self._shown :]
        self._shown = len(self._tokens)
        return text[len(before) :]

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = held_length(text, self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def held_length(text: str, stop: Sequence[str]) -> int:
    """How many last characters of `text` may be the beginning of a stop string.

    >>> held_length("see you\\n\\nUs", ["\\n\\nUser:", "###"])
    4
    >>> held_length("a b", ["###"])
    0
    """
    longest = 0
    for stop_text in stop:
        for length in range(min(len(stop_text) - 1, len(text)), longest, -1):
            if text.endswith(stop_text[:length]):
                longest = length
                break
    return longest
