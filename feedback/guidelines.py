"""Guidelines: what an assistant is for and how it should speak. A new version for every change, and none is lost.

They become the system prompt that serving and training put in front of every conversation. Leaves out who asks
for them (service/api/guidelines.py) and where they are joined to a client's own words (conversations.py).
"""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlmodel import Session, col, select

from feedback import assistants, audit
from feedback.columns import now
from feedback.errors import Conflict, InvalidInput, NotFound
from feedback.models import Assistant, Guidelines

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Draft(BaseModel):
    """What guidelines say; all of it is one version."""

    model_config = ConfigDict(extra="forbid")

    system_prompt: str = Field("", max_length=50_000, description="Free words; the system prompt begins with them.")
    purpose: str = Field("", max_length=2000, description="What the assistant is for.")
    tone: str = Field("", max_length=2000, description="How it speaks.")
    boundaries: list[Line] = Field([], max_length=50, description="What it never does, a sentence each.")
    sensitive_topics: list[Line] = Field([], max_length=50, description="What it handles with care, and how.")
    disclaimer: str = Field("", max_length=2000, description="What it says where it applies.")
    review_due: date | None = Field(None, description="The day from which on a person should read them again.")


def system_prompt_of(guidelines: Guidelines | Draft) -> str:
    """What the model reads of them: the free words first, as they are, then the rest, always in this order.

    What is empty leaves no trace, and the same guidelines give the same text: caches live on that.

    >>> print(system_prompt_of(Guidelines(
    ...     system_prompt="You are Ada.", purpose="You help with tents.", boundaries=["Never quote prices."],
    ...     sensitive_topics=["Storms: tell people to leave the tent."],
    ... )))
    You are Ada.
    <BLANKLINE>
    Your purpose: You help with tents.
    <BLANKLINE>
    What you never do:
    - Never quote prices.
    <BLANKLINE>
    What you handle with care:
    - Storms: tell people to leave the tent.
    >>> system_prompt_of(Guidelines(system_prompt="You are Ada."))
    'You are Ada.'
    """
    parts = (
        guidelines.system_prompt,
        _sentence("Your purpose", guidelines.purpose),
        _sentence("How you speak", guidelines.tone),
        _listed("What you never do", guidelines.boundaries),
        _listed("What you handle with care", guidelines.sensitive_topics),
        _sentence("What you say where it applies", guidelines.disclaimer),
    )
    return "\n\n".join(part for part in parts if part)


def draft_of(guidelines: Guidelines) -> Draft:
    return Draft.model_construct(**{field: getattr(guidelines, field) for field in Draft.model_fields})


def checked(fields: dict[str, Any]) -> Draft:
    """A draft of what somebody wrote. Raises InvalidInput that names the field."""
    try:
        return Draft.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"Guidelines {where}: {first['msg']}.", param=where) from None


def revise(
    session: Session, assistant: Assistant, draft: Draft, *, actor: str, made_from: int | None = None
) -> Guidelines:
    """Make `draft` the current version, unless it is already. Raises Conflict if `made_from` isn't current any more."""
    if assistant.name == assistants.BASE_VERSION:
        raise InvalidInput("'base' is the bare model and follows no guidelines: give them to an assistant.")
    # one at a time: else two at once would both become the next version
    session.exec(select(Assistant.id).where(Assistant.id == assistant.id).with_for_update(key_share=True)).one()
    current = assistants.current_guidelines(session, assistant)
    before, after = draft_of(current).model_dump(), draft.model_dump()
    if before == after:
        return current
    if made_from is not None and made_from != current.version:
        raise Conflict(
            f"These were made from version {made_from}, and version {current.version} is current: read it, then send "
            "what you want it to be.",
            param="version",
        )
    changed = Guidelines(assistant_id=assistant.id, version=current.version + 1, **after)
    session.add(changed)
    session.flush()
    fields = [name for name in after if after[name] != before[name]]
    audit.record(session, actor, "assistant.guidelines", assistant.name, version=changed.version, changed=fields)
    return changed


def begin(session: Session, name: str, base_model: str, draft: Draft, *, actor: str) -> Assistant:
    """A new assistant with these as its first guidelines."""
    return assistants.create(session, name, base_model, actor=actor, **draft.model_dump())


def restore(session: Session, assistant: Assistant, version: int, *, actor: str, made_from: int | None) -> Guidelines:
    """Make an older version's words the current ones, as a new version. Raises as `revise` does."""
    old = get_version(session, assistant, version)
    return revise(session, assistant, draft_of(old), actor=actor, made_from=made_from)


def versions(
    session: Session, assistant: Assistant, *, before: int | None = None, limit: int | None = None
) -> list[Guidelines]:
    """Newest first, all of them unless told otherwise."""
    found = select(Guidelines).where(Guidelines.assistant_id == assistant.id)
    if before is not None:
        found = found.where(Guidelines.version < min(before, 2**31 - 1))
    return list(session.exec(found.order_by(col(Guidelines.version).desc()).limit(limit)))


def get_version(session: Session, assistant: Assistant, version: int) -> Guidelines:
    found = session.exec(
        select(Guidelines).where(Guidelines.assistant_id == assistant.id, Guidelines.version == min(version, 2**31 - 1))
    ).first()
    if found is None:
        raise NotFound(
            f"'{assistant.name}' has no guidelines v{version}: `burnish assistant guidelines {assistant.name} "
            "--history` shows them.",
            param="version",
        )
    return found


def is_review_due(guidelines: Guidelines) -> bool:
    return guidelines.review_due is not None and guidelines.review_due <= now().date()


def due_reviews(session: Session) -> list[tuple[str, Guidelines]]:
    """The assistants whose guidelines a person should read again."""
    current = [(one.name, assistants.current_guidelines(session, one)) for one in assistants.list_assistants(session)]
    return [(name, guidelines) for name, guidelines in current if is_review_due(guidelines)]


def _sentence(title: str, words: str) -> str:
    return f"{title}: {words}" if words.strip() else ""


def _listed(title: str, lines: Iterable[str]) -> str:
    listed = "\n".join(f"- {line}" for line in lines)
    return f"{title}:\n{listed}" if listed else ""
