"""Preferences: the addressed reply rather than a sibling (another answer to the same message), or both alike."""

from typing import Any

from sqlmodel import Session, select

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput
from feedback.models import Message

TIES = {"good": 1.0, "bad": -1.0}
"""What a tie says of both replies, and its score."""


def parse(session: Session, reply: Message, value: Any) -> Parsed:
    """`value`: `{"rejected": {"completion_id": …, "choice": 0}}`, or `{"tie": "good" | "bad", "other": {…}}`.

    `completion_id` defaults to the addressed reply's.
    """
    about = f"choice {reply.parent_id}"
    if isinstance(value, dict) and set(value) == {"rejected"}:
        return Parsed({"rejected_message_id": _sibling(session, reply, value["rejected"], "rejected")}, about=about)
    if isinstance(value, dict) and set(value) == {"tie", "other"} and value["tie"] in list(TIES):
        other = _sibling(session, reply, value["other"], "other")
        return Parsed({"tie": value["tie"], "other_message_id": other}, score=TIES[value["tie"]], about=about)
    raise InvalidInput(
        'A preference\'s `value` is {"rejected": {"completion_id", "choice"}}, where the addressed reply is chosen, '
        'or {"tie": "good" or "bad", "other": {"completion_id", "choice"}}.',
        param="value",
    )


def other_message_id(value: dict[str, Any]) -> int:
    """The reply that a stored preference holds the addressed one against.

    >>> other_message_id({"rejected_message_id": 7}), other_message_id({"tie": "bad", "other_message_id": 8})
    (7, 8)
    """
    other: int = value["other_message_id" if "tie" in value else "rejected_message_id"]
    return other


def _sibling(session: Session, reply: Message, address: Any, field: str) -> int:
    if not isinstance(address, dict) or set(address) - {"completion_id", "choice"}:
        raise InvalidInput(f'`{field}` is {{"completion_id", "choice"}} of the other reply.', param="value")
    completion_id, choice = address.get("completion_id", reply.completion_id), address.get("choice", 0)
    if not isinstance(completion_id, str) or type(choice) is not int or not 0 <= choice < 2**31:
        raise InvalidInput(f"`{field}.completion_id` is a string, `{field}.choice` a number from 0.", param="value")
    other = session.exec(
        select(Message).where(Message.completion_id == completion_id, Message.choice_index == choice)
    ).first()
    if other is None or other.id == reply.id or other.parent_id != reply.parent_id:
        raise InvalidInput(
            f"The {field} reply must be another answer to the same message: n > 1, or the history sent again.",
            param="value",
        )
    return other.id
