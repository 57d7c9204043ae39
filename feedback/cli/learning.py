"""`burnish train run evaluate adapters`: request runs, run folders by hand, promote and roll back."""

import os
import subprocess
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlmodel import Session

from feedback import (
    adapters,
    assistants,
    due,
    lineage,
    release_deeds,
    release_report,
    releases,
    rollout,
    run_report,
    runs,
    version_report,
)
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_rows
from feedback.cli.estimates import show_dry_run
from feedback.cli.watching import follow_run
from feedback.config import Settings
from feedback.errors import BurnishError, InvalidInput
from feedback.folder_lock import FolderBusy, folder_lock
from feedback.models import AdapterVersion, Assistant, Run
from feedback.processes import TrainerTask, trainer_command
from feedback.release_report import Moved
from feedback.states import ReleaseState, RunStatus, Side

adapters_app = typer.Typer(help="Adapter versions: list, inspect, promote, roll back.", no_args_is_help=True)

END_SECONDS = 10.0
"""Within this a worker that lives has heard that its run was cancelled."""

Reason = Annotated[str, typer.Option(help="Why; kept in the audit log, and shown in the changelog.")]
Label = Annotated[str, typer.Argument(metavar="ASSISTANT@N", help="The version.")]


def register(app: typer.Typer) -> None:
    for command in (train, run, evaluate):
        app.command()(command)
    app.add_typer(adapters_app, name="adapters")


