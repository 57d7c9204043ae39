"""The deployment's HMAC key, wrapped so that no log or traceback prints it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secret:
    value: bytes = field(repr=False)
