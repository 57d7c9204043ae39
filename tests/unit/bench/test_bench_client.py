"""The benchmarks' client reads HTTP however the network cuts it."""

import asyncio

import pytest
from bench.client import Answer, BenchmarkFailed, Response, connect

EVENTS = ['{"n": 1}', '{"text": "größer\\n"}', "[DONE]"]
STREAM = "".join(f"data: {event}\n\n" for event in EVENTS[:2]) + ": ping\n\n" + f"data: {EVENTS[2]}\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(text: str, size: int) -> bytes:
    """The body in chunks of `size` bytes: some end within an event, some within a character."""
    raw = text.encode()
    parts = [raw[start : start + size] for start in range(0, len(raw), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("chunk", [1, 7, 20, 1000])
@pytest.mark.parametrize("segment", [1, 3, 64, 10_000])
def test_events_come_whole_and_once_whatever_the_chunks_and_segments(chunk: int, segment: int) -> None:
    raw = HEAD + chunked(STREAM, chunk)
    response, events = Response(), []
    for start in range(0, len(raw), segment):
        assert not response.complete
        response.feed(raw[start : start + segment])
        events += response.take_events()
    assert events == EVENTS
    assert (response.status, response.complete, bytes(response.body)) == (200, True, b"")


def test_an_event_is_there_as_soon_as_its_last_byte_is() -> None:
    response = Response()
    response.feed(HEAD + b"9\r\ndata: one\r\n2\r\n\n")
    assert response.take_events() == []
    response.feed(b"\n")
    assert response.take_events() == ["one"]
    assert not response.complete


def test_a_body_of_known_length() -> None:
    raw = b'HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nX-Request-Id: r\r\n\r\n{"a": {}}'
    response = Response()
    for byte in raw[:-1]:
        response.feed(bytes([byte]))
    assert not response.complete
    response.feed(raw[-1:])
    assert (response.status, response.complete, bytes(response.body)) == (404, True, b'{"a": {}}')


def test_an_answer_takes_a_time_for_each_piece_with_text_and_its_usage_from_the_last_chunk() -> None:
    answer = Answer(asked=1.0)
    deltas = [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {}]
    for now, delta in enumerate(deltas, 2):
        answer.take({"model": "support@1", "choices": [{"index": 0, "delta": delta}], "usage": None}, now)
    answer.take({"model": "support@1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}, 6.0)
    assert (answer.model, answer.text, answer.arrivals) == ("support@1", "Hello", [3, 4])
    assert (answer.prompt_tokens, answer.completion_tokens) == (9, 4)


def test_an_error_in_mid_stream_is_a_failed_benchmark() -> None:
    with pytest.raises(BenchmarkFailed, match="the engine stopped"):
        Answer(asked=1.0).take({"error": {"message": "the engine stopped"}}, 2.0)


def test_a_connection_that_the_service_closed_between_two_answers_is_opened_anew() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + chunked("data: [DONE]\n\n", 100))
        writer.close()

    async def ask_twice() -> list[float]:
        async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
            client = await connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "key")
            ended = []
            for _ in range(2):
                ended.append((await asyncio.wait_for(client.ask({}), 5)).ended)
                await asyncio.sleep(0.05)
            client.close()
            return ended

    assert all(asyncio.run(ask_twice()))
