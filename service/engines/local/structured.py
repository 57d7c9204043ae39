"""Replies that follow a JSON schema: which tokens may come next, by llguidance.

Promises: whatever the schema, a step takes a few milliseconds at most, and compiling ends within `WAIT_SECONDS`
without harm to this process; a schema that can't be followed is an InvalidInput that says why. Leaves out the
picking (`sampling`) and the thread in which compiling happens (`worker`).
"""

import json
import subprocess
import sys
from pathlib import Path

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


class Matcher:
    """Follows one reply: `forbidden` are the tokens that may not come next, `ended` says why none may."""

    def __init__(self, matcher: LLMatcher, vocabulary_tokens: int) -> None:
        self.ended: FinishReason | None = None
        self._matcher = matcher
        self._vocabulary_tokens = vocabulary_tokens
        self.forbidden = self._mask()  # (V,)

    def advance(self, token: int) -> None:
        self._matcher.consume_token(token)
        if not self._matcher.is_stopped():
            self.forbidden = self._mask()
        if self._matcher.is_error():  # the schema has become too complex to be followed further
            self.ended = "length"
        elif self._matcher.is_stopped():
            self.ended = "stop"

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
        self._source = tokenizer
        self._vocabulary_tokens = vocabulary_tokens
        self._stop_tokens = stop_tokens
        self._tokenizer: LLTokenizer | None = None  # made for the first schema: it takes a quarter of a second
        self._compiled: dict[str, LLMatcher] = {}

    def matcher(self, schema: str) -> Matcher:
        """Raises InvalidInput if the schema is none or asks for what can't be had."""
        compiled = self._compiled.pop(schema, None)
        if compiled is not None:
            matcher = Matcher(compiled.deep_copy(), self._vocabulary_tokens)
            if not matcher.error:  # else what copies share has reached its limits
                self._compiled[schema] = compiled
                return matcher
        compiled = self._compile(schema)
        matcher = Matcher(compiled.deep_copy(), self._vocabulary_tokens)
        if matcher.error:
            raise _refused(matcher.error)
        self._compiled[schema] = compiled
        if len(self._compiled) > KEPT_SCHEMAS:
            del self._compiled[next(iter(self._compiled))]
        return matcher

    def _compile(self, schema: str) -> LLMatcher:
        try:
            if not isinstance(json.loads(schema), dict):
                raise _refused("it isn't a JSON object")
        except ValueError as error:
            raise _refused(f"it isn't JSON: {error}") from error
        _check(schema)
        compiled = compile_schema(self._made_tokenizer(), schema)
        if compiled.is_error():
            raise _refused(compiled.get_error())
        return compiled

    def _made_tokenizer(self) -> LLTokenizer:
        if self._tokenizer is None:
            try:
                self._tokenizer = from_tokenizer(
                    self._source, self._vocabulary_tokens, sorted(self._stop_tokens), LLTokenizer.json_slices()
                )
            except Exception as error:  # not a fast tokenizer, or one that llguidance doesn't know
                raise InvalidInput(
                    f"This base model can't follow a schema: llguidance can't use its tokenizer ({error}). Ask without "
                    "response_format, or serve a base model with a fast tokenizer.",
                    param="response_format",
                ) from error
        return self._tokenizer


def _check(schema: str) -> None:
    """Try it where it can do no harm."""
    command = [sys.executable, "-P", str(Path(schema_check.__file__))]
    try:
        tried = subprocess.run(command, input=schema.encode(), capture_output=True, timeout=WAIT_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _refused("it takes too long to compile; make it simpler") from error
    if tried.returncode != 0:
        raise _refused("it takes too much time or memory to compile; make it simpler")
    if tried.stdout:
        raise _refused(tried.stdout.decode())


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(f"The schema can't be followed: {reason}.", param="response_format")
