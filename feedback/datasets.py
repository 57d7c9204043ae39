"""Dataset versions: gather what was said, curate it, freeze it into a run's folder, remember its sources."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from feedback import assistants, files
from feedback.conversations import histories, with_guidelines
from feedback.curate.datasheet import as_markdown, datasheet
from feedback.curate.items import Item, Turns
from feedback.curate.pipeline import Curated, curate
from feedback.database import in_portions
from feedback.errors import Conflict, NotFound
from feedback.models import (
    AdapterVersion,
    Assistant,
    Contributor,
    DatasetVersion,
    Example,
    ExampleSource,
    Feedback,
    Guidelines,
    Message,
    Run,
)
from feedback.policies import TrainingPolicy
from feedback.review import latest_decisions, latest_reviews
from feedback.run_folder import SPLITS, RunSpec, Turn
from feedback.states import FeedbackKind, FeedbackStatus, MessageStatus, ReviewDecision

LEARNABLE = (FeedbackKind.CORRECTION, FeedbackKind.PREFERENCE, FeedbackKind.RATING)


@dataclass(frozen=True)
class Frozen:
    """A curated dataset as it lies in a run folder."""

    curated: Curated
    sha256: str
    sheet: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """All that a dataset is made of, read in one transaction: curating and freezing it need no database."""

    assistant: str
    items: list[Item]
    policy: TrainingPolicy
    consent: str
    guidelines: Guidelines


def gather(session: Session, assistant: Assistant) -> list[Item]:
    """Everything that people currently say about the assistant's replies, oldest first."""
    version, rejected, rejected_version = aliased(AdapterVersion), aliased(Message), aliased(AdapterVersion)
    found = session.exec(
        select(Feedback, Message, version.sha256, Contributor)
        .join(Message, col(Message.id) == col(Feedback.message_id))
        .outerjoin(version, col(version.id) == col(Message.adapter_version_id))
        .outerjoin(Contributor, col(Contributor.id) == col(Feedback.contributor_id))
        .where(*_current(assistant))
        .order_by(col(Feedback.id))
    ).all()
    choices = [row[0].value["rejected_message_id"] for row in found if row[0].kind == FeedbackKind.PREFERENCE]
    others = {
        message.id: (message, sha256)
        for some in in_portions(choices)
        for message, sha256 in session.exec(
            select(rejected, rejected_version.sha256)
            .outerjoin(rejected_version, col(rejected_version.id) == col(rejected.adapter_version_id))
            .where(col(rejected.id).in_(some))
        )
    }
    asked = histories(session, (row[1] for row in found))
    reviews = latest_reviews(session, (row[0].id for row in found))
    items = []
    for feedback, reply, sha256, contributor in found:
        other, other_sha256 = others.get(feedback.value.get("rejected_message_id", -1)) or (None, None)
        decision, edited = reviews.get(feedback.id) or (None, None)
        value = edited or feedback.value
        items.append(
            Item(
                feedback_ids=(feedback.id,),
                kind=feedback.kind,
                history=tuple((turn["role"], turn["content"]) for turn in asked[reply.id]),
                reply=reply.content,
                reply_version=sha256,
                reply_status=reply.status,
                created_at=feedback.created_at,
                contributor=feedback.contributor_id,
                side=contributor.side if contributor else None,
                score=feedback.score,
                correction=value.get("content"),
                key_facts=tuple(value.get("key_facts", ())),
                rejected=other.content if other else None,
                rejected_version=other_sha256,
                rejected_status=other.status if other else MessageStatus.COMPLETE,
                store=granted(reply, other),
                training=feedback.training,
                review=decision,
            )
        )
    return items


def gather_material(session: Session, assistant: Assistant) -> Material:
    return Material(
        assistant.name,
        gather(session, assistant),
        assistants.policies(assistant).training,
        assistant.consent,
        assistants.current_guidelines(session, assistant),
    )


def curate_material(material: Material) -> Curated:
    return curate(material.items, material.policy, material.consent, _prompt(material.guidelines))


def preview(session: Session, assistant: Assistant) -> Curated:
    """What a run started now would learn from: curates, changes nothing."""
    return curate_material(gather_material(session, assistant))


