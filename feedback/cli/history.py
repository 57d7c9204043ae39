"""`burnish evaluations report changelog drift audit`: how candidates were judged, what changed, and who did what."""

from typing import Annotated

import typer

from feedback import assistants, audit, changelog, drift, evaluations, runs
from feedback.cli.app import AsJson, AssistantName, console, open_all, print_fields, print_json, print_rows, visible
from feedback.evaluations import ReportFormat
from feedback.states import GuardOutcome


def register(app: typer.Typer) -> None:
    app.command("evaluations")(show_evaluations)
    app.command("report")(show_report)
    app.command("changelog")(show_changelog)
    app.command("drift")(show_drift)
    app.command("audit")(show_audit)


def show_evaluations(
    assistant: AssistantName,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """How an assistant's candidates were judged, the newest first: gains with their bounds, and guards that failed."""
    _, database = open_all()
    with database.read() as session:
        found = evaluations.history(session, assistants.get_assistant(session, assistant), limit)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        {
            "version": one.version,
            "against": one.against,
            "at": one.at,
            "verdict": one.verdict.value,
            "measured": [f"{name} {_interval(found)}" for name, found in one.measures.items()],
            "failed": [name for name, outcome in one.guards.items() if outcome == GuardOutcome.FAILED],
            "run": one.run,
        }
        for one in found
    ]
    print_rows(rows, as_json, empty="None yet.")


def show_report(
    run_id: Annotated[str, typer.Argument(help="The run, run-….")],
    form: Annotated[ReportFormat, typer.Option("--format", help="html: a page with plots.")] = "md",
) -> None:
    """A run's whole report: did it help, for whom, how sure, what got worse, what it learned from."""
    settings, database = open_all()
    with database.read() as session:
        path = evaluations.report_file(settings.runs, runs.get_run(session, run_id), form)
    text = path.read_text("utf-8")
    print(visible(text) if form == "md" or console.is_terminal else text, end="")


def show_changelog(assistant: AssistantName, as_json: AsJson = False) -> None:
    """What changed in an assistant, release by release: for the people who use it, in Markdown."""
    _, database = open_all()
    with database.read() as session:
        found = changelog.changelog(session, assistants.get_assistant(session, assistant))
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
    else:
        print(visible(changelog.as_markdown(assistant, found)), end="")


def show_drift(assistant: AssistantName, as_json: AsJson = False) -> None:
    """What people ask, get and say since the live release, against the time of the one before."""
    _, database = open_all()
    with database.read() as session:
        found = drift.drift(session, assistants.get_assistant(session, assistant))
    if as_json:
        print_json(found and found.model_dump(mode="json"))
        return
    rows = [
        {
            "what": one.what if place == 0 else "",
            "which": bucket,
            "before": f"{one.before[bucket]:.0%}",
            "now": f"{one.after[bucket]:.0%}",
            "": "█" * round(20 * one.after[bucket]),
            "PSI": _psi_of(one) if place == 0 else "",
        }
        for one in (found.found if found else [])
        for place, bucket in enumerate(one.before)
    ]
    print_rows(rows, as_json, empty="Nothing to compare: no release replaced another yet.")


def show_audit(
    action: Annotated[str | None, typer.Option(help="Only actions that begin so, e.g. release.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what begins so, e.g. support@3.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    verify: Annotated[bool, typer.Option("--verify", help="Check every entry's signature instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Who did what, when: the newest entries of the signed log."""
    settings, database = open_all()
    if verify:
        with database.read() as session:
            count, flaws = audit.verify(session, settings.read_secret())
        print_fields(
            {"entries": count, "flaws": [{"entry": flaw.entry, "what": flaw.what} for flaw in flaws]}
            if as_json
            else {"entries": count, "flaws": "; ".join(f"{flaw.entry} {flaw.what}" for flaw in flaws) or "none"},
            as_json,
        )
        raise typer.Exit(1 if flaws else 0)
    with database.read() as session:
        found = audit.list_entries(session, action=action, subject=subject, limit=limit)
    rows = [
        {
            "entry": entry.id,
            "at": entry.created_at,
            "who": entry.actor,
            "did": entry.action,
            "to": entry.subject,
            "details": entry.details
            if as_json
            else ", ".join(f"{name}={value}" for name, value in entry.details.items()),
        }
        for entry in found
    ]
    print_rows(rows, as_json, empty="Nothing.")


def _interval(found: evaluations.JudgedMeasure) -> str:
    if found.lower is None or found.upper is None:
        return f"{found.mean:+.3f} (no bounds)"
    return f"{found.mean:+.3f} ({found.lower:+.3f} to {found.upper:+.3f})"


def _psi_of(one: drift.Drift) -> str:
    if one.psi is None:
        return f"too few ({one.pieces[0]} and {one.pieces[1]})"
    return f"{one.psi:.2f} (by chance {one.by_chance:.2f}){', far' if one.alert else ''}"
