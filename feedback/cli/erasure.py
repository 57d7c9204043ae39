"""`burnish erase erasures retention`: take out for good what somebody said, and see how far that has got."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from feedback import assistants
from feedback import retention as limits
from feedback.cli.app import ACTOR, AsJson, AssistantName, console, open_all, print_fields, print_json, print_rows
from feedback.config import Settings
from feedback.database import Database
from feedback.erasure import erase as erasing
from feedback.erasure import finish
from feedback.erasure.subjects import Named, resolve
from feedback.models import Assistant, Erasure
from feedback.states import ErasureState

LEFT = {
    ErasureState.ROWS_GONE: "In no table any more. Files in the data folder still hold it: a worker, or "
    "`burnish erasures --finish` where the runs lie, takes it out once nothing trains with them.",
    ErasureState.FILES_GONE: "In no table and no file of the data folder. The database's free space may still hold it: "
    "the service empties that within an hour; without one, `burnish erasures --finish` does.",
    ErasureState.COMPLETE: "In no table, no file of the data folder, and not in the database's free space. Backups, "
    "imported files and exports elsewhere are yours to see to.",
}


def register(app: typer.Typer) -> None:
    for command in (erase, erasures, retention):
        app.command()(command)


def erase(
    assistant: AssistantName,
    user: Annotated[str | None, typer.Option(help="A person, by the `user` that apps send; under every key.")] = None,
    key: Annotated[str | None, typer.Option(help="With --user: only under keys of this name.")] = None,
    contributor: Annotated[str | None, typer.Option(help="A person, by the keyed hash that lineage shows.")] = None,
    conversation: Annotated[str | None, typer.Option(help="A conversation, by its client's id or as conv-N.")] = None,
    completion: Annotated[str | None, typer.Option(help="The conversation that this completion is part of.")] = None,
    feedback: Annotated[str | None, typer.Option(help="One piece of feedback, fb-…")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take out for good a person's words, a conversation or a piece of feedback; nobody can bring it back.

    What was said about it goes too, and whatever learned from it is tainted and trained anew.
    """
    settings, database = open_all()
    named = Named(user, key, contributor, conversation, completion, feedback)
    with database.read() as session:
        found = assistants.get_assistant(session, assistant)
        subject = resolve(session, settings.read_secret(), found, named)
        would = erasing.preview(session, found, subject)
    if not yes:
        _tell(None, would, as_json)
        return
    made, consequences = erasing.erase(database, found, subject, actor=ACTOR)
    try:
        _finish(settings, database, patience_seconds=settings.lease_seconds)
    finally:  # the rows are gone whatever holds the rest up
        with database.read() as session:
            _tell(erasing.get_erasure(session, made.public_id), consequences, as_json)


def erasures(
    erasure_id: Annotated[str | None, typer.Argument(help="Show one, er-…; without it, all.")] = None,
    do_finish: Annotated[bool, typer.Option("--finish", help="First do what they have left to do, now.")] = False,
    as_json: AsJson = False,
) -> None:
    """What was erased, and how far it is out of files and free space."""
    settings, database = open_all()
    if do_finish:
        _finish(settings, database)
    with database.read() as session:
        if erasure_id is not None:
            one = erasing.get_erasure(session, erasure_id)
            print_fields(_fields(session.get_one(Assistant, one.assistant_id), one), as_json)
            return
        rows = [_fields(session.get_one(Assistant, one.assistant_id), one) for one in erasing.list_erasures(session)]
    shown = (
        rows
        if as_json
        else [{name: row[name] for name in ("erasure", "assistant", "what", "state", "at")} for row in rows]
    )
    print_rows(shown, as_json, empty="None.")


def retention(assistant: AssistantName, as_json: AsJson = False) -> None:
    """What is older than the assistant keeps it, and would go now; the worker sees to that every hour."""
    _, database = open_all()
    with database.read() as session:
        found = assistants.get_assistant(session, assistant)
        since, would = limits.kept_since(found), limits.would_erase(session, found)
    if as_json:
        print_json({"assistant": assistant, "kept_since": since, "counts": would.counts, "datasets": would.datasets})
    elif since is None:
        console.print(
            f"{assistant} keeps conversations for ever: `burnish assistant set {assistant} retention.message_days=90` "
            "changes that."
        )
    else:
        rows = [f"{count} × {table}" for table, count in would.counts.items()]
        print_fields({"kept since": since, "would go": rows or "nothing", "datasets": would.datasets or None}, False)


def _finish(settings: Settings, database: Database, patience_seconds: float = 0) -> None:
    """A training process that was just cancelled takes a moment to leave its folder."""
    deadline = time.monotonic() + patience_seconds
    while not finish.clean_files(database, settings) and time.monotonic() < deadline:
        time.sleep(0.5)
    finish.scrub(database, at_once=True)


def _fields(assistant: Assistant, erasure: Erasure) -> dict[str, Any]:
    return {
        "erasure": erasure.public_id,
        "assistant": assistant.name,
        "what": erasure.kind.value,
        "subject_sha256": erasure.subject_sha256,
        "state": erasure.state.value,
        "rows": erasure.counts,
        "by": erasure.actor,
        "at": erasure.created_at,
        "files_gone_at": erasure.files_gone_at,
        "completed_at": erasure.completed_at,
    }


def _tell(erasure: Erasure | None, found: erasing.Consequences, as_json: bool) -> None:
    state = erasure.state.value if erasure else "planned"
    if as_json:
        print_json({"erasure": erasure.public_id if erasure else None, "state": state, **asdict(found)})
        return
    fields = {
        "receipt": erasure.public_id if erasure else None,
        "state": state,
        "rows": [f"{count} × {table}" for table, count in found.counts.items()],
        "datasets": found.datasets or None,
        "tainted": found.tainted or None,
        "cancelled": found.cancelled or None,
        "trained anew": "yes" if found.retrain else "no",
    }
    print_fields({name: value for name, value in fields.items() if value is not None}, as_json=False)
    console.print(LEFT[erasure.state] if erasure else "This is what would go; nothing is changed. `--yes` does it.")
