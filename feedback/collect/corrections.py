"""Corrections: what the reply should have been; as text, or with the key facts that a right reply must contain."""

from typing import Any

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput
from feedback.key_facts import contains_fact
from feedback.models import Message


def parse(reply: Message, value: Any) -> Parsed:
    """`value`: the corrected reply, or `{"content": text, "key_facts": [strings in that text]}`."""
    given = {"content": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or set(given) - {"content", "key_facts"}:
        raise InvalidInput('A correction\'s `value` is the right reply, or {"content", "key_facts"}.', param="value")
    content, key_facts = given.get("content"), given.get("key_facts", [])
    if not isinstance(content, str) or not content.strip():
        raise InvalidInput("A correction needs the right reply as text.", param="value")
    if not isinstance(key_facts, list) or not all(isinstance(fact, str) and fact.strip() for fact in key_facts):
        raise InvalidInput("`key_facts` is a list of non-empty strings.", param="value")
    content, key_facts = content.strip(), [fact.strip() for fact in key_facts]
    for fact in key_facts:
        if not contains_fact(content, fact):
            raise InvalidInput(
                f"Key fact '{fact}' isn't in the corrected reply as whole words: repeat it there.", param="value"
            )
    return Parsed({"content": content, "key_facts": key_facts}, about=f"reply {reply.id}")
