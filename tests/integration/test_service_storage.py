"""Every exchange is stored with the version that wrote it, however it ends."""

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from burnish_server import Deployment, InProcess, deployment, eventually
from sqlmodel import select

from feedback import conversations
from feedback.models import Conversation, Message
from feedback.states import MessageStatus
from service.engines.echo import EchoEngine

CSAT = {"id": "csat", "text": "How did it go?", "kind": "csat"}
MANY_WORDS = " ".join(f"word{number}" for number in range(600))


@dataclass
class SlowHouse:
    made: Deployment
    engine: EchoEngine
    app: InProcess

    def idle(self) -> bool:
        return not any(self.engine.running.values())


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowHouse]:
    """An application whose engine takes its time, so that a reply can be watched and interrupted."""
    folder: Path = tmp_path_factory.mktemp("slow")
    with deployment(folder) as made:
        engine = EchoEngine(delay_seconds=0.02)
        app = InProcess(made, engine)
        try:
            yield SlowHouse(made, engine, app)
        finally:
            app.stop()


@pytest.mark.parametrize("names", [{"user": ""}, {"user": "", "safety_identifier": ""}])
def test_a_conversation_is_nobodys_where_the_client_names_an_empty_user(
    server: Deployment, names: dict[str, str]
) -> None:
    (reply,) = server.replies(server.ask("Whose is it?", **names)["id"])
    with server.database.read() as session:
        assert session.get_one(Conversation, reply.conversation_id).contributor_id is None


def test_a_reply_is_in_the_database_before_its_first_chunk_and_complete_before_done(server: Deployment) -> None:
    words = " ".join(f"word{number}" for number in range(40))
    body = {"model": "support", "messages": [{"role": "user", "content": words}], "stream": True}
    states: list[MessageStatus] = []
    completion_id = ""
    with server.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if line == "data: [DONE]":
                states.append(server.replies(completion_id)[0].status)
            elif line and not states:
                completion_id = json.loads(line.removeprefix("data: "))["id"]
                first = server.replies(completion_id)[0]
                assert server.version_label(first) == "support@0"
                assert first.content == ""
                states.append(first.status)
    assert states == [MessageStatus.WRITING, MessageStatus.COMPLETE]
    assert server.replies(completion_id)[0].content == f"[base] {words}"


def test_an_exchange_is_stored_with_how_it_was_made(server: Deployment) -> None:
    answer = server.ask("good morning", n=2, temperature=0, max_tokens=2, stop=["never"], user="ada", store=False)
    replies = server.replies(answer["id"])
    assert [reply.content for reply in replies] == ["[base] good", "[base] good"]
    for reply in replies:
        assert reply.status == MessageStatus.COMPLETE
        assert reply.finish_reason == "length"
        assert (reply.prompt_tokens, reply.completion_tokens) == (3, 2)
        assert reply.store is False
        assert reply.sampling["max_tokens"] == 2
        assert reply.guidelines_id is not None
    assert len({reply.parent_id for reply in replies}) == 1


def test_a_conversation_goes_on_where_its_history_left_off(server: Deployment) -> None:
    first = server.ask("how do I prune roses?")
    text = first["choices"][0]["message"]["content"]
    history = [
        {"role": "user", "content": "how do I prune roses?"},
        {"role": "assistant", "content": text},
        {"role": "user", "content": "and when?"},
    ]
    second = server.openai().chat.completions.create(model="support", messages=history)  # type: ignore[arg-type]
    replies = server.replies(first["id"]) + server.replies(second.id)
    assert len({reply.conversation_id for reply in replies}) == 1
    again = server.openai().chat.completions.create(model="support", messages=history)  # type: ignore[arg-type]
    assert server.replies(again.id)[0].parent_id == replies[1].parent_id


def test_a_conversation_id_joins_what_histories_do_not(server: Deployment) -> None:
    ids = [server.ask(words, metadata={"conversation_id": "c-1"})["id"] for words in ("one", "two")]
    assert len({server.replies(one)[0].conversation_id for one in ids}) == 1
    other = server.ask("one", metadata={"conversation_id": "c-2"})["id"]
    assert server.replies(other)[0].conversation_id != server.replies(ids[0])[0].conversation_id


