"""Assistants: making, finding and changing them, and their policies. Changing guidelines is guidelines.py's.

Every assistant begins with `<name>@0`, the bare base, live. The built-in assistant `base` has no guidelines and
never learns: it is what `model: "base"` talks to.
"""

import re
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session, col, select

from feedback import audit
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.models import AdapterVersion, Assistant, Guidelines, Release
from feedback.policies import Changes, Policies
from feedback.states import Consent, ReleaseState

BASE_VERSION = "base"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def create(session: Session, name: str, base_model: str, *, actor: str, **guidelines: Any) -> Assistant:
    """`guidelines`: fields of the first version, such as system_prompt, as guidelines.py checks them."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' can't name an assistant: use a-z, 0-9, '.', '_' and '-', at most 63.", param="name"
        )
    if session.exec(select(Assistant).where(Assistant.name == name)).first():
        raise InvalidInput(f"There is an assistant '{name}' already: take another name.", param="name")
    assistant = Assistant(name=name, base_model=base_model, policies=Policies().model_dump())
    session.add(assistant)
    session.flush()
    bare = AdapterVersion(assistant_id=assistant.id, number=0, sha256=BASE_VERSION, base_model=base_model)
    session.add(Guidelines(assistant_id=assistant.id, version=1, **guidelines))
    session.add(bare)
    session.flush()
    session.add(
        Release(
            assistant_id=assistant.id,
            adapter_version_id=bare.id,
            state=ReleaseState.LIVE,
            actor=actor,
            reason="The bare base serves until something better is learned.",
            live_at=now(),
        )
    )
    audit.record(session, actor, "assistant.create", name)
    return assistant


def ensure_base(session: Session, base_model: str) -> Assistant:
    """The assistant that is the bare model, whichever that is by now."""
    known = session.exec(select(Assistant).where(Assistant.name == BASE_VERSION)).first()
    if known is None:
        return create(session, BASE_VERSION, base_model, actor="system")
    if known.base_model != base_model:
        known.base_model = base_model
        for version in session.exec(select(AdapterVersion).where(AdapterVersion.assistant_id == known.id)):
            version.base_model = base_model
    return known


def get_assistant(session: Session, name: str) -> Assistant:
    assistant = session.exec(select(Assistant).where(Assistant.name == name)).first()
    if assistant is None:
        raise assistant_missing(name)
    return assistant


def assistant_missing(name: str) -> NotFound:
    """Also said of one that isn't to be seen: nobody can tell which."""
    return NotFound(
        f"No assistant '{name}': `burnish assistant list` shows them.", param="model", code="model_not_found"
    )


def list_assistants(session: Session) -> list[Assistant]:
    return list(session.exec(select(Assistant).order_by(col(Assistant.name))))


def policies(assistant: Assistant) -> Policies:
    return Policies.model_validate(assistant.policies)


def changed_policies(assistant: Assistant, changes: Changes) -> Policies:
    """The policies with `changes`, a part of Policies such as `{"release": {"promotion": "auto"}}`; the rest stays."""
    present = policies(assistant).model_dump()
    for section, values in changes.items():
        if section not in present:
            raise InvalidInput(f"No policy section '{section[:50]}': there are {', '.join(present)}.")
        if strange := next((name for name in values if name not in present[section]), None):
            where = f"{section}.{strange[:50]}"
            raise InvalidInput(f"No policy {where}: there are {', '.join(present[section])}.", param=where)
    try:
        checked = Policies.model_validate(
            {section: {**values, **changes.get(section, {})} for section, values in present.items()}
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"Policy {where}: {first['msg'].removeprefix('Value error, ')}.", param=where) from None
    training = checked.training
    if training.dev_fraction + training.gate_fraction + training.sealed_fraction > 0.9:
        raise InvalidInput(
            "dev_fraction, gate_fraction and sealed_fraction leave under a tenth to train on: lower one of them."
        )
    return checked


def set_policies(
    session: Session, assistant: Assistant, changes: Changes, *, actor: str, seen: Changes | None = None
) -> Policies:
    """`seen`: what the changed settings were when they were decided on. Raises Conflict where one isn't any more."""
    session.add(assistant)
    session.refresh(assistant, with_for_update={"key_share": True})  # nobody else's change from now on is overwritten
    present = policies(assistant)
    if not changes:
        return present
    checked = changed_policies(assistant, changes)
    _refuse_overtaken(present.model_dump(), changes, seen or {})
    if checked.training.schedule != present.training.schedule:
        assistant.scheduled_since = now()  # no time before counts, or a new schedule would start a run at once
    assistant.policies = checked.model_dump()
    audit.record(session, actor, "assistant.policies", assistant.name, changes=changes)
    return checked


def set_consent(session: Session, assistant: Assistant, consent: Consent, *, actor: str) -> None:
    """Decide what silence means, from the next dataset on."""
    if assistant.consent == consent:
        return
    assistant.consent = consent
    session.add(assistant)
    audit.record(session, actor, "assistant.consent", assistant.name, consent=consent)


def current_guidelines(session: Session, assistant: Assistant) -> Guidelines:
    newest = (
        select(Guidelines)
        .where(Guidelines.assistant_id == assistant.id)
        .order_by(col(Guidelines.version).desc())
        .limit(1)
    )
    return session.exec(newest).one()


def _refuse_overtaken(present: Changes, changes: Changes, seen: Changes) -> None:
    for section, values in changes.items():
        for name in values:
            was = seen.get(section, {}).get(name, present[section][name])
            if was != present[section][name]:
                raise Conflict(
                    f"Somebody set {section}.{name} to {present[section][name]!r} meanwhile: look again, then decide.",
                    param=f"{section}.{name}",
                )
