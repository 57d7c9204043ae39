"""A reviewer's turn: decide on one entry, or skip it, and have the next. All of it happens, or nothing.

Leaves out who gets what (claims.py) and what a decision does (decisions.py).
"""

from dataclasses import dataclass, replace
from typing import Any

from sqlmodel import Session

from feedback.keys import Caller
from feedback.models import Assistant, Feedback
from feedback.review import claims, queue
from feedback.review.decisions import ask_second_opinion
from feedback.review.decisions import decide as store
from feedback.review.queue import Wanted
from feedback.states import ReviewDecision


@dataclass(frozen=True)
class Said:
    """A reviewer's word on an entry; see `decisions.decide`."""

    id: str
    decision: ReviewDecision
    note: str | None = None
    comment: str | None = None
    edited: Any = None
    second_opinion: bool = False
    final: bool = False


@dataclass(frozen=True)
class Turn:
    decided: Feedback | None
    next: Feedback | None
    wanted: Wanted
    """What the next one was taken of: what was skipped is behind it."""


def take(
    session: Session,
    caller: Caller,
    assistant: Assistant,
    wanted: Wanted,
    *,
    said: Said | None = None,
    skip: str | None = None,
) -> Turn:
    """Asked again, it gives the same. Raises Conflict if somebody else has what is decided on, or has settled it."""
    own = frozenset({assistant.id})
    decided = decide(session, caller, said, own) if said is not None else None
    if skip is not None:
        skipped = queue.get_feedback(session, skip, own)
        claims.skip(session, skipped, actor=caller.actor)
        wanted = replace(wanted, after=skipped.public_id)
    return Turn(decided, claims.claim_next(session, assistant, wanted, actor=caller.actor), wanted)


def decide(session: Session, caller: Caller, said: Said, assistant_ids: frozenset[int] | None) -> Feedback:
    """Raises Forbidden where a last word is an operator's."""
    if said.final:
        caller.require("operate")
    found = queue.get_feedback(session, said.id, assistant_ids)
    if said.second_opinion:
        ask_second_opinion(session, found, actor=caller.actor)
    store(
        session,
        found,
        said.decision,
        actor=caller.actor,
        note=said.note,
        comment=said.comment,
        edited=said.edited,
        final=said.final,
    )
    return found
