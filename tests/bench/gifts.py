"""Feedback to give over HTTP, and stored replies to give it on.

Promises: ratings, corrections, choices and comments with tags in equal parts, each by a person of its own and with an
`Idempotency-Key` of its own. Leaves out anonymous feedback, reports and surveys.
"""

import asyncio
import itertools
from collections.abc import Iterator

from bench.deployment import BARE
from bench.json_client import JsonClient
from bench.load import Body
from bench.prompts import user, words

FEEDBACK = "/v1/feedback"
CLIENTS_THAT_CHAT = 8
QUESTION_WORDS, CORRECTION_WORDS, COMMENT_WORDS = 12, 40, 15


async def chat(url: str, token: str, count: int) -> list[str]:
    """Have so many completions of two choices each stored; returns their ids."""
    numbers = iter(range(count))

    async def some() -> list[str]:
        client, made = JsonClient(url, token), []
        for number in numbers:
            body = {"model": BARE, "messages": user(words(number, QUESTION_WORDS)), "n": 2}
            made.append(str((await client.post("/v1/chat/completions", body))["id"]))
        client.close()
        return made

    return list(itertools.chain(*await asyncio.gather(*(some() for _ in range(CLIENTS_THAT_CHAT)))))


def gifts_on(completions: list[str]) -> Iterator[Body]:
    """Feedback without end.

    >>> gifts = gifts_on(["chatcmpl-1"])
    >>> [next(gifts)["kind"] for _ in range(5)]
    ['rating', 'correction', 'preference', 'comment', 'rating']
    >>> next(gifts)["user"]
    'person-5'
    """
    for number in itertools.count():
        kinds: list[Body] = [
            {"kind": "rating", "value": (-1, 1, {"stars": 4})[number // 4 % 3]},
            {"kind": "correction", "value": words(number, CORRECTION_WORDS)},
            {"kind": "preference", "value": {"rejected": {"choice": 1}}},
            {"kind": "comment", "value": words(number, COMMENT_WORDS), "tags": ["too short", "tone"]},
        ]
        completion_id = completions[number // len(kinds) % len(completions)]
        yield {"completion_id": completion_id, "user": f"person-{number}", **kinds[number % len(kinds)]}


def key_of(gift: Body) -> str:
    """Its Idempotency-Key.

    >>> key_of({"user": "person-5"})
    'gift of person-5'
    """
    return f"gift of {gift['user']}"
