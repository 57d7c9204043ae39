"""Who gave feedback, known only as an HMAC; and on which side of the split everything of theirs goes, for good."""

import hashlib
import hmac

from sqlalchemy import ColumnElement, or_
from sqlmodel import Session, col, select

from feedback.columns import is_storable
from feedback.errors import InvalidInput
from feedback.models import Assistant, Contributor, Feedback
from feedback.policies import TrainingPolicy
from feedback.states import Side


def contributor_id(secret: bytes, assistant_id: int, api_key_id: int, user: str | None) -> str:
    """HMAC(secret, assistant, key, user), or of the key alone where the client names no user; "" is no name."""
    if user is not None and not is_storable(user):  # it isn't stored; but the same user is refused everywhere
        raise InvalidInput("`user` can't have NUL characters or lone surrogates.", param="user")
    named = f"{assistant_id}\0{api_key_id}\0{'user:' + user if user else 'key'}"
    return hmac.new(secret, named.encode(), hashlib.sha256).hexdigest()[:32]


def side_of(identity: str, policy: TrainingPolicy) -> Side:
    """A side by hash: the same for the same identity and fractions, whoever else there is.

    >>> side_of("somebody", TrainingPolicy(gate_fraction=0.8, dev_fraction=0.1)) in set(Side)
    True
    """
    position = int.from_bytes(hashlib.sha256(f"side:{identity}".encode()).digest()[:8]) / 2**64
    if position >= 1 - policy.sealed_fraction:
        return Side.SEALED
    if position < policy.gate_fraction:
        return Side.GATE
    return Side.DEV if position < policy.gate_fraction + policy.dev_fraction else Side.TRAIN


def remember(session: Session, assistant: Assistant, identity: str, policy: TrainingPolicy) -> Contributor:
    """The contributor's row; its side is fixed at first sight and outlives changes of the fractions.

    Locked until the transaction ends, so that one person's words are taken one after the other.
    """
    known = session.get(Contributor, identity, with_for_update={"key_share": True})
    if known is None:
        known = Contributor(id=identity, assistant_id=assistant.id, side=side_of(identity, policy))
        session.add(known)
        session.flush()
    return known


def is_heard() -> ColumnElement[bool]:
    """Of feedback: whether its giver isn't held back (quarantine.py); who is anonymous can't be."""
    held_back = select(Contributor.id).where(col(Contributor.quarantined_at).is_not(None))
    given_by = col(Feedback.contributor_id)
    return or_(given_by.is_(None), given_by.not_in(held_back))
