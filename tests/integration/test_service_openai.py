"""The chat API as the unmodified `openai` client sees it."""

import json
from typing import Any

import openai
import pytest
from burnish_server import Deployment, bearer

from feedback import keys
from feedback.states import Role

HELLO: Any = [{"role": "user", "content": "good morning"}]


@pytest.fixture(scope="module")
def client(server: Deployment) -> openai.OpenAI:
    return server.openai()


def refusal(client: openai.OpenAI, **changes: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{"model": "support", "messages": HELLO, **changes})
    return caught.value


def assert_openai_error(error: openai.APIStatusError, status: int, kind: str, code: str, param: str | None) -> None:
    assert (error.status_code, error.type, error.code, error.param) == (status, kind, code, param)
    assert error.request_id
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.body["message"]


def test_a_completion_has_every_field_the_client_knows(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="support", messages=HELLO, metadata={"topic": "greeting"})
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == "support@0"
    assert answer.created > 0
    assert [choice.message.content for choice in answer.choices] == ["[base] good morning"]
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 3
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.model_dump()["metadata"] == {"topic": "greeting"}
    assert answer._request_id


def test_a_stream_says_the_role_once_then_the_words_then_why_it_ended(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="support", messages=HELLO, stream=True))
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.model for chunk in chunks} == {"support@0"}
    assert [chunk.choices[0].delta.role for chunk in chunks] == ["assistant"] + [None] * (len(chunks) - 1)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "[base] good morning"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_usage_when_asked_for(client: openai.OpenAI) -> None:
    *chunks, last = client.chat.completions.create(
        model="support", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


def test_a_stream_is_plain_server_sent_events(server: Deployment) -> None:
    body = {"model": "support", "messages": HELLO, "stream": True}
    answer = server.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-request-id"]
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(json.loads(event.removeprefix("data: "))["choices"] for event in events[:-2])


def test_two_choices_come_back_as_siblings(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="support", messages=HELLO, n=2, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert [choice.message.content for choice in answer.choices] == [
        "[base] (seed 7) good morning",
        "[base] (seed 8) good morning",
    ]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 10


def test_two_choices_can_be_streamed_side_by_side(client: openai.OpenAI) -> None:
    texts, ends = ["", ""], []
    for chunk in client.chat.completions.create(model="support", messages=HELLO, n=2, seed=7, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []
    assert texts == ["[base] (seed 7) good morning", "[base] (seed 8) good morning"]
    assert sorted(ends) == [0, 1]


def test_models_are_the_assistants_that_the_key_may_see(server: Deployment) -> None:
    assert {model.id for model in server.openai().models.list()} >= {"base", "support", "garden"}
    limited = server.openai(server.make_key(Role.CHAT, "garden"))
    assert [model.id for model in limited.models.list()] == ["garden"]
    assert limited.models.retrieve("garden").owned_by == "burnish"


def test_the_bare_base_and_a_numbered_version_can_be_talked_to(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="base", messages=HELLO).model == "base"
    assert client.chat.completions.create(model="support@0", messages=HELLO).model == "support@0"


def test_unknown_parameters_are_ignored(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="support",
        messages=HELLO,
        tools=[],
        service_tier="auto",
        extra_body={"best_of": 3, "chat_id": "x", "title": True},
    )
    assert answer.choices[0].message.content == "[base] good morning"


def test_every_sampling_parameter_is_taken_and_stored_in_short(server: Deployment) -> None:
    schema = {"name": "reply", "schema": {"type": "object", "description": "x" * 9000}, "strict": True}
    answer = server.openai().chat.completions.create(
        model="support",
        messages=HELLO,
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        logit_bias={str(token): -100 for token in range(300)},
        response_format={"type": "json_schema", "json_schema": schema},
        extra_body={"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.2, "ignore_eos": True},
    )
    assert answer.choices[0].message.content == "[base] good morning"
    [reply] = server.replies(answer.id)
    stored = reply.sampling
    assert {name: stored[name] for name in ("top_k", "min_p", "repetition_penalty", "ignore_eos")} == {
        "top_k": 40,
        "min_p": 0.1,
        "repetition_penalty": 1.2,
        "ignore_eos": True,
    }
    assert len(stored["json_schema_sha256"]) == len(stored["logit_bias_sha256"]) == 64
    assert len(json.dumps(stored)) < 1000


def test_parameters_may_be_null(server: Deployment) -> None:
    names = """stream stream_options max_tokens max_completion_tokens temperature top_p top_k min_p frequency_penalty
        presence_penalty repetition_penalty logit_bias stop ignore_eos seed logprobs top_logprobs response_format n
        user metadata store"""
    assert server.ask("good morning", **dict.fromkeys(names.split()))["object"] == "chat.completion"


def test_vllms_other_word_for_all_tokens_is_taken(server: Deployment) -> None:
    assert server.ask("good morning", top_k=-1, response_format={"type": "text"})["object"] == "chat.completion"


def test_logprobs_say_the_same_in_body_and_stream(client: openai.OpenAI) -> None:
    asked: Any = {"model": "support", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
    whole = client.chat.completions.create(**asked).choices[0].logprobs
    assert whole is not None
    assert whole.refusal is None
    assert [entry.token for entry in whole.content or []] == ["[base]", " good", " morning"]
    for entry in whole.content or []:
        assert bytes(entry.bytes or []).decode() == entry.token
        assert entry.logprob <= 0
        assert len(entry.top_logprobs) == 2
        assert entry.top_logprobs[0].token == entry.token
    streamed = [
        entry
        for chunk in client.chat.completions.create(**asked, stream=True)
        if chunk.choices[0].logprobs is not None
        for entry in chunk.choices[0].logprobs.content or []
    ]
    assert streamed == whole.content
    alone = client.chat.completions.create(model="support", messages=HELLO, logprobs=True).choices[0].logprobs
    assert alone is not None
    assert [entry.top_logprobs for entry in alone.content or []] == [[], [], []]


def test_content_parts_are_joined(client: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "good "}, {"type": "text", "text": "evening"}]
    answer = client.chat.completions.create(model="support", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "[base] good evening"


def test_pictures_are_refused_by_name(client: openai.OpenAI) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    error = refusal(client, messages=[{"role": "user", "content": picture}])
    assert_openai_error(error, 400, "invalid_request_error", "invalid_value", "messages")
    assert "image_url" in error.message


def test_a_developer_message_is_a_system_message(server: Deployment) -> None:
    messages: Any = [{"role": "developer", "content": "Be brief."}, *HELLO]
    answer = server.openai().chat.completions.create(model="support", messages=messages)
    assert answer.choices[0].message.content == "[base] good morning"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3 + 3  # each message counts its words and one


def test_max_tokens_ends_a_reply_for_its_length(client: openai.OpenAI) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        answer = client.chat.completions.create(**{"model": "support", "messages": HELLO, name: 2})
        assert answer.choices[0].finish_reason == "length"
        assert answer.choices[0].message.content == "[base] good"


def test_stop_ends_a_reply_before_its_words(client: openai.OpenAI) -> None:
    for stop in (" morning", ["evening", " morning"]):
        answer = client.chat.completions.create(model="support", messages=HELLO, stop=stop)
        assert answer.choices[0].message.content == "[base] good"
        assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "model", ["nobody", "support@7", "support@", "support@x", "support@²", f"support@{10**30}", ""]
)
def test_an_unknown_model_is_404(client: openai.OpenAI, model: str) -> None:
    error = refusal(client, model=model)
    assert isinstance(error, openai.NotFoundError)
    assert_openai_error(error, 404, "invalid_request_error", "model_not_found", "model")


@pytest.mark.parametrize("model", ["support", "support@0", "base"])
def test_another_tenants_assistant_is_404_like_one_that_does_not_exist(server: Deployment, model: str) -> None:
    tenant = server.openai(server.make_key(Role.CHAT, "garden"))
    error = refusal(tenant, model=model)
    assert_openai_error(error, 404, "invalid_request_error", "model_not_found", "model")
    nobody = "nobody@0" if "@" in model else "nobody"
    assert error.message == refusal(tenant, model=nobody).message.replace(nobody, model)


@pytest.mark.parametrize("token", ["sk-burnish-nobody", "nonsense"])
def test_an_unknown_key_is_401(server: Deployment, token: str) -> None:
    error = refusal(server.openai(token))
    assert isinstance(error, openai.AuthenticationError)
    assert_openai_error(error, 401, "authentication_error", "invalid_api_key", None)


def test_no_key_is_401_and_says_how_to_send_one(server: Deployment) -> None:
    for headers in ({}, {"authorization": "Basic abc"}, {"authorization": "Bearer"}):
        answer = server.anyone.post("/v1/chat/completions", json={}, headers=headers)
        assert answer.status_code == 401
        assert "Bearer" in answer.json()["error"]["message"]


@pytest.mark.parametrize("role", [Role.FEEDBACK, Role.REVIEWER])
def test_keys_that_may_not_chat_get_403(server: Deployment, role: Role) -> None:
    error = refusal(server.openai(server.make_key(role)))
    assert isinstance(error, openai.PermissionDeniedError)
    assert_openai_error(error, 403, "permission_error", "insufficient_permissions", None)


@pytest.mark.parametrize("role", [Role.CHAT, Role.FEEDBACK, Role.REVIEWER])
def test_only_operators_see_and_change_assistants(server: Deployment, role: Role) -> None:
    headers = bearer(server.make_key(role))
    assert server.http.get("/v1/assistants", headers=headers).status_code == 403
    assert server.http.get("/v1/assistants/support/versions", headers=headers).status_code == 403
    for deed in ("promote", "rollback", "runs"):
        answer = server.http.post(f"/v1/assistants/support/{deed}", json={"version": 0}, headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["type"] == "permission_error"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "Only that."}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "Hi."}]}, "messages.0.role"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 99}, "n"),
        ({"top_p": 0}, "top_p"),
        ({"stop": list("abcde")}, None),
        ({"seed": 2**63}, "seed"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"logit_bias": {"5": 101}}, None),
        ({"logit_bias": {"five": 1}}, None),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"extra_body": {"top_k": -2}}, "top_k"),
        ({"extra_body": {"min_p": 1.5}}, "min_p"),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 1}}}, None),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"description": "x" * 2**16}},
                }
            },
            "response_format",
        ),
        ({"metadata": {"conversation_id": "x" * 201}}, "metadata"),
    ],
)
def test_parameters_out_of_range_are_400_and_named(client: openai.OpenAI, changes: Any, param: str | None) -> None:
    error = refusal(client, **changes)
    assert isinstance(error, openai.BadRequestError)
    assert error.type == "invalid_request_error"
    assert error.param is not None
    if param is not None:
        assert error.param == param


