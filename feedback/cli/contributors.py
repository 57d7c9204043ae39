"""`burnish contributor`: who gives feedback, known by keyed hashes alone; hold back everything of somebody."""

from typing import Annotated

import typer

from feedback import assistants, contributor_report, quarantine
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_json, print_rows
from feedback.contributor_report import ContributorDetails, Show

contributor_app = typer.Typer(help="Contributors: list, show, quarantine, release.", no_args_is_help=True)

ContributorId = Annotated[str, typer.Argument(help="The keyed hash that lineage and the list show.")]


def register(app: typer.Typer) -> None:
    app.add_typer(contributor_app, name="contributor")


@contributor_app.command("list")
def contributor_list(
    assistant: AssistantName,
    show: Annotated[Show, typer.Option(help="Who came last; gave the most lately; is held back.")] = Show.NEWEST,
    after: Annotated[str | None, typer.Option(help="Go on after this contributor.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most rows to show.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Who gave feedback, how much, and the share of it that was turned down."""
    _, database = open_all()
    with database.read() as session:
        found = contributor_report.list_contributors(
            session, assistants.get_assistant(session, assistant), show, after=after, limit=limit
        )
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        {
            "contributor": one.id,
            "side": one.side.value,
            "pieces": one.pieces,
            "turned down": None if one.turned_down is None else f"{one.turned_down:.0%}",
            "first": one.first_seen,
            "last": one.last_seen,
            "held back": one.quarantine_reason,
        }
        for one in found
    ]
    print_rows(rows, as_json, empty="None.")


@contributor_app.command("show")
def contributor_show(assistant: AssistantName, contributor: ContributorId, as_json: AsJson = False) -> None:
    """How much somebody said, what became of it, and what learned from it."""
    _, database = open_all()
    with database.read() as session:
        found = contributor_report.details(session, assistants.get_assistant(session, assistant), contributor)
    _tell(found, as_json)


@contributor_app.command("quarantine")
def contributor_quarantine(
    assistant: AssistantName,
    contributor: ContributorId,
    reason: Annotated[str, typer.Option(help="Why, for other operators. It stays in the audit log: no names.")],
    as_json: AsJson = False,
) -> None:
    """Hold back everything of somebody, from the next dataset on, until `burnish contributor release`."""
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        quarantine.quarantine(session, found, contributor, reason, actor=ACTOR)
        told = contributor_report.details(session, found, contributor)
    _tell(told, as_json)


@contributor_app.command("release")
def contributor_release(assistant: AssistantName, contributor: ContributorId, as_json: AsJson = False) -> None:
    """Look at what somebody said as at anybody's again, from the next dataset on."""
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        quarantine.release(session, found, contributor, actor=ACTOR)
        told = contributor_report.details(session, found, contributor)
    _tell(told, as_json)


def _tell(found: ContributorDetails, as_json: bool) -> None:
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    fields = {
        "contributor": found.id,
        "side": found.side.value,
        "first": found.first_seen,
        "last": found.last_seen,
        "pieces": found.pieces,
        "kinds": [f"{pieces} × {kind}" for kind, pieces in found.kinds.items()],
        "states": [f"{pieces} × {status}" for status, pieces in found.statuses.items()],
        "why": [f"{one.pieces} × {one.status}: {one.reason}" for one in found.outcomes],
        "datasets": found.datasets,
        "versions": found.versions,
        "held back since": found.quarantined_at,
        "because": found.quarantine_reason,
    }
    print_fields(fields, as_json=False)
