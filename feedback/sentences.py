"""Sentences for people that can be said in another language: they remember what they were made of."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import SkipValidation


class Told(str):
    """An English sentence with its template and values.

    >>> told = Told("Used in dataset v{number}.", number=3)
    >>> told, told.template, told.values
    ('Used in dataset v3.', 'Used in dataset v{number}.', {'number': 3})
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> "Told":
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.values = template, values
        return made


Sentence = Annotated[str, SkipValidation]
"""A field for one: pydantic would make a plain string of it."""


def counted(number: int, one: str, many: str) -> Told:
    """
    >>> counted(1, "{n} choice", "{n} choices"), counted(3, "{n} choice", "{n} choices")
    ('1 choice', '3 choices')
    """
    return Told(one if number == 1 else many, n=number)


def listed(parts: Sequence[str]) -> str:
    """
    >>> listed(["a", "b", "c"]), listed(["a"]), listed(["a", "b", "c"]).template
    ('a, b and c', 'a', '{earlier} and {last}')
    """
    *before, last = parts
    if not before:
        return last
    earlier = before[0]
    for one in before[1:]:
        earlier = Told("{earlier}, {one}", earlier=earlier, one=one)
    return Told("{earlier} and {last}", earlier=earlier, last=last)
