"""`burnish up serve worker demo status doctor bench model`: the programs, and how they are."""

import os
import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer

import migrations
from feedback import assistants, doctor, due, guidelines, releases, run_report, runs
from feedback.cli import supervisor
from feedback.cli.app import AsJson, console, harmless, open_all, print_fields, print_json, print_rows
from feedback.cli.watching import follow_run, show_run
from feedback.config import BUNDLED_MODEL, Settings, settings_rows, settings_table
from feedback.erasure import erase as erasing
from feedback.errors import BurnishError
from feedback.hyperparameters import hyperparameters_rows, hyperparameters_table
from feedback.models import Assistant
from feedback.states import ErasureState, RunStatus

model_app = typer.Typer(help="Base models.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    for command in (up, serve, worker, demo, status):
        app.command()(command)
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=passed_on)(bench)
    app.command(name="doctor")(examine)
    app.add_typer(model_app, name="model")


def up(
    port: Annotated[int | None, typer.Option(help="Port of the chat API.")] = None,
    data_folder: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Prepare model, database and first key; start nothing.")
    ] = False,
) -> None:
    """Prepare what is missing, then run the service and the trainer's worker until Ctrl-C."""
    chosen = {"port": port, "data_folder": data_folder}
    settings = Settings(**{name: value for name, value in chosen.items() if value is not None})  # type: ignore[arg-type]
    raise typer.Exit(supervisor.prepare(settings) if prepare_only else supervisor.up(settings))


def serve() -> None:
    """Run only the service: HTTP and the engine."""
    _become("service")


def worker() -> None:
    """Run only the trainer's worker."""
    _become("trainer", "worker")


def demo(
    fast: Annotated[bool, typer.Option("--fast", help="Fewer facts: about a third of the time.")] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Train on corrections shuffled between questions: must not go live.")
    ] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the run's report page here.")] = None,
    as_json: AsJson = False,
) -> None:
    """The whole loop in front of your eyes, in a temporary data folder."""
    from feedback.demo import play

    raise typer.Exit(play(fast=fast, control=control, as_json=as_json, report=report))


def status(
    run_id: Annotated[str | None, typer.Argument(help="Show one run; without it, everything.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep looking until the run has ended.")] = False,
    as_json: AsJson = False,
) -> None:
    """What serves, and how the runs are doing."""
    settings, database = open_all()
    if run_id is not None:
        last = (follow_run if watch else show_run)(settings, database, run_id, as_json=as_json)
        raise typer.Exit(1 if watch and last == RunStatus.FAILED else 0)
    with database.read() as session:
        serving = [
            {
                "assistant": one.name,
                "live": f"{one.name}@{live.version.number}",
                "since": live.release.live_at,
                "guidelines": f"v{current.version}",
                "review_due": current.review_due,
                "review_overdue": guidelines.is_review_due(current),
                "tainted": live.version.tainted_reason,
                "next_run": str(awaited) if awaited else None,
            }
            for one in assistants.list_assistants(session)
            for live in [releases.live(session, one)]
            for current in [assistants.current_guidelines(session, one)]
            for awaited in [due.outlook(session, one)]
        ]
        listed = [
            {
                "run": run.id,
                "assistant": session.get_one(Assistant, run.assistant_id).name,
                "status": run.status.value,
                "attempt": run.attempt,
                "requested": run.created_at,
                "because": run.reason,
                "waits_for": run_report.waits_for(session, run) if run.status == RunStatus.QUEUED else None,
                "error": run.error,
            }
            for run in runs.list_runs(session)
        ]
        unfinished = [
            {"erasure": one.public_id, "state": one.state.value, "since": one.created_at}
            for one in erasing.list_erasures(session)
            if one.state != ErasureState.COMPLETE
        ]
    health = _health(settings)
    if as_json:
        print_json({"service": health, "serving": serving, "runs": listed, "erasures": unfinished})
        return
    console.print(f"[bold]service[/bold]  {settings.url}  {harmless(str(health['status']))}")
    print_rows(serving, False, empty="No assistants: `burnish up` makes one.")
    print_rows(listed, False, empty="No runs yet: feedback makes one due, or `burnish train ASSISTANT`.")
    if unfinished:
        print_rows(unfinished, False, empty="")


def examine(
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the database schema up to date first.")] = False,
    settings_only: Annotated[bool, typer.Option("--settings", help="Print the table of settings.")] = False,
    training_only: Annotated[
        bool, typer.Option("--hyperparameters", help="Print the table of an assistant's hyperparameters.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check this machine: versions, database, base model, disk, port."""
    if settings_only:
        if as_json:
            print_json(settings_rows())
        else:
            print(settings_table())
        return
    if training_only:
        if as_json:
            print_json(hyperparameters_rows())
        else:
            print(hyperparameters_table())
        return
    settings = Settings()
    if migrate:
        migrations.upgrade(settings.open_database())
    findings = doctor.examine(settings)
    rows = [{"check": found.check, "ok": found.ok, "finding": found.finding} for found in findings]
    shown = rows if as_json else [row | {"ok": "yes" if row["ok"] else "NO"} for row in rows]
    print_rows(shown, as_json, empty="")
    raise typer.Exit(0 if all(found.ok for found in findings) else 1)


def bench(context: typer.Context) -> None:
    """Measure this machine with the benchmarks of a source checkout: `burnish bench --help` has their names."""
    script = Path(__file__).parents[2] / "tests" / "bench" / "run.py"
    if not script.exists():
        raise BurnishError("The benchmarks come with the source: clone the repository and run `make bench`.")
    environment = os.environ | {"BURNISH_MODELS_FOLDER": str(Settings().models)}
    os.execve(sys.executable, [sys.executable, str(script), *context.args], environment)  # noqa: S606  our own program


@model_app.command("prepare")
def model_prepare(as_json: AsJson = False) -> None:
    """Fetch the bundled base model, check it, and unpack it; once."""
    settings = Settings()
    if status := supervisor.prepare_model(settings):
        raise typer.Exit(status)
    print_fields({"model": BUNDLED_MODEL, "folder": str(settings.models / BUNDLED_MODEL)}, as_json)


@model_app.command("list")
def model_list(as_json: AsJson = False) -> None:
    """The prepared base models on this machine."""
    settings = Settings()
    folders = sorted(path for path in settings.models.glob("*") if (path / "config.json").exists())
    rows = [{"model": folder.name, "folder": str(folder)} for folder in folders]
    print_rows(rows, as_json, empty="None: run `burnish model prepare`.")


def _become(*module_and_arguments: str) -> None:
    open_all()  # settings or a database that can't work are told here, in one line
    os.execv(sys.executable, [sys.executable, "-m", *module_and_arguments])  # noqa: S606  our own program


def _health(settings: Settings) -> dict[str, object]:
    try:
        answer: dict[str, object] = httpx.get(f"{settings.url}/health/ready", timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return {"status": "not running"}
    return answer
