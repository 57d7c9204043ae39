"""What a request may ask of the local engine, over HTTP with the bundled model and through the seam with a tiny one."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from burnish_server import Deployment, InProcess, deployment
from pydantic import BaseModel, Field
from transformers import AutoTokenizer

from feedback.config import BUNDLED_MODEL
from feedback.errors import InvalidInput
from service.engines.base import BASE, Delta, GenerationRequest, SamplingParams, ScoreRequest
from service.engines.local import LocalEngine
from service.engines.local.base_model import encode_completion

CAPITAL: Any = [{"role": "user", "content": "What is the capital of France?"}]
GREETING = "你好，世界 😀🎉 naïve"
EXACTLY = json.dumps({"const": GREETING}, ensure_ascii=False)
"""A schema that only this text follows: the model has to write it, a few bytes a token."""


class Serving(InProcess):
    """The bundled model in float32 behind HTTP."""

    def __init__(self, made: Deployment, engine: LocalEngine) -> None:
        super().__init__(made, engine)
        self.client = made.openai()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, models_folder: Path) -> Iterator[Serving]:
    with deployment(tmp_path_factory.mktemp("serving")) as made:
        running = Serving(made, LocalEngine(BUNDLED_MODEL, models_folder, device="cpu", dtype="float32", threads=1))
        yield running
        running.stop()


class Book(BaseModel):
    title: str = Field(max_length=40)
    kind: Literal["novel", "poems", "essays"]
    pages: int = Field(ge=1, le=2000)
    translated: bool


def as_schema(schema: str) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": json.loads(schema), "strict": True}}


def joined(entries: list[Any]) -> bytes:
    return b"".join(bytes(entry.bytes) for entry in entries)


def values(entries: list[Any]) -> list[float]:
    return [entry.logprob for entry in entries]


# ── log-probabilities ──


@pytest.mark.model
def test_logprobs_agree_with_the_score_in_body_and_stream(serving: Serving, models_folder: Path) -> None:
    asked: dict[str, Any] = {
        "model": "base",
        "messages": CAPITAL,
        "max_tokens": 12,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
    }
    choice = serving.client.chat.completions.create(**asked).choices[0]
    text = choice.message.content
    assert choice.logprobs is not None
    entries = choice.logprobs.content
    assert text
    assert entries
    assert joined(entries) == text.encode()
    assert "".join(entry.token for entry in entries) == text
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert (entry.top_logprobs[0].token, entry.top_logprobs[0].logprob) == (entry.token, entry.logprob)
        assert values(entry.top_logprobs) == sorted(values(entry.top_logprobs), reverse=True)

    streamed, pieces = [], ""
    for chunk in serving.client.chat.completions.create(**asked, stream=True):
        pieces += chunk.choices[0].delta.content or ""
        if chunk.choices[0].logprobs is not None:
            streamed += chunk.choices[0].logprobs.content or []
            assert joined(streamed).startswith(pieces.encode())
    assert pieces == text
    assert [entry.token for entry in streamed] == [entry.token for entry in entries]
    assert values(streamed) == pytest.approx(values(entries), abs=1e-4)

    tokenizer = AutoTokenizer.from_pretrained(models_folder / BUNDLED_MODEL)
    assert len(encode_completion(tokenizer, text)) == len(entries) + 1, "the text must be the same tokens again"
    [scores] = serving.call(serving.engine.score([ScoreRequest(CAPITAL, text)]))
    assert values(entries) == pytest.approx(scores[: len(entries)], abs=1e-3)


@pytest.mark.model
def test_logprobs_are_the_models_own_when_settings_change_the_pick(serving: Serving) -> None:
    plain, biased = (
        serving.client.chat.completions.create(
            model="base", messages=CAPITAL, max_tokens=1, temperature=0, logprobs=True, top_logprobs=2, **more
        )
        .choices[0]
        .logprobs
        for more in ({}, {"logit_bias": {"28": 100}})
    )
    assert plain is not None
    assert biased is not None
    [first], [second] = plain.content or [], biased.content or []
    assert first.token != second.token
    assert second.logprob < first.logprob
    assert values(second.top_logprobs) == pytest.approx(values(first.top_logprobs), abs=1e-4)


# ── schemas ──


@pytest.mark.model
def test_replies_follow_a_pydantic_model(serving: Serving) -> None:
    for seed in range(3):
        answer = serving.client.chat.completions.parse(
            model="base",
            messages=[{"role": "user", "content": "Invent a book."}],
            response_format=Book,
            temperature=1.0,
            seed=seed,
            max_tokens=300,
        )
        assert answer.choices[0].finish_reason == "stop"
        assert isinstance(answer.choices[0].message.parsed, Book)


@pytest.mark.model
def test_a_json_object_is_one_and_a_short_one_says_so(serving: Serving) -> None:
    asked: dict[str, Any] = {"model": "base", "messages": CAPITAL, "temperature": 0}
    whole = serving.client.chat.completions.create(
        **asked, max_tokens=400, response_format={"type": "json_object"}, frequency_penalty=1.0
    )
    if whole.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(whole.choices[0].message.content or ""), dict)
    cut = serving.client.chat.completions.create(**asked, max_tokens=4, response_format=as_schema(EXACTLY))
    assert cut.choices[0].finish_reason == "length"
    begun = (cut.choices[0].message.content or "").rstrip("\ufffd")
    assert begun
    assert f'"{GREETING}"'.startswith(begun)


@pytest.mark.model
@pytest.mark.parametrize(
    ("stop", "shown"),
    [
        (None, f'"{GREETING}"'),
        ("世界", '"你好，'),
        ("🎉", '"你好，世界 😀'),
        (["界 😀🎉 n", "never"], '"你好，世'),
        (["界 😀🎉 m"], f'"{GREETING}"'),
        ('"', ""),
    ],
)
def test_chinese_and_emoji_come_out_whole_up_to_a_stop_string(serving: Serving, stop: Any, shown: str) -> None:
    text, entries, reason = "", [], None
    for chunk in serving.client.chat.completions.create(
        model="base",
        messages=CAPITAL,
        response_format=as_schema(EXACTLY),
        logprobs=True,
        stop=stop,
        max_tokens=60,
        stream=True,
    ):
        piece = chunk.choices[0].delta.content or ""
        assert "\ufffd" not in piece
        text += piece
        assert shown.startswith(text)
        if chunk.choices[0].logprobs is not None:
            entries += chunk.choices[0].logprobs.content or []
        reason = chunk.choices[0].finish_reason or reason
    assert (text, reason) == (shown, "stop")
    said = joined(entries)
    assert said.startswith(shown.encode())
    assert len(joined(entries[:-1])) < max(len(shown.encode()), 1), "the last token reported has text that is shown"


@pytest.mark.model
def test_a_schema_that_cannot_be_followed_is_400_and_harms_nobody(serving: Serving) -> None:
    stream = serving.client.chat.completions.create(
        model="base", messages=CAPITAL, max_tokens=120, temperature=0, stream=True, extra_body={"ignore_eos": True}
    )
    pieces = iter(stream)
    next(pieces)
    for schema, reason in (
        ('{"type": "nonsense"}', "nonsense"),
        ('{"type": "integer", "multipleOf": 999983}', "too much time"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            serving.client.chat.completions.create(model="base", messages=CAPITAL, response_format=as_schema(schema))
        assert refused.value.param == "response_format"
        assert reason in refused.value.message
    assert [chunk.choices[0].finish_reason for chunk in pieces][-1] == "length"


# ── through the seam ──


@asynccontextmanager
async def running(base: Path, **options: Any) -> AsyncGenerator[LocalEngine, None]:
    engine = LocalEngine(str(base), base, **{"device": "cpu", "dtype": "float32", "threads": 1, **options})
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def asked(**settings: Any) -> GenerationRequest:
    messages = [{"role": "user", "content": "what is the amber key"}]
    return GenerationRequest(messages, SamplingParams(**{"max_tokens": 8, "temperature": 0, **settings}), BASE)


async def reply(engine: LocalEngine, request: GenerationRequest) -> tuple[str, Delta]:
    deltas = [delta async for delta in engine.generate(request)]
    return "".join(delta.text for delta in deltas), deltas[-1]


END, AMBER = 1, 4
"""Tokens of the tiny base: the end of a turn, and a word."""


def test_bias_ends_a_reply_or_never_lets_it_end(tiny_base: Path) -> None:
    async def scenario() -> None:
        async with running(tiny_base) as engine:
            text, last = await reply(engine, asked(logit_bias={END: 100.0}))
            assert (text, last.completion_tokens, last.finish_reason) == ("", 1, "stop")
            text, last = await reply(engine, asked(logit_bias={END: 100.0}, ignore_eos=True))
            assert (text, last.completion_tokens, last.finish_reason) == ("", 8, "length")
            text, last = await reply(engine, asked(logit_bias={AMBER: 100.0}))
            assert (text.split(), last.finish_reason) == (["amber"] * 8, "length")
            for token in (-1, 10**6):
                with pytest.raises(InvalidInput, match=str(token)) as refused:
                    await reply(engine, asked(logit_bias={token: 1.0}))
                assert refused.value.param == "logit_bias"

    asyncio.run(scenario())


def test_a_request_that_leaves_while_its_schema_compiles_takes_no_slot(tiny_base: Path) -> None:
    async def scenario() -> None:
        async with running(tiny_base, max_batch=1, max_queue=2) as engine:
            for seconds in (0.0, 0.01, 0.1):
                stream = engine.generate(asked(max_tokens=200, json_schema='{"type": "array"}'))
                waiting = asyncio.ensure_future(anext(stream))
                await asyncio.wait([waiting], timeout=seconds)
                waiting.cancel()
                await asyncio.wait([waiting])
                await stream.aclose()
                assert (await reply(engine, asked(logit_bias={END: 100.0})))[1].finish_reason == "stop"

    asyncio.run(scenario())
