"""The benchmarks' closed loop against a real service with the echo engine."""

import asyncio
import itertools
from typing import Any

import pytest
from bench.client import BenchmarkFailed
from bench.load import Window, closed_loop
from burnish_server import Deployment

from feedback.states import Role


def bodies(**more: Any) -> Any:
    for number in itertools.count():
        yield {"model": "support", "messages": [{"role": "user", "content": f"number {number}"}], **more}


def run(server: Deployment, clients: int, **more: Any) -> Window:
    token = server.make_key(Role.CHAT)
    return asyncio.run(closed_loop(server.settings.url, token, bodies(**more), clients, seconds=0.2, requests_each=3))


def test_every_stream_is_read_whole_and_every_client_asks_on(server: Deployment) -> None:
    window = run(server, 3, stream=True, stream_options={"include_usage": True})
    assert len(window.answers) >= 9
    assert window.seconds >= 0.2
    for answer in window.answers:
        assert answer.model == "support@0"
        assert answer.text.split()[:2] == ["[base]", "number"]
        assert answer.completion_tokens == len(answer.arrivals) == 3
        assert answer.asked < answer.arrivals[0] <= answer.arrivals[-1] <= answer.ended
    texts = [answer.text for answer in window.answers]
    assert len(set(texts)) == len(texts)


def test_whole_replies_are_read_too(server: Deployment) -> None:
    window = run(server, 2)
    assert {answer.completion_tokens for answer in window.answers} == {3}
    assert window.requests_per_second() > 0


def test_a_refused_request_ends_the_measurement_with_its_reason(server: Deployment) -> None:
    with pytest.raises(BenchmarkFailed, match=r"404.*does not exist"):
        run(server, 2, **{"model": "nobody"})