def train(
    assistant: AssistantName,
    reason: Reason = "asked for on the command line",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    priority: Annotated[int, typer.Option(help="Runs with a higher one go first; the oldest among equals.")] = 0,
    search: Annotated[
        int | None,
        typer.Option(metavar="N", help="Search for hyperparameters in N trials, each a training; 0: don't."),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Move to this base model, if what is learned on it is found no worse."),
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop the assistant's open run instead.")] = False,
    retry: Annotated[
        str | None, typer.Option(metavar="RUN_ID", help="Queue a failed or cancelled run again instead; it goes on.")
    ] = None,
    set_priority: Annotated[
        int | None, typer.Option(metavar="N", help="Change the queued run's priority instead.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Queue nothing: say what a run would train on, how long it would take.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a training run now, whatever the policy says; a worker takes it."""
    if sum((cancel, dry_run, retry is not None, set_priority is not None)) > 1:
        raise InvalidInput("--cancel, --dry-run, --retry and --set-priority are different deeds: choose one.")
    if (search, base_model) != (None, None) and (cancel or retry is not None or set_priority is not None):
        raise InvalidInput("--search and --base-model are for a run that begins: leave them out, or the rest.")
    settings, database = open_all()
    if dry_run:
        show_dry_run(settings, database, assistant, search, base_model, as_json=as_json)
        return
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        if cancel:
            run = runs.cancel(session, _open_run(session, found), actor=ACTOR)
        elif retry is not None:
            if runs.get_run(session, retry).assistant_id != found.id:
                raise InvalidInput(f"{retry} is no run of '{assistant}': `burnish status {retry}` names its assistant.")
            run = runs.retry(session, retry, actor=ACTOR)
        elif set_priority is not None:
            run = runs.set_priority(session, _open_run(session, found), set_priority, actor=ACTOR)
        else:
            run = runs.request(
                session, found, reason, actor=ACTOR, priority=priority, search_trials=search, base_model=base_model
            )
    if cancel:
        fields = {"run": run.id, "status": run.status.value, "training": _wait_for_end(settings.runs / run.id)}
        print_fields(fields, as_json)
    elif wait:
        last = follow_run(settings, database, run.id, as_json=as_json)
        raise typer.Exit(0 if last == RunStatus.SUCCEEDED else 1)
    else:
        with database.read() as session:
            waits_for = run_report.waits_for(session, run)
        queued = {"run": run.id, "status": run.status.value, "priority": run.priority, "waits_for": waits_for}
        print_fields(queued | ({} if search is None else {"search_trials": search}), as_json)


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
        found = version_report.version_reports(session, assistants.get_assistant(session, assistant))
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
        one = version_report.version_report(session, assistant, version)
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
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Without the shadow and canary that the assistant's policy asks for.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a version serve its assistant, as its release policy says; the service follows within two seconds."""
    settings, database = open_all()
    with database.read() as session:
        assistant, version = adapters.get_version(session, label)
    done = release_deeds.promote(
        database,
        settings.adapters,
        assistant.id,
        version.number,
        actor=ACTOR,
        reason=reason,
        force=force,
        at_once=at_once,
    )
    print_fields(_told(done), as_json)


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
    """Take back what is on trial; else let the version serve again that served before."""
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        moved = releases.roll_back(
            session, found, actor=ACTOR, reason=reason, expected_live=take_back, accept_tainted=accept_tainted
        )
        live = releases.live(session, found)
        fields = {"live": f"{assistant}@{live.version.number}"}
        if moved.state == ReleaseState.VETOED:
            tried = session.get_one(AdapterVersion, moved.adapter_version_id)
            fields = {"taken_back": f"{assistant}@{tried.number}, which was on trial", "serves_on": fields["live"]}
    print_fields(fields, as_json)


@adapters_app.command("veto")
def adapters_veto(label: Label, reason: Reason = "turned down on the command line", as_json: AsJson = False) -> None:
    """Turn down a proposed version, or take back one that is on trial."""
    _, database = open_all()
    with database.write() as session:
        assistant, version = adapters.get_version(session, label)
        before = releases.live(session, assistant).version
        release = releases.veto(session, assistant, version, actor=ACTOR, reason=reason)
        print_fields(_told(release_report.moved(session, assistant, release, before)), as_json)


@adapters_app.command("trial")
def adapters_trial(assistant: AssistantName, as_json: AsJson = False) -> None:
    """How a version on trial, or the live one beside its holdout, does: the evidence, and what it waits for."""
    _, database = open_all()
    with database.read() as session:
        found = assistants.get_assistant(session, assistant)
        trial = release_report.trial_report(session, found)
    if trial is None:
        print_fields({"trial": None} if as_json else {"trial": "none: one version serves alone"}, as_json)
    else:
        print_fields(trial.model_dump(mode="json"), as_json)


@adapters_app.command("share")
def adapters_share(
    assistant: AssistantName,
    percent: Annotated[int, typer.Argument(min=1, max=99, help="Of the conversations that begin, from now on.")],
    reason: Reason = "set on the command line",
    as_json: AsJson = False,
) -> None:
    """Give what is on trial a larger or smaller share of the conversations now; it grows on from there by policy."""
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        release = rollout.set_share(session, found, percent, actor=ACTOR, reason=reason)
        live = releases.live(session, found).version
        print_fields(_told(release_report.moved(session, found, release, live)), as_json)


def _told(done: Moved) -> dict[str, Any]:
    if done.state == ReleaseState.LIVE:
        return {"live": done.version}
    fields: dict[str, Any] = {"version": done.version, "state": done.state.value}
    if done.state == ReleaseState.PROPOSED:
        fields |= {"approved_by": done.approved_by, "approvals_needed": done.approvals_needed}
    elif done.state == ReleaseState.CANARY:
        fields["percent"] = done.percent
    return fields


def _trainer(task: TrainerTask, folder: Path, attempt: int, as_json: bool) -> int:
    if not (folder / "run.json").is_file():
        raise InvalidInput(f"{folder} has no run.json: give a run's folder, such as those in the data folder's runs/.")
    command = [*trainer_command(Settings(), task, folder, attempt), "--die-with-parent", str(os.getpid())]
    return subprocess.run([*command, *(["--json"] if as_json else [])], check=False).returncode


def _open_run(session: Session, assistant: Assistant) -> str:
    run_id = due.open_run(session, assistant)
    if run_id is None:
        raise BurnishError("No run is open: `burnish status` shows how the last ones ended.")
    return run_id


def _wait_for_end(folder: Path) -> str:
    """Whether a cancelled run's training process is gone, as far as this machine can tell."""
    if not folder.is_dir():
        return "none on this machine"
    deadline = time.monotonic() + END_SECONDS
    while True:
        try:
            with folder_lock(folder):
                return "ended"
        except FolderBusy:
            if time.monotonic() > deadline:
                return "still ending"
            time.sleep(0.1)
