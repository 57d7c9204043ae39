"""The suites that operators gave an assistant: add, list, remove. Every run from then on is asked them.

A suite is kept whole in the database, so that a worker on another machine has it; a run freezes what it asks into its
folder. Leaves out Burnish's own suites, which are the trainer's.
"""

import hashlib
import re

from sqlmodel import Session, col, select

from feedback import audit
from feedback.errors import InvalidInput, NotFound
from feedback.models import Assistant
from feedback.suites.formats import read_suite, write_suite
from feedback.suites.kinds import Item, SuiteKind
from feedback.suites.models import Suite

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
RESERVED = ("own", "run")
"""The names of Burnish's own suite of each kind, and of a run's canaries."""


def add(
    session: Session,
    assistant: Assistant,
    name: str,
    content: bytes,
    *,
    kind: SuiteKind | None = None,
    licence: str | None = None,
    actor: str,
    read: tuple[SuiteKind, list[Item]] | None = None,
) -> Suite:
    """`read`: what `read_suite` made of `content` before the transaction began, which others wait for. A suite of that
    name and kind that is there already is replaced. Raises InvalidInput for what can't be read.
    """
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise InvalidInput(
            f"'{name}' can't be a suite's name: small letters, digits, - and _, and not {' or '.join(RESERVED)}.",
            param="name",
        )
    found, items = read if read is not None else read_suite(content, kind)
    text = write_suite(items)
    suite = session.exec(
        select(Suite).where(Suite.assistant_id == assistant.id, Suite.kind == found, Suite.name == name)
    ).first()
    if suite is None:
        suite = Suite(assistant_id=assistant.id, kind=found, name=name, items=0, sha256="", content="", actor=actor)
    suite.items, suite.content, suite.actor, suite.licence = len(items), text.decode(), actor, licence
    suite.sha256 = hashlib.sha256(text).hexdigest()
    session.add(suite)
    session.flush()
    audit.record(
        session, actor, "suite.add", f"{assistant.name}/{name}", kind=found.value, items=len(items), sha256=suite.sha256
    )
    return suite


def list_suites(session: Session, assistant: Assistant) -> list[Suite]:
    chosen = select(Suite).where(Suite.assistant_id == assistant.id).order_by(col(Suite.kind), col(Suite.name))
    return list(session.exec(chosen))


def remove(session: Session, assistant: Assistant, name: str, *, actor: str) -> None:
    """All suites of that name, whatever their kind."""
    found = [suite for suite in list_suites(session, assistant) if suite.name == name]
    if not found:
        raise NotFound(f"'{assistant.name}' has no suite '{name}': `burnish suite list {assistant.name}` shows them.")
    for suite in found:
        session.delete(suite)
        audit.record(session, actor, "suite.remove", f"{assistant.name}/{name}", kind=suite.kind)
