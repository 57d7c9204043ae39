"""Preferences: the addressed reply rather than a sibling (another answer to the same message)."""

from typing import Any

from sqlmodel import Session, select

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput
from feedback.models import Message


def parse(session: Session, reply: Message, value: Any) -> Parsed:
    """`value`: `{"rejected": {"completion_id": …, "choice": 0}}`; completion_id defaults to the chosen one's."""
    rejected = value.get("rejected") if isinstance(value, dict) else None
    if not isinstance(rejected, dict) or set(rejected) - {"completion_id", "choice"}:
        raise InvalidInput(
            'A preference\'s `value` is {"rejected": {"completion_id", "choice"}}; the addressed reply is chosen.',
            param="value",
        )
    completion_id, choice = rejected.get("completion_id", reply.completion_id), rejected.get("choice", 0)
    if not isinstance(completion_id, str) or type(choice) is not int or not 0 <= choice < 2**31:
        raise InvalidInput("`rejected.completion_id` is a string, `rejected.choice` a number from 0.", param="value")
    other = session.exec(
        select(Message).where(Message.completion_id == completion_id, Message.choice_index == choice)
    ).first()
    if other is None or other.id == reply.id or other.parent_id != reply.parent_id:
        raise InvalidInput(
            "The rejected reply must be another answer to the same message: n > 1, or the history sent again.",
            param="value",
        )
    return Parsed({"rejected_message_id": other.id}, about=f"choice {reply.parent_id}")
