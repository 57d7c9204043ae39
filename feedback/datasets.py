"""Dataset versions: curate what was said, freeze it into a run's folder, remember its sources.

The curation is imported where it is needed: what only lists datasets, as the service does, starts sooner without it.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, or_, update
from sqlmodel import Session, col, select

from feedback import assistants, files
from feedback.columns import now
from feedback.conversations import with_guidelines
from feedback.curate.items import Item, Turns
from feedback.database import Database, in_portions, keep_out, reserve_ids
from feedback.errors import Conflict, NotFound
from feedback.gather import OPEN_STATES, gather, is_current
from feedback.interchange.licences import licences
from feedback.memory import many_objects
from feedback.models import Assistant, DatasetVersion, Example, ExampleSource, Feedback, Guidelines, Run
from feedback.policies import Changes, Policies
from feedback.review import is_rejected, is_undecided
from feedback.row_hashes import RowsWriter, Salts, find_rows, rows_file
from feedback.run_folder import SPLITS, Row, RunSpec, Turn
from feedback.states import FeedbackStatus
from feedback.suites.freezing import texts_of

if TYPE_CHECKING:
    from feedback.curate.compile import Prompt
    from feedback.curate.datasheet import About
    from feedback.curate.passage import Progress
    from feedback.curate.pipeline import Curated

DATASHEET, PAGE = "datasheet.json", "datasheet.md"
GIVERS_AT_ONCE = 10_000
"""In a transaction: on SQLite nobody else writes meanwhile."""


@dataclass(frozen=True)
class Frozen:
    """A curated dataset as it lies in a run folder."""

    curated: "Curated"
    hashes: list[bytes]
    """The sha256 of each row's line, in the order of `curated.rows`."""
    sha256: str
    sheet: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """All that a dataset is made of, read in one transaction: curating and freezing it need no database."""

    items: list[Item]
    salts: Salts
    guidelines: Guidelines
    about: "About"

    def under(self, policies: Policies) -> "Material":
        """The same, curated by other rules."""
        return replace(self, about=replace(self.about, policies=policies))


def gathering(assistant: Assistant) -> str:
    """What an erasure keeps others out of (database.keep_out)."""
    return f"gathering for assistant {assistant.id}"


@many_objects()
def gather_material(session: Session, assistant: Assistant, *, base_model: str | None = None) -> Material:
    """`base_model`: that it is for; None: the assistant's."""
    keep_out(session, gathering(assistant), shared=True)
    guidelines = assistants.current_guidelines(session, assistant)
    about = about_now(assistant, guidelines, licences(session, assistant))
    about = replace(about, base_model=base_model or about.base_model)
    return Material(gather(session, assistant), _salts(session, assistant), guidelines, about)


def about_now(assistant: Assistant, guidelines: Guidelines, licences: Mapping[str, str] | None = None) -> "About":
    """What a dataset that is made now is for."""
    from feedback.curate.datasheet import About

    return About(
        assistant=assistant.name,
        base_model=assistant.base_model,
        consent=assistant.consent,
        policies=assistants.policies(assistant),
        made_at=now().timestamp(),
        purpose=guidelines.purpose,
        guidelines_version=guidelines.version,
        licences=licences or {},
    )


@many_objects()
def curate_material(
    material: Material, evaluations: Iterable[str] = (), progress: "Progress" = lambda stage, left: None
) -> "Curated":
    """`evaluations`: texts that judge, which nothing near may be learned."""
    from feedback.curate.evaluations import Evaluations
    from feedback.curate.pipeline import curate

    return curate(
        material.items,
        material.about.policies,
        material.about.consent,
        as_of=material.about.made_at,
        evaluations=Evaluations.of(evaluations),
        progress=progress,
    )


Curating = Callable[[Material, Iterable[str], "Progress"], "Curated"]
"""What makes rows of it, given the texts that judge."""


@dataclass(frozen=True)
class Preview:
    curated: "Curated"
    sheet: dict[str, Any]
    samples: list[Row]
    """The rows that the datasheet names as samples."""


