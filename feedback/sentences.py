"""Sentences for people that can be said in another language: they remember what they were made of."""

from typing import Any


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
