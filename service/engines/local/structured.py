"""Replies that follow a JSON schema: which tokens may come next, by llguidance.

Promises: whatever the schema, a step takes a few milliseconds at most, and compiling ends within `WAIT_SECONDS`
without harm to this process; a schema that can't be followed is an InvalidInput that says why. Leaves out the
picking (`sampling`) and the thread in which compiling happens (`worker`).
"""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from transformers import PreTrainedTokenizerBase

from feedback.errors import InvalidInput
from service.engines.base import FinishReason
from service.engines.local import schema_check
from service.engines.local.schema_check import compile_schema

WAIT_SECONDS = 10.0
KEPT_SCHEMAS = 16
"""How many compiled schemas are kept for the next requests."""
KEPT_REFUSALS = 64
"""How many refused ones are known again: trying one takes up to a second of a core."""


class Matcher:
    """Follows one reply: `forbidden` are the tokens that may not come next, `ended` says why none may.

    What a lexer has learned is shared by the copies of one compiled schema, and so are the limits on it: a reply whose
    copy fails goes on with a matcher of its own, from `renew`, and ends only if that fails as well.
    """

    def __init__(self, matcher: LLMatcher, vocabulary_tokens: int, renew: Callable[[], LLMatcher]) -> None:
        self.ended: FinishReason | None = None
        self._matcher = matcher
        self._vocabulary_tokens = vocabulary_tokens
        self._renew: Callable[[], LLMatcher] | None = renew
        self._tokens: list[int] = []
        self.forbidden = self._mask()  # (V,)

    def advance(self, token: int) -> None:
        self._tokens.append(token)
        self._matcher.consume_token(token)
        self._look()
        if self._matcher.is_error() and self._renew is not None:
            self._matcher, self._renew = self._renew(), None
            self._matcher.consume_tokens(self._tokens)
            self._look()
        if self._matcher.is_error():  # the schema has become too complex to be followed further
            self.ended = "length"
        elif self._matcher.is_stopped():
            self.ended = "stop"

    def _look(self) -> None:
        if not self._matcher.is_stopped():
            self.forbidden = self._mask()

    @property
    def error(self) -> str:
        return self._matcher.get_error()

    def _mask(self) -> torch.Tensor:
        allowed = numpy.frombuffer(self._matcher.compute_bitmask(), numpy.uint8)
        bits = numpy.unpackbits(allowed, count=self._vocabulary_tokens, bitorder="little")
        return torch.from_numpy(bits == 0)


class Schemas:
    """Compiles schemas for one tokenizer and keeps the last ones. For one thread, not the one that steps."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary_tokens: int, stop_tokens: frozenset[int]) -> None:
        self._vocabulary_tokens = vocabulary_tokens
        self._tokenizer: LLTokenizer | None = None
        self._unusable = ""  # why there is none
        try:  # now, not for the first schema: half a second in which streams would stand still
            slices = LLTokenizer.json_slices()
            self._tokenizer = from_tokenizer(tokenizer, vocabulary_tokens, sorted(stop_tokens), slices)
        except Exception as error:  # not a fast tokenizer, or one that llguidance doesn't know
            self._unusable = str(error)
        self._compiled: dict[str, LLMatcher] = {}
        self._refused: dict[str, str] = {}  # what was tried in vain, and why; the last ones last

    def matcher(self, schema: str) -> Matcher:
        """Raises InvalidInput if the schema is none or asks for what can't be had."""
        if self._tokenizer is None:
            raise InvalidInput(
                f"This base model can't follow a schema: llguidance can't use its tokenizer ({self._unusable}). Ask "
                "without response_format, or serve a base model with a fast tokenizer.",
                param="response_format",
            )
        renew = functools.partial(compile_schema, self._tokenizer, schema)
        compiled = self._compiled.pop(schema, None)
        if compiled is not None:
            matcher = Matcher(compiled.deep_copy(), self._vocabulary_tokens, renew)
            if not matcher.error:  # else what copies share has reached its limits
                self._compiled[schema] = compiled
                return matcher
        self._check(schema)
        compiled = renew()
        if compiled.is_error():
            raise _refused(compiled.get_error())
        matcher = Matcher(compiled.deep_copy(), self._vocabulary_tokens, renew)
        if matcher.error:
            raise _refused(matcher.error)
        _remember(self._compiled, schema, compiled, KEPT_SCHEMAS)
        return matcher

    def _check(self, schema: str) -> None:
        reason = self._refused.pop(schema, None) or _wrong(schema)
        if reason:
            _remember(self._refused, schema, reason, KEPT_REFUSALS)
            raise _refused(reason)


def _wrong(schema: str) -> str:
    """Why it can't be followed, tried where it can do no harm; empty if it can."""
    try:
        if not isinstance(json.loads(schema), dict):
            return "it isn't a JSON object"
    except ValueError as error:
        return f"it isn't JSON: {error}"
    command = [sys.executable, "-P", str(Path(schema_check.__file__))]
    try:
        tried = subprocess.run(command, input=schema.encode(), capture_output=True, timeout=WAIT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:  # of a busy machine perhaps: not to be remembered
        raise _refused("it takes too long to compile; make it simpler") from error
    if tried.returncode != 0:
        return "it takes too much time or memory to compile; make it simpler"
    return tried.stdout.decode()


def _remember(kept: dict[str, Any], schema: str, value: Any, most: int) -> None:
    """As the newest of `kept`; the oldest one beyond `most` goes."""
    kept[schema] = value
    if len(kept) > most:
        del kept[next(iter(kept))]


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(f"The schema can't be followed: {reason}.", param="response_format")
