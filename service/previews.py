"""What a run that starts now would learn from: curated in this process, one at a time, as it takes time and memory."""

import threading

from sqlmodel import Session

from feedback import datasets
from feedback.datasets import Preview
from feedback.errors import QueueFull
from feedback.models import Assistant
from feedback.policies import Changes

_TURN = threading.Lock()
_RETRY_AFTER_SECONDS = 10


def preview(session: Session, assistant: Assistant, changes: Changes | None = None) -> tuple[Preview, Preview | None]:
    """As the policies are and, if some are to be tried, with those changed. Raises QueueFull while another is made."""
    if not _TURN.acquire(blocking=False):
        raise QueueFull("Another preview is being made: try again soon.", retry_after_seconds=_RETRY_AFTER_SECONDS)
    try:
        as_it_is = datasets.preview(session, assistant)
        return as_it_is, datasets.preview(session, assistant, changes) if changes else None
    finally:
        _TURN.release()
