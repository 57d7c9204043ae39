"""The engine that runs on this machine, in a process of its own. Importing it imports no torch."""

from service.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
