"""Schemas on a tokenizer whose tokens are bytes: whatever a model would say, the reply follows the schema."""

import json
import subprocess
from enum import StrEnum
from typing import Any

import pytest
import torch
from pydantic import BaseModel, Field
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CanineTokenizer, PreTrainedTokenizerFast

from feedback.errors import InvalidInput
from service.engines.base import SamplingParams
from service.engines.local.sampling import Picking, pick
from service.engines.local.structured import Matcher, Schemas

END = 256
VOCABULARY = 300
"""The model's vocabulary is wider than its tokenizer's, as many are."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(
        models.BPE(vocab={**{character: id for id, character in enumerate(alphabet)}, "<end>": END}, merges=[])
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>")


TOKENIZER = byte_tokenizer()


@pytest.fixture(scope="module")
def schemas() -> Schemas:
    return Schemas(TOKENIZER, VOCABULARY, frozenset({END}))


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Part(BaseModel):
    model_config = {"extra": "forbid"}
    colour: Colour
    count: int = Field(ge=-5, le=1000)


class Order(BaseModel):
    model_config = {"extra": "forbid"}
    name: str = Field(min_length=1, max_length=6)
    parts: list[Part] = Field(min_length=1, max_length=3)
    note: str | None = Field(None, max_length=4)
    paid: bool
    code: str = Field(pattern="^[A-Z]{2}-[0-9]{3}$")


def write(matcher: Matcher, seed: int, most: int = 400, **settings: Any) -> list[int]:
    """What a model with random logits writes."""
    generator = torch.Generator().manual_seed(seed)
    row = Picking(SamplingParams(**{"max_tokens": most, "seed": seed, **settings}), [], matcher)
    tokens: list[int] = []
    while row.ended is None and len(tokens) < most:
        tokens.append(pick(4 * torch.randn(1, VOCABULARY, generator=generator), [row])[0].token)
    return tokens


def text(tokens: list[int]) -> str:
    return str(TOKENIZER.decode(tokens, skip_special_tokens=True))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0}, {"top_p": 0.5}, {"top_k": 3}, {"min_p": 0.2}])
def test_every_reply_follows_the_schema_and_ends_by_itself(schemas: Schemas, settings: dict[str, Any]) -> None:
    schema = json.dumps(Order.model_json_schema())
    seen = set()
    for seed in range(8):
        matcher = schemas.matcher(schema)
        written = text(write(matcher, seed, **settings))
        assert matcher.ended == "stop"
        Order.model_validate_json(written)
        seen.add(written)
    assert len(seen) == 8


def test_penalties_and_bias_cannot_break_out(schemas: Schemas) -> None:
    brace = int(TOKENIZER.convert_tokens_to_ids("}"))
    matcher = schemas.matcher(json.dumps(Part.model_json_schema()))
    tokens = write(matcher, 1, logit_bias={END: 100.0, brace: 100.0}, frequency_penalty=2.0, repetition_penalty=3.0)
    Part.model_validate_json(text(tokens))


def test_an_open_end_is_closed_by_a_stop_token(schemas: Schemas) -> None:
    # "12" may go on to "123"; only the end-of-text token says that it doesn't
    matcher = schemas.matcher('{"type": "integer", "minimum": 1}')
    tokens = write(matcher, 3, logit_bias={END: 30.0})
    assert tokens[-1] == END
    assert matcher.ended == "stop"
    assert json.loads(text(tokens)) >= 1


def test_no_endless_white_space(schemas: Schemas) -> None:
    space = int(TOKENIZER.convert_tokens_to_ids("Ġ"))
    tokens = write(schemas.matcher(json.dumps(Part.model_json_schema())), 1, logit_bias={space: 100.0})
    assert " " * 16 in text(tokens)
    assert " " * 17 not in text(tokens)
    Part.model_validate_json(text(tokens))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("{", "isn't JSON"),
        ("[1]", "isn't a JSON object"),
        ('{"type": "nonsense"}', "nonsense"),
        ('{"type": "string", "pattern": "("}', "unclosed group"),
        ('{"type": "string", "format": "colour"}', "colour"),
        ('{"type": "array", "minItems": 3, "maxItems": 2}', "minItems"),
        ('{"not": {"type": "string"}}', "not"),
        ('{"$ref": "http://127.0.0.1/schema.json"}', "127.0.0.1"),
        ('{"type": "integer", "multipleOf": 999983}', "too much time or memory"),
        (
            json.dumps({"allOf": [{"type": "string", "pattern": f".*{number}{number + 7}.*"} for number in range(30)]}),
            "too much time or memory",
        ),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused_with_the_reason(
    schemas: Schemas, schema: str, reason: str
) -> None:
    with pytest.raises(InvalidInput, match="The schema can't be followed") as refused:
        schemas.matcher(schema)
    assert reason in refused.value.message
    assert refused.value.param == "response_format"


TOO_COMPLEX = '{"type": "string", "pattern": "^.*a.{14}b.*a.{14}b.*a.{14}b$"}'


def write_letters(matcher: Matcher, most: int, seed: int) -> Picking:
    """Go on with what makes TOO_COMPLEX complex."""
    generator = torch.Generator().manual_seed(seed)
    row = Picking(SamplingParams(max_tokens=1, seed=0), [], matcher)
    letters = [int(TOKENIZER.convert_tokens_to_ids(letter)) for letter in "abc"]
    for _ in range(most):
        logits = torch.zeros(1, VOCABULARY)
        logits[0, letters] = 20 + torch.randn(3, generator=generator)
        pick(logits, [row])
        if row.ended is not None:
            break
    return row


def test_a_reply_that_gets_too_complex_ends_for_its_length_and_spoils_nothing(schemas: Schemas) -> None:
    healthy = schemas.matcher(TOO_COMPLEX)
    assert write_letters(healthy, 100, seed=1).ended is None
    assert write_letters(schemas.matcher(TOO_COMPLEX), 20_000, seed=0).ended == "length"
    assert write_letters(healthy, 100, seed=2).ended is None
    assert schemas.matcher(TOO_COMPLEX).ended is None


def test_a_reply_that_goes_on_with_a_matcher_of_its_own_still_follows_the_schema(schemas: Schemas) -> None:
    schema = (
        '{"type": "object", "properties": {"a": {"enum": ["x"]}}, "required": ["a"], "additionalProperties": false}'
    )
    matcher = schemas.matcher(schema)
    for token in TOKENIZER.encode('{"a"'):
        matcher.advance(token)
    expected = matcher.forbidden
    colon, stranger = (int(TOKENIZER.convert_tokens_to_ids(character)) for character in ":x")
    broken = matcher._matcher.deep_copy()
    broken.consume_token(stranger)
    assert broken.is_error()
    matcher._matcher, matcher._tokens = broken, matcher._tokens[:-1]
    matcher.advance(int(TOKENIZER.encode('"')[0]))
    assert matcher.ended is None
    assert torch.equal(matcher.forbidden, expected)
    matcher.advance(colon)
    assert matcher.ended is None


def test_a_refused_schema_is_not_tried_again(schemas: Schemas, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    run = subprocess.run

    def counted(*arguments: Any, **more: Any) -> Any:
        tried.append(arguments)
        return run(*arguments, **more)

    monkeypatch.setattr(subprocess, "run", counted)
    for _ in range(3):
        with pytest.raises(InvalidInput, match="too much time or memory"):
            schemas.matcher('{"type": "integer", "multipleOf": 999979}')
    assert len(tried) == 1
    for number in range(100):
        with pytest.raises(InvalidInput):
            schemas.matcher(f"[{number}]")
    with pytest.raises(InvalidInput, match="too much time or memory"):  # forgotten: there is no end of bad schemas
        schemas.matcher('{"type": "integer", "multipleOf": 999979}')
    assert len(tried) == 2


def test_a_tokenizer_that_is_not_fast_is_refused() -> None:
    with pytest.raises(InvalidInput, match="fast tokenizer") as refused:
        Schemas(CanineTokenizer(), VOCABULARY, frozenset({1})).matcher('{"type": "object"}')
    assert refused.value.param == "response_format"
