"""Tokens in, text that may be shown out.

Promises: the pieces joined are the reply's text; no piece ends inside a character; nothing of a stop string, nor
of what might still become one, is ever shown. A token's log-probabilities go out once, with the first of its text;
those of tokens that a stop string swallowed never do, so that the entries' bytes are the text's, as OpenAI's are.
Leaves out special tokens (`decode` skips them) and token counts.
"""

from collections.abc import Callable, Sequence

from service.engines.base import TokenLogprob

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
        self._without_text = 0  # how many of those not yet shown stand for none
        self._held = ""  # text that may be the beginning of a stop string
        self._decoded_characters = 0
        self._released_characters = 0
        self._logprobs: list[tuple[int, TokenLogprob]] = []  # not yet taken, with where the token's text begins

    def push(self, token: int, logprob: TokenLogprob | None = None) -> str:
        """Take one token; return the text that is certain by now (often empty)."""
        if logprob is not None:
            self._logprobs.append((self._decoded_characters, logprob))
        self._tokens.append(token)
        return self._release(self._new_text(final=False))

    def finish(self) -> str:
        """The reply has ended: return what was held back."""
        text = self._release(self._new_text(final=True))
        if not self.stopped:
            text, self._held = text + self._held, ""
            self._released_characters = self._decoded_characters + 1  # and what tokens without text would add
        return text

    def take_logprobs(self) -> tuple[TokenLogprob, ...]:
        """The entries that go with the text returned since the last call."""
        taken = tuple(entry for begin, entry in self._logprobs if begin < self._released_characters)
        self._logprobs = self._logprobs[len(taken) :]
        return taken

    def _new_text(self, *, final: bool) -> str:
        # Decoded together with the piece before it: some tokenizers drop a leading space of the first token.
        before = self._decode(self._tokens[: self._shown])
        text = self._decode(self._tokens)
        pending = len(self._tokens) - self._shown
        if text == before:  # special tokens, say: a reply may have thousands, and each would make the window longer
            if pending > MAX_PENDING_TOKENS:
                del self._tokens[self._shown :]
            self._without_text = len(self._tokens) - self._shown
        incomplete = text.endswith(UNREADABLE) and pending - self._without_text < MAX_PENDING_TOKENS
        if not final and (incomplete or len(text) <= len(before)):
            return ""
        self._tokens = self._tokens[self._shown :]
        self._shown = len(self._tokens)
        self._without_text = 0
        self._decoded_characters += max(len(text) - len(before), 0)
        return text[len(before) :]

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            text = text[: min(found)]
        else:
            keep = held_length(text, self._stop)
            self._held = text[len(text) - keep :]
            text = text[: len(text) - keep]
        self._released_characters += len(text)
        return text


def held_length(text: str, stop: Sequence[str]) -> int:
    """How many last characters of `text` may be the beginning of a stop string.

    >>> held_length("see you\\n\\nUs", ["\\n\\nUser:", "###"])
    4
    >>> held_length("a b", ["###"])
    0
    """
    longest = 0
    for stop_text in stop:
        begin = text.find(stop_text[0], max(len(text) - len(stop_text) + 1, 0))
        while 0 <= begin < len(text) - longest:
            if stop_text.startswith(text[begin:]):
                longest = len(text) - begin
            else:
                begin = text.find(stop_text[0], begin + 1)
    return longest