def freeze(
    material: Material,
    folder: Path,
    suites: dict[str, bytes],
    baseline: Path | None,
    spec: Callable[[Frozen, dict[str, str]], RunSpec],
    fence: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Frozen:
    """Write a run's folder: rows, datasheet, suites, baseline and, last, run.json; aside, synced, renamed.

    `spec` makes run.json's content from the dataset and the hashes of the other files. `fence` is held while the
    folder is put in its place; it raises if the run isn't ours any more.
    """
    curated = curate_material(material)
    aside = _beside(folder)
    try:
        for split in SPLITS:
            chosen = (made.row.model_dump(exclude_none=True) for made in curated.rows if made.side == split)
            files.write_jsonl(aside / f"{split}.jsonl", chosen)
        lines = "".join(f"{split} {files.file_sha256(aside / f'{split}.jsonl')}\n" for split in SPLITS)
        sha256 = hashlib.sha256(lines.encode()).hexdigest()
        sheet = datasheet(curated, material.assistant, material.policy, sha256)
        files.write_json(aside / "datasheet.json", sheet)
        files.write_bytes(aside / "datasheet.md", as_markdown(sheet).encode())
        for name, content in suites.items():
            files.write_bytes(aside / "suites" / name, content)
        if baseline is not None:
            names = [path.name for path in baseline.iterdir() if path.is_file() and path.name != files.MANIFEST]
            files.publish_folder(baseline, aside / "baseline", names)
        frozen = Frozen(curated, sha256, sheet)
        inputs = sorted(path for path in aside.rglob("*") if path.is_file())
        hashes = {path.relative_to(aside).as_posix(): files.file_sha256(path) for path in inputs}
        files.write_json(aside / "run.json", spec(frozen, hashes).model_dump())
        with fence():
            _put_in_place(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    files.sync_folder(folder.parent)
    return frozen


def record(session: Session, assistant: Assistant, run: Run, frozen: Frozen) -> DatasetVersion:
    """Remember a frozen dataset: its number, its examples and their sources, and what became of the rest."""
    newest = session.exec(
        select(func.max(DatasetVersion.number)).where(DatasetVersion.assistant_id == assistant.id)
    ).one()
    dataset = DatasetVersion(
        assistant_id=assistant.id, number=(newest or 0) + 1, sha256=frozen.sha256, datasheet=frozen.sheet
    )
    session.add(dataset)
    session.flush()
    used: set[int] = set()
    for made in frozen.curated.rows:
        example = Example(dataset_version_id=dataset.id, row_id=made.row.id, side=made.side, method=made.row.method)
        session.add(example)
        session.flush()
        session.add_all(ExampleSource(example_id=example.id, feedback_id=source) for source in made.feedback_ids)
        used.update(made.feedback_ids)
    reasons = {source: out.reason for out in frozen.curated.dropped for source in out.feedback_ids}
    # what was replaced or turned down since the dataset was frozen stays so
    current = select(Feedback).where(*_current(assistant)).order_by(col(Feedback.id)).with_for_update()
    found = session.exec(current).all()
    decisions = latest_decisions(session, (feedback.id for feedback in found))
    for feedback in found:
        if feedback.id in used and decisions.get(feedback.id) != ReviewDecision.REJECTED:
            feedback.status, feedback.status_reason = FeedbackStatus.RECEIVED, None
        elif feedback.id in reasons and feedback.id not in used:
            feedback.status, feedback.status_reason = FeedbackStatus.DECLINED, f"{reasons[feedback.id]}."
    run.dataset_version_id = dataset.id
    session.add(run)
    session.flush()
    return dataset


def list_datasets(session: Session, assistant: Assistant) -> list[DatasetVersion]:
    return list(
        session.exec(
            select(DatasetVersion)
            .where(DatasetVersion.assistant_id == assistant.id)
            .order_by(col(DatasetVersion.number).desc())
        )
    )


def get_dataset(session: Session, assistant: Assistant, number: int) -> DatasetVersion:
    for dataset in list_datasets(session, assistant):
        if dataset.number == number:
            return dataset
    raise NotFound(f"'{assistant.name}' has no dataset v{number}: `burnish dataset list {assistant.name}` shows them.")


def _current(assistant: Assistant) -> tuple[ColumnElement[bool], ...]:
    """What teaches and is its giver's latest word; declined words are looked at again for every dataset."""
    return (
        col(Feedback.assistant_id) == assistant.id,
        col(Feedback.kind).in_(LEARNABLE),
        col(Feedback.status).in_((FeedbackStatus.RECEIVED, FeedbackStatus.DECLINED)),
    )


def granted(reply: Message, other: Message | None) -> bool | None:
    """The grant for all replies that an item shows: one no is a no, and silence about one is silence."""
    grants = {reply.store, other.store} if other else {reply.store}
    return next((grant for grant in (False, None) if grant in grants), True)


def _beside(folder: Path) -> Path:
    """A name for what isn't ready, or not needed any more; swept when a kill leaves it there."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")


def _put_in_place(aside: Path, folder: Path) -> None:
    """A folder that is already there was written by a worker that died before it could say so: it is replaced."""
    if any(folder.glob("attempt-*")):
        raise Conflict(
            f"{folder} holds a training attempt, so its dataset is not frozen anew: move the folder away, "
            "then start a new run with `burnish train ASSISTANT`."
        )
    old = _beside(folder)
    with suppress(FileNotFoundError):
        os.rename(folder, old)
    os.rename(aside, folder)
    shutil.rmtree(old, ignore_errors=True)


def _prompt(guidelines: Guidelines) -> Callable[[Turns], list[Turn]]:
    def prompt(turns: Turns) -> list[Turn]:
        messages = [{"role": role, "content": content} for role, content in turns]
        return [Turn.model_validate(message) for message in with_guidelines(guidelines, messages)]

    return prompt
