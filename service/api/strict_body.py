"""A request body that takes only the fields it knows, and says so of the first other one."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class StrictBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_many(cls, values: Any) -> Any:
        """pydantic describes each unknown field: of a body full of them that takes seconds and gigabytes."""
        if isinstance(values, dict) and len(values) > len(cls.model_fields):
            unknown = next(name for name in values if name not in cls.model_fields)
            raise ValueError(f"'{unknown[:50]}' is no field of this request, which has {', '.join(cls.model_fields)}.")
        return values