def test_what_a_chat_client_asks_for_itself_is_kept_apart_and_never_learned(server: Deployment) -> None:
    name = server.make_assistant("with-open-webui")
    server.burnish("assistant", "set", name, "collect.survey_after_replies=1", f"collect.survey={json.dumps([CSAT])}")
    chat = {"user": "ada", "store": True, "metadata": {"conversation_id": "c-1"}}
    first = server.ask("how do I prune roses?", name, **chat)
    prompt = (
        "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n"
        "### Chat History:\n<chat_history>\nUSER: how do I prune roses?\n</chat_history>"
    )
    tasks = [server.ask(prompt, name, **chat) for _ in range(2)]
    tasks.append(server.ask("roses?", name, **{**chat, "metadata": {"task": "tags_generation"}}))
    replies = [server.replies(answer["id"])[0] for answer in (first, *tasks)]
    assert [reply.store for reply in replies] == [True, False, False, False]
    assert len({reply.conversation_id for reply in replies}) == 4
    for reply in replies[1:]:
        with server.database.read() as session:
            kept = session.exec(select(Message).where(Message.conversation_id == reply.conversation_id)).all()
        assert [message.content for message in kept] == [conversations.NOT_KEPT] * 2
    later = server.replies(server.ask("and when?", name, **chat)["id"])[0]
    assert later.conversation_id == replies[0].conversation_id
    assert server.replies(server.ask("roses?", name, user="ada")["id"])[0].conversation_id != replies[3].conversation_id
    forms = [
        server.http.get("/v1/feedback/form", params={"completion_id": answer["id"]}).json()
        for answer in (first, *tasks)
    ]
    assert [form["survey"] for form in forms] == [[{**CSAT, "options": []}], None, None, None]
    assert [form["kinds"] for form in forms] == [
        ["rating", "comment", "correction", "report", "survey"],
        *[["comment", "report", "survey"]] * 3,
    ]
    for kind, value in (("correction", "Pruning roses"), ("rating", 1), ("preference", {"rejected": {"choice": 1}})):
        refused = server.give(tasks[0]["id"], kind, value, training=True)
        told = refused.json()["error"]
        assert (refused.status_code, told["param"], "client's own task" in told["message"]) == (400, "kind", True)
    for kind, value in (("comment", "A poor title."), ("report", "abuse")):
        assert server.give(tasks[0]["id"], kind, value).status_code == 201
    assert server.give(first["id"], "correction", "In March.", training=True).status_code == 201
    learned = server.burnish("feedback", "export", name, "--format", "openai-sft").stdout
    assert [json.loads(line)["messages"][-1]["content"] for line in learned.splitlines()] == ["In March."]


def test_a_client_that_leaves_a_stream_keeps_its_part_and_frees_the_slot(slow: SlowHouse) -> None:
    stream = slow.made.openai().chat.completions.create(
        model="support", messages=[{"role": "user", "content": MANY_WORDS}], stream=True
    )
    seen = ""
    for chunk in stream:
        seen += chunk.choices[0].delta.content or ""
        if seen.count("word") >= 3:
            break
    assert slow.engine.running["base"] == 1
    stream.close()
    eventually(slow.idle, "the slot is free")
    reply = eventually_stopped(slow, chunk.id)
    assert reply.content.startswith(seen)
    assert len(reply.content) < len(MANY_WORDS)
    assert reply.completion_tokens == len(reply.content.split())


def test_a_client_that_leaves_while_waiting_keeps_its_part_and_frees_the_slot(slow: SlowHouse) -> None:
    body = json.dumps({"model": "support", "messages": [{"role": "user", "content": MANY_WORDS}]}).encode()
    with socket.create_connection(("127.0.0.1", slow.made.settings.port)) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {slow.made.admin}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        eventually(lambda: slow.engine.running["base"] == 1, "the reply is being written")
        completion_id = eventually(lambda: newest_reply(slow), "it is in the database")
    eventually(slow.idle, "the slot is free")
    reply = eventually_stopped(slow, completion_id)
    assert reply.content.startswith("[base]")
    assert len(reply.content) < len(MANY_WORDS)


