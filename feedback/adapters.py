"""The registry of adapter versions: published whole under their content's hash, verified, numbered, never changed.

Leaves out what an adapter may contain (service.engines.adapter_format) and who serves (releases.py).
"""

from pathlib import Path

from sqlalchemy import func
from sqlmodel import Session, col, select

from feedback import files
from feedback.assistants import BASE_VERSION, current_guidelines, get_assistant
from feedback.errors import AdapterRefused, NotFound
from feedback.models import AdapterVersion, Assistant, DatasetVersion, Guidelines, Run

CONTENT = ("adapter_config.json", "adapter_model.safetensors")
"""The files that make a version what it is: its name is their hash."""
MODEL_CARD = "README.md"


def folder_of(adapters_folder: Path, version: AdapterVersion) -> Path | None:
    """Where a version's files lie; None for the bare base, which has none."""
    return None if version.sha256 == BASE_VERSION else adapters_folder / version.sha256


def publish(source: Path, adapters_folder: Path) -> str:
    """Copy an adapter into the registry under its hash; returns the hash. Twice is harmless."""
    sha256 = files.folder_sha256(source, CONTENT)
    names = [*CONTENT, *([MODEL_CARD] if (source / MODEL_CARD).exists() else [])]
    files.publish_folder(source, adapters_folder / sha256, names)
    return sha256


def verify(adapters_folder: Path, version: AdapterVersion) -> None:
    """Raise AdapterRefused unless the version's files are there and hash to its name."""
    folder = folder_of(adapters_folder, version)
    if folder is None:
        return
    missing = [name for name in CONTENT if not (folder / name).is_file()]
    if missing:
        raise AdapterRefused(f"{folder} lacks {', '.join(missing)}: restore the folder from a backup.")
    if files.folder_sha256(folder, CONTENT) != version.sha256:
        raise AdapterRefused(f"{folder} was changed after it was published: restore it from a backup.")


def register(
    session: Session,
    assistant: Assistant,
    sha256: str,
    run_id: str,
    began_from: AdapterVersion | None = None,
    *,
    base_model: str | None = None,
) -> AdapterVersion:
    """Give a published adapter the assistant's next number. A run has one version: asking again returns it.

    What went on from a tainted version is tainted itself. `base_model`: that it is for; None: the assistant's.
    """
    known = session.exec(select(AdapterVersion).where(AdapterVersion.run_id == run_id)).first()
    if known is not None:
        return known
    newest = session.exec(
        select(func.max(AdapterVersion.number)).where(AdapterVersion.assistant_id == assistant.id)
    ).one()
    version = AdapterVersion(
        assistant_id=assistant.id,
        number=(newest or 0) + 1,
        sha256=sha256,
        base_model=base_model or assistant.base_model,
        run_id=run_id,
        guidelines_id=_guidelines_of(session, assistant, run_id).id,
    )
    if began_from is not None:
        version.began_from_id = began_from.id
        version.tainted_at, version.tainted_reason = began_from.tainted_at, began_from.tainted_reason
    session.add(version)
    session.flush()
    return version


def _guidelines_of(session: Session, assistant: Assistant, run_id: str) -> Guidelines:
    """Those that the run's rows were made with: somebody may have changed them while it trained."""
    run = session.get_one(Run, run_id)
    dataset = run.dataset_version_id and session.get_one(DatasetVersion, run.dataset_version_id)
    number = dataset.datasheet.get("guidelines_version") if dataset else None
    of_number = select(Guidelines).where(Guidelines.assistant_id == assistant.id, Guidelines.version == number)
    return session.exec(of_number).first() or current_guidelines(session, assistant)


def by_sha256(session: Session, assistant: Assistant, sha256: str) -> AdapterVersion | None:
    """The assistant's version of these files; None for the bare base's."""
    of_assistant = select(AdapterVersion).where(AdapterVersion.assistant_id == assistant.id)
    return session.exec(of_assistant.where(AdapterVersion.sha256 == sha256, AdapterVersion.number > 0)).first()


def tainted(session: Session, assistant: Assistant) -> set[str]:
    """The files' hashes of versions that learned from, or were judged by, what was erased."""
    of_assistant = select(AdapterVersion.sha256).where(AdapterVersion.assistant_id == assistant.id)
    return set(session.exec(of_assistant.where(col(AdapterVersion.tainted_at).is_not(None))))


def list_versions(session: Session, assistant: Assistant) -> list[AdapterVersion]:
    return list(
        session.exec(
            select(AdapterVersion)
            .where(AdapterVersion.assistant_id == assistant.id)
            .order_by(col(AdapterVersion.number))
        )
    )


def get_version(session: Session, label: str) -> tuple[Assistant, AdapterVersion]:
    """`support@2` → its assistant and version."""
    name, _, number = label.partition("@")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise NotFound(f"'{label}' doesn't name a version: write it as assistant@number.", param="model")
    assistant = get_assistant(session, name)
    return assistant, get_number(session, assistant, int(number))


def get_number(session: Session, assistant: Assistant, number: int) -> AdapterVersion:
    version = session.exec(
        select(AdapterVersion).where(AdapterVersion.assistant_id == assistant.id, AdapterVersion.number == number)
    ).first()
    if version is None:
        raise NotFound(
            f"'{assistant.name}' has no version {number}: `burnish adapters list {assistant.name}` shows them.",
            param="model",
            code="model_not_found",
        )
    return version


def label_of(session: Session, version: AdapterVersion) -> str:
    return f"{session.get_one(Assistant, version.assistant_id).name}@{version.number}"