@pytest.mark.parametrize("content", ["{", "[]", "", '"text"', '{"model": "support"}'])
def test_a_body_that_is_no_request_is_400_in_the_same_shape(server: Deployment, content: str) -> None:
    headers = {"content-type": "application/json"}
    answer = server.http.post("/v1/chat/completions", content=content, headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_text_that_is_no_unicode_is_400(server: Deployment) -> None:
    content = r'{"model": "support", "messages": [{"role": "user", "content": "half a pair: \ud800"}]}'
    answer = server.http.post("/v1/chat/completions", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_unknown_addresses_and_methods_answer_in_the_same_shape(server: Deployment) -> None:
    for answer in (server.http.get("/v1/nothing"), server.http.get("/v1/chat/completions")):
        assert answer.status_code in (404, 405)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"]


def test_a_revoked_key_stops_working_at_once(server: Deployment) -> None:
    token = server.make_key(Role.CHAT)
    client = server.openai(token)
    client.chat.completions.create(model="support", messages=HELLO)
    with server.database.write() as session:
        keys.revoke(session, keys.authenticate(session, token).api_key_id, actor="test")
    assert refusal(client).status_code == 401


def test_a_request_id_from_the_client_is_kept_if_it_is_harmless(server: Deployment) -> None:
    kept = server.anyone.get("/health/live", headers={"x-request-id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"
    odd = server.anyone.get("/health/live", headers={"x-request-id": 'a"b c'})
    assert odd.headers["x-request-id"].startswith("req-")
