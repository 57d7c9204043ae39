"""Lists as OpenAI's clients know them: a page, and whether there is more after it."""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)


class Page(BaseModel, Generic[T]):
    """To read on, send `last_id` as `after`."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False

    @classmethod
    def of(cls, data: list[T], *, has_more: bool) -> "Page[T]":
        """A page of what has an `id`."""
        ids = [getattr(one, "id", None) for one in data] or [None]
        return cls(data=data, first_id=ids[0], last_id=ids[-1], has_more=has_more)
