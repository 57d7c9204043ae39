"""`burnish train run evaluate adapters`: request runs, run folders by hand, promote and roll back."""

import os
import subprocess
from pathlib import Path
from typing import Annotated

import typer

from feedback import adapters, assistants, lineage, releases, report, runs
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_rows
from feedback.cli.programs import watch_run
from feedback.config import Settings
from feedback.errors import BurnishError, InvalidInput
from feedback.models import Run
from feedback.processes import TrainerTask, trainer_command
from feedback.states import OPEN_RUNS, Side

adapters_app = typer.Typer(help="Adapter versions: list, inspect, promote, roll back.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]
Label = Annotated[str, typer.Argument(metavar="ASSISTANT@N", help="The version.")]


def register(app: typer.Typer) -> None:
    for command in (train, run, evaluate):
        app.command()(command)
    app.add_typer(adapters_app, name="adapters")


def train(
    assistant: AssistantName,
    reason: Reason = "asked for on the command line",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the assistant's open run instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a training run now, whatever the policy says; a worker takes it."""
    settings, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        if cancel:
            run = runs.cancel(session, _open_run(runs.list_runs(session, found)), actor=ACTOR)
        else:
            run = runs.request(session, found, reason, actor=ACTOR)
    if not wait:
        print_fields({"run": run.id, "status": run.status.value}, as_json)
        return
    last = watch_run(settings, run.id, follow=True, as_json=as_json)
    raise typer.Exit(0 if last == "succeeded" else 1)


def run(
    folder: Annotated[Path, typer.Argument(help="A run's folder, with run.json in it.")],
    attempt: Annotated[int, typer.Option(min=1, help="Number of the folder for the results; begun, it goes on.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train and evaluate a run's folder by hand, or finish one; needs no database."""
    raise typer.Exit(_trainer("run", folder, attempt, as_json))


def evaluate(
    folder: Annotated[Path, typer.Argument(help="A run's folder that has been trained.")],
    attempt: Annotated[int, typer.Option(min=1, help="Number of the folder with the results.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Evaluate a trained folder's adapter against its baseline again."""
    raise typer.Exit(_trainer("evaluate", folder, attempt, as_json))


@adapters_app.command("list")
def adapters_list(assistant: AssistantName, as_json: AsJson = False) -> None:
    """An assistant's versions, how they were judged and which one serves."""
    _, database = open_all()
    with database.read() as session:
        found = report.version_reports(session, assistants.get_assistant(session, assistant))
    rows = [
        {
            "version": one.version,
            "release": one.release.value if one.release else None,
            "tainted": one.tainted_at,
            "verdict": one.verdict.value if one.verdict else None,
            "dataset": f"v{one.dataset}" if one.dataset else None,
            "run": one.run_id,
            "made": one.created_at,
        }
        for one in found
    ]
    print_rows(rows, as_json, empty="None.")


@adapters_app.command("show")
def adapters_show(label: Label, as_json: AsJson = False) -> None:
    """One version: its verdict in words, its files, and the feedback behind it."""
    settings, database = open_all()
    with database.read() as session:
        assistant, version = adapters.get_version(session, label)
        one = report.version_report(session, assistant, version)
        folder = adapters.folder_of(settings.adapters, version)
        run = session.get(Run, version.run_id) if version.run_id else None
        behind = lineage.sources_of(session, run.dataset_version_id).by_side if run and run.dataset_version_id else {}
    taught = sum(behind.get(Side.TRAIN, {}).values())
    fields = one.model_dump(mode="json") | {"folder": str(folder) if folder else None, "feedback": taught}
    print_fields(fields, as_json)


@adapters_app.command("verify")
def adapters_verify(label: Label, as_json: AsJson = False) -> None:
    """Check that a version's files are whole."""
    settings, database = open_all()
    with database.read() as session:
        assistant, version = adapters.get_version(session, label)
    adapters.verify(settings.adapters, version)
    print_fields({"version": f"{assistant.name}@{version.number}", "files": "whole"}, as_json)


@adapters_app.command("promote")
def adapters_promote(
    label: Label,
    reason: Reason = "promoted on the command line",
    force: Annotated[bool, typer.Option("--force", help="Even though no evaluation found it better.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let a version serve its assistant; the service takes it over within two seconds."""
    settings, database = open_all()
    with database.read() as session:
        assistant, version = adapters.get_version(session, label)
    adapters.verify(settings.adapters, version)  # hashing takes a while: nobody waits for it
    with database.write() as session:
        releases.promote(session, assistant, version, actor=ACTOR, reason=reason, force=force)
    print_fields({"live": f"{assistant.name}@{version.number}"}, as_json)


@adapters_app.command("rollback")
def adapters_rollback(
    assistant: AssistantName,
    take_back: Annotated[int | None, typer.Option("--from", help="Only if this version serves.")] = None,
    reason: Reason = "rolled back on the command line",
    accept_tainted: Annotated[
        bool, typer.Option("--accept-tainted", help="Even to a version that learned from what was erased since.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let the version serve again that served before."""
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        releases.roll_back(
            session, found, actor=ACTOR, reason=reason, expected_live=take_back, accept_tainted=accept_tainted
        )
        live = releases.live(session, found)
    print_fields({"live": f"{assistant}@{live.version.number}"}, as_json)


def _trainer(task: TrainerTask, folder: Path, attempt: int, as_json: bool) -> int:
    if not (folder / "run.json").is_file():
        raise InvalidInput(f"{folder} has no run.json: give a run's folder, such as those in the data folder's runs/.")
    command = [*trainer_command(Settings(), task, folder, attempt), "--die-with-parent", str(os.getpid())]
    return subprocess.run([*command, *(["--json"] if as_json else [])], check=False).returncode


def _open_run(listed: list[Run]) -> str:
    for run in listed:
        if run.status in OPEN_RUNS:
            return run.id
    raise BurnishError("No run is open: `burnish status` shows how the last ones ended.")
