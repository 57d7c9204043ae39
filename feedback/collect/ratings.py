"""Ratings: a thumb (-1 or +1), or 1 to 5 stars as `{"stars": n}`."""

from typing import Any

from feedback.collect.kinds import Parsed
from feedback.errors import InvalidInput
from feedback.models import Message


def parse(reply: Message, value: Any) -> Parsed:
    """A thumb keeps its sign; stars spread evenly over -1 … +1.

    >>> parse(Message(id=7), {"stars": 4}).score
    0.5
    """
    if isinstance(value, dict) and set(value) == {"stars"}:
        stars = value["stars"]
        if type(stars) is not int or not 1 <= stars <= 5:
            raise InvalidInput("`value.stars` must be a whole number from 1 to 5.", param="value")
        return Parsed({"stars": stars}, score=(stars - 3) / 2, about=f"reply {reply.id}")
    if type(value) is not int or value not in (-1, 1):
        raise InvalidInput('A rating\'s `value` is -1 or 1 (thumb), or {"stars": 1 to 5}.', param="value")
    return Parsed({"thumb": value}, score=float(value), about=f"reply {reply.id}")
