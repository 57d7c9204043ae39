"""What operators ask of an assistant's releases from outside, each in its own transaction: promote, freeze.

Promises that a version's files are whole before anybody is served by them. Leaves out the moves themselves, and those
that need nothing beside them (releases.py, rollout.py).
"""

from pathlib import Path

from sqlmodel import Session

from feedback import adapters, assistants, audit, releases
from feedback.database import Database
from feedback.models import Assistant
from feedback.release_report import Moved, moved


def promote(
    database: Database,
    adapters_folder: Path,
    assistant_id: int,
    number: int,
    *,
    actor: str,
    reason: str,
    force: bool = False,
    at_once: bool = False,
) -> Moved:
    """As `releases.promote`; raises AdapterRefused too, if the version's files aren't what was published."""
    with database.read() as session:
        version = adapters.get_number(session, session.get_one(Assistant, assistant_id), number)
    adapters.verify(adapters_folder, version)  # hashing takes a while: nobody waits for it
    with database.write() as session:
        assistant = session.get_one(Assistant, assistant_id)  # its policies may have changed meanwhile
        before = releases.live(session, assistant).version
        release = releases.promote(
            session, assistant, version, actor=actor, reason=reason, force=force, at_once=at_once
        )
        return moved(session, assistant, release, before)


def freeze(session: Session, assistant: Assistant, frozen: bool, *, actor: str, reason: str) -> bool:
    """Let nothing be promoted or grown any more, or again; taking back works all the while. Returns whether that is
    new."""
    if assistants.policies(assistant).release.frozen == frozen:
        return False
    assistants.set_policies(session, assistant, {"release": {"frozen": frozen}}, actor=actor)
    audit.record(session, actor, "release.freeze" if frozen else "release.thaw", assistant.name, reason=reason)
    return True
