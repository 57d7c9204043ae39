"""`burnish audit`: who did what, when; and whether the log is what was written."""

from typing import Annotated

import typer

from feedback import audit
from feedback.cli.app import AsJson, open_all, print_fields, print_rows


def register(app: typer.Typer) -> None:
    app.command("audit")(show)


def show(
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