def preview(session: Session, assistant: Assistant, changes: Changes | None = None) -> Preview:
    """What a run started now would learn from, and its datasheet, under policies with `changes`; changes nothing.

    Leaves out the trainer's evaluation texts: what quotes them is dropped when the dataset is frozen.
    """
    from feedback.curate.datasheet import datasheet

    material = gather_material(session, assistant)
    if changes:
        material = material.under(assistants.changed_policies(assistant, changes))
    curated = curate_material(material)
    sheet = datasheet(curated, material.about, "not frozen")
    sampled = {row_id for ids in sheet["samples"].values() for row_id in ids}
    prompt = prompt_of(material.guidelines)
    return Preview(curated, sheet, [one.row(prompt) for one in curated.rows if one.id in sampled])


@many_objects()
def freeze(
    material: Material,
    folder: Path,
    suites: dict[str, bytes],
    baseline: Path | None,
    spec: Callable[[Frozen, dict[str, str]], RunSpec],
    fence: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: "Progress" = lambda stage, left: None,
    curating: Curating = curate_material,
) -> Frozen:
    """Write a run's folder: rows, datasheet, suites, baseline and, last, run.json; aside, synced, renamed.

    `spec` makes run.json's content from the dataset and the hashes of the other files. `fence` is held while the
    folder is put in its place; it raises if the run isn't ours any more.
    """
    from feedback.curate.datasheet import datasheet

    curated = curating(material, texts_of(suites), progress)
    prompt = prompt_of(material.guidelines)
    with fence():
        pass  # a run that an erasure cancelled meanwhile writes none of it
    aside = _beside(folder)
    try:
        with RowsWriter(aside) as writer:
            hashes = [
                writer.add(one.side, one.row(prompt, material.salts.of(one.feedback_ids))) for one in curated.rows
            ]
        sheet = datasheet(curated, material.about, writer.sha256)
        for name, content in suites.items():
            files.write_bytes(aside / "suites" / name, content)
        if baseline is not None:
            names = [path.name for path in baseline.iterdir() if path.is_file() and path.name != files.MANIFEST]
            files.publish_folder(baseline, aside / "baseline", names)
        frozen = Frozen(curated, hashes, writer.sha256, sheet)
        row_by_row = {rows_file(aside, split) for split in SPLITS}
        inputs = sorted(path for path in aside.rglob("*") if path.is_file() and path not in row_by_row)
        sha256s = {path.relative_to(aside).as_posix(): files.file_sha256(path) for path in inputs}
        write_datasheet(aside, sheet)
        files.write_json(aside / "run.json", spec(frozen, sha256s).model_dump())
        with fence():
            _put_in_place(aside, folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    files.sync_folder(folder.parent)
    return frozen


@many_objects()
def record(
    session: Session, assistant: Assistant, run: Run, frozen: Frozen, *, of_feedback: bool = True
) -> DatasetVersion:
    """Remember a frozen dataset: its number, its examples and, if they are feedback, their sources. `tell_givers` comes
    first."""
    newest = session.exec(
        select(func.max(DatasetVersion.number)).where(DatasetVersion.assistant_id == assistant.id)
    ).one()
    dataset = DatasetVersion(
        assistant_id=assistant.id, number=(newest or 0) + 1, sha256=frozen.sha256, datasheet=frozen.sheet
    )
    session.add(dataset)
    session.flush()
    _insert_examples(session, dataset, frozen, of_feedback=of_feedback)
    run.dataset_version_id = dataset.id
    session.add(run)
    session.flush()
    return dataset


@many_objects()
def tell_givers(database: Database, curated: "Curated") -> None:
    """What became of every piece of feedback, on its receipt. In portions: nobody who chats waits for long.

    What was replaced or turned down since the dataset was frozen stays so. Can be repeated.
    """
    outcomes: dict[int, tuple[FeedbackStatus, str | None]] = {}
    for (_, reason, to_review), numbers in curated.dropped.by_reason().items():
        outcome = FeedbackStatus.IN_REVIEW if to_review else FeedbackStatus.DECLINED, f"{reason}."
        outcomes.update(dict.fromkeys(numbers, outcome))
    used = FeedbackStatus.RECEIVED, None
    for one in curated.rows:
        outcomes.update(dict.fromkeys(one.feedback_ids, used))
    for some in in_portions(sorted(outcomes), GIVERS_AT_ONCE):
        alike: dict[tuple[FeedbackStatus, str | None], list[int]] = {}
        for number in some:
            alike.setdefault(outcomes[number], []).append(number)
        with database.write() as session:
            for told, these in alike.items():
                _tell(session, these, *told)


def _tell(session: Session, numbers: list[int], status: FeedbackStatus, reason: str | None) -> None:
    # written into the statement: a million bound numbers would take longer than the rows do
    these = col(Feedback.id).in_(bindparam("numbers", expanding=True, literal_execute=True))
    news = or_(col(Feedback.status) != status, col(Feedback.status_reason).is_distinct_from(reason))
    is_open = col(Feedback.status).in_(OPEN_STATES)
    told = update(Feedback).where(these, is_open, news, ~is_undecided(), ~is_rejected())
    session.connection().execute(told.values(status=status, status_reason=reason), {"numbers": numbers})


def list_datasets(
    session: Session, assistant: Assistant, *, before: int | None = None, limit: int | None = None
) -> list[DatasetVersion]:
    """The newest first. `before`: only those with lower numbers; `limit`: None for all."""
    mine = select(DatasetVersion).where(DatasetVersion.assistant_id == assistant.id)
    if before is not None:
        mine = mine.where(DatasetVersion.number < before)
    return list(session.exec(mine.order_by(col(DatasetVersion.number).desc()).limit(limit)))


def get_dataset(session: Session, assistant: Assistant, number: int) -> DatasetVersion:
    dataset = session.exec(
        select(DatasetVersion).where(DatasetVersion.assistant_id == assistant.id, DatasetVersion.number == number)
    ).first()
    if dataset is None:
        raise NotFound(
            f"'{assistant.name}' has no dataset v{number}: `burnish dataset list {assistant.name}` shows them.",
            param="number",
        )
    return dataset


def folder_of(session: Session, runs_folder: Path, dataset: DatasetVersion) -> Path | None:
    """Where its rows lie: the folder of the run that froze it; None where that isn't on this machine."""
    run_id = session.exec(select(Run.id).where(Run.dataset_version_id == dataset.id)).first()
    folder = runs_folder / str(run_id)
    return folder if run_id is not None and folder.is_dir() else None


def write_datasheet(folder: Path, sheet: dict[str, Any]) -> None:
    """For people, with the sampled rows that are there, and for programs; training doesn't read it."""
    from feedback.curate.datasheet_page import as_markdown

    page = as_markdown(sheet, find_rows(folder, sheet["samples"])).encode()
    if not (folder / PAGE).is_file() or (folder / PAGE).read_bytes() != page:
        files.write_bytes(folder / PAGE, page)
    files.write_json(folder / DATASHEET, sheet)


def _salts(session: Session, assistant: Assistant) -> Salts:
    chosen = select(Feedback.id, Feedback.salt).where(*is_current(assistant)).order_by(col(Feedback.id))
    return Salts(session.connection().execute(chosen.execution_options(yield_per=10_000)))


def _insert_examples(session: Session, dataset: DatasetVersion, frozen: Frozen, *, of_feedback: bool) -> None:
    rows = frozen.curated.rows
    ids = reserve_ids(session, Example, len(rows))
    connection = session.connection()
    for some in in_portions(zip(ids, rows, frozen.hashes, strict=True), 10_000):
        connection.execute(
            insert(Example),
            [
                {
                    "id": number,
                    "dataset_version_id": dataset.id,
                    "row_id": one.id,
                    "sha256": sha256.hex(),
                    "side": one.side,
                    "method": one.method,
                }
                for number, one, sha256 in some
            ],
        )
        if not of_feedback:
            continue
        sources = [
            {"example_id": number, "feedback_id": source} for number, one, _ in some for source in one.feedback_ids
        ]
        connection.execute(insert(ExampleSource), sources)


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


def prompt_of(guidelines: Guidelines) -> "Prompt":
    """What puts the guidelines in front, as serving does."""

    def prompt(turns: Turns) -> list[Turn]:
        messages = [{"role": role, "content": content} for role, content in turns]
        return [Turn.model_validate(message) for message in with_guidelines(guidelines, messages)]

    return prompt
