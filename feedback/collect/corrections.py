"""Corrections: what the reply should have been; maybe what a right reply must contain, and until when it is right."""

from typing import Any

from feedback.collect.kinds import Parsed
from feedback.columns import utc
from feedback.errors import InvalidInput
from feedback.key_facts import missing_fact
from feedback.models import Message

MAX_KEY_FACTS = 20


def parse(reply: Message, value: Any) -> Parsed:
    """`value`: the corrected reply, or `{"content": text, "key_facts": [strings in that text], "expires_at": time}`.

    >>> parse(Message(id=7), {"content": "There is a sale.", "expires_at": "2025-02-01"}).value
    {'content': 'There is a sale.', 'key_facts': [], 'expires_at': '2025-02-01T00:00:00+00:00'}
    """
    given = {"content": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or set(given) - {"content", "key_facts", "expires_at"}:
        raise InvalidInput(
            'A correction\'s `value` is the right reply, or {"content", "key_facts", "expires_at"}.', param="value"
        )
    content, key_facts = given.get("content"), given.get("key_facts", [])
    if not isinstance(content, str) or not content.strip():
        raise InvalidInput("A correction needs the right reply as text.", param="value")
    if not isinstance(key_facts, list) or not all(isinstance(fact, str) and fact.strip() for fact in key_facts):
        raise InvalidInput("`key_facts` is a list of non-empty strings.", param="value")
    content, key_facts = content.strip(), list(dict.fromkeys(fact.strip() for fact in key_facts))
    if len(key_facts) > MAX_KEY_FACTS:
        raise InvalidInput(
            f"`key_facts` may have {MAX_KEY_FACTS} different strings, these are {len(key_facts)}: name the ones that "
            "make the reply right.",
            param="value",
        )
    missing = missing_fact(content, key_facts)
    if missing is not None:
        raise InvalidInput(
            f"Key fact '{missing}' isn't in the corrected reply as whole words: repeat it there.", param="value"
        )
    stored = {"content": content, "key_facts": key_facts}
    if given.get("expires_at") is not None:
        stored["expires_at"] = _moment(given["expires_at"])
    return Parsed(stored, about=f"reply {reply.id}")


def _moment(told: Any) -> str:
    try:
        return utc(told).isoformat()
    except (ValueError, TypeError):
        raise InvalidInput(
            "`expires_at` is the day or the moment from which the right reply doesn't hold any more: write it as "
            "2025-01-31 or 2025-01-31T12:00:00+00:00.",
            param="value",
        ) from None
