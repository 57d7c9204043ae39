"""What belongs to a release before everybody is served by it: people's approvals, and replies that nobody saw.

Leaves out the release itself (models.py) and its way (releases.py, rollout.py).
"""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from feedback.columns import Table, flag, moment, primary_key, reference


class Approval(Table, table=True):
    """A person's yes to a proposed release; how many it takes is the assistant's policy."""

    __tablename__ = "approval"
    __table_args__ = (UniqueConstraint("release_id", "actor"),)
    id: int = primary_key()
    release_id: int = reference("release.id")
    actor: str = Field(max_length=120)
    reason: str
    created_at: datetime = moment()


class ShadowReply(Table, table=True):
    """That a version on trial wrote a reply beside the one that was shown, and how that went; not what it said."""

    __tablename__ = "shadow_reply"
    id: int = primary_key()
    release_id: int = reference("release.id")
    message_id: int = reference("message.id")  # the reply that was shown
    failed: bool = flag()  # it had no words
    completion_tokens: int = 0
    seconds: float = 0.0
    created_at: datetime = moment()