def test_a_client_that_leaves_two_choices_stops_both(slow: SlowHouse) -> None:
    stream = slow.made.openai().chat.completions.create(
        model="support", messages=[{"role": "user", "content": MANY_WORDS}], n=2, stream=True
    )
    chunk = next(iter(stream))
    stream.close()
    eventually(slow.idle, "both slots are free")
    eventually(
        lambda: all(reply.status == MessageStatus.STOPPED for reply in slow.made.replies(chunk.id)), "both are stopped"
    )


def test_one_client_that_leaves_does_not_disturb_another(slow: SlowHouse) -> None:
    client = slow.made.openai()
    leaving = client.chat.completions.create(
        model="support", messages=[{"role": "user", "content": MANY_WORDS}], stream=True
    )
    staying = client.chat.completions.create(
        model="support", messages=[{"role": "user", "content": "a few words only"}], stream=True
    )
    next(iter(leaving))
    leaving.close()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in staying)
    assert text == "[base] a few words only"


def test_a_stopped_reply_can_still_be_rated(slow: SlowHouse) -> None:
    stream = slow.made.openai().chat.completions.create(
        model="support", messages=[{"role": "user", "content": MANY_WORDS}], stream=True
    )
    chunk = next(iter(stream))
    stream.close()
    eventually_stopped(slow, chunk.id)
    assert slow.made.give(chunk.id, "rating", -1).status_code == 201


def test_an_engine_that_is_closed_answers_503_and_breaks_streams_off_with_a_reason(tmp_path: Path) -> None:
    with deployment(tmp_path) as made:
        engine = EchoEngine(delay_seconds=0.02)
        app = InProcess(made, engine)
        try:
            chunks = made.openai().chat.completions.create(
                model="support", messages=[{"role": "user", "content": MANY_WORDS}], stream=True
            )
            completion_id = next(iter(chunks)).id
            app.call(engine.close())
            with pytest.raises(openai.APIError, match="closed while it wrote"):
                list(chunks)
            eventually(lambda: made.replies(completion_id)[0].status == MessageStatus.FAILED, "the reply has failed")
            with pytest.raises(openai.InternalServerError) as caught:
                made.openai().chat.completions.create(model="support", messages=[{"role": "user", "content": "hi"}])
            assert caught.value.status_code == 503
            assert caught.value.type == "service_unavailable_error"
            assert caught.value.code == "engine_unavailable"
            assert int(caught.value.response.headers["retry-after"]) > 0
            ready = made.ready()
            assert ready.status_code == 503
            assert ready.json()["status"] == "not ready"
            assert made.anyone.get("/health/live").json() == {"status": "live"}
        finally:
            app.stop()


def test_an_engine_and_a_database_that_fail_together_are_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    with deployment(tmp_path) as made:
        engine = EchoEngine(delay_seconds=0.02)
        app = InProcess(made, engine)
        try:
            chunks = made.openai().chat.completions.create(
                model="support", messages=[{"role": "user", "content": MANY_WORDS}], stream=True, timeout=20
            )
            next(iter(chunks))
            with made.database.write() as session:
                session.connection().exec_driver_sql(
                    "CREATE TRIGGER broken BEFORE UPDATE ON message BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
                )
            app.call(engine.close())
            began = time.monotonic()
            with pytest.raises(openai.APIError, match="closed while it wrote"):
                list(chunks)
            assert time.monotonic() - began < 10
        finally:
            app.stop()


def newest_reply(slow: SlowHouse) -> Any:
    from sqlmodel import col, select

    from feedback.models import Message

    with slow.made.database.read() as session:
        chosen = select(Message.completion_id).where(Message.status == MessageStatus.WRITING)
        return session.exec(chosen.order_by(col(Message.id).desc()).limit(1)).first()


def eventually_stopped(slow: SlowHouse, completion_id: str) -> Any:
    def stopped() -> Any:
        reply = slow.made.replies(completion_id)[0]
        return reply if reply.status == MessageStatus.STOPPED else None

    return eventually(stopped, "the reply is stored as stopped")
