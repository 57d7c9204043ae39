"""`burnish webhook`: who is told of an assistant's runs and releases."""

from typing import Annotated, Any

import typer

from feedback import assistants
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_rows
from feedback.webhooks import deliveries, hooks
from feedback.webhooks.models import Webhook

webhook_app = typer.Typer(help="Tell other programs of runs, verdicts, releases and alerts.", no_args_is_help=True)

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="As `burnish webhook list` shows it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(webhook_app, name="webhook")


@webhook_app.command("add")
def add(
    assistant: AssistantName,
    url: Annotated[str, typer.Argument(help="Where to POST.")],
    events: Annotated[
        list[str] | None, typer.Option("--event", help="An event, or its beginning (run., release.); none: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have an address told of events. Its secret, shown once here, signs what comes (Standard Webhooks)."""
    _, database = open_all()
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        hook = hooks.add(session, found, url, events or [], actor=ACTOR)
    print_fields(_fields(hook) | {"secret": hook.secret}, as_json)


@webhook_app.command("list")
def list_(assistant: AssistantName, as_json: AsJson = False) -> None:
    """An assistant's webhooks."""
    _, database = open_all()
    with database.read() as session:
        found = hooks.list_hooks(session, assistants.get_assistant(session, assistant))
    print_rows([_fields(hook) for hook in found], as_json, empty="None.")


@webhook_app.command("deliveries")
def show_deliveries(assistant: AssistantName, webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """What a webhook was told lately, and how it answered."""
    _, database = open_all()
    with database.read() as session:
        hook = hooks.get_hook(session, assistants.get_assistant(session, assistant), webhook_id)
        found = deliveries.list_deliveries(session, hook)
    rows = [
        {
            "id": one.public_id,
            "event": one.event,
            "attempts": one.attempts,
            "arrived": one.delivered_at,
            "answer": one.answer,
            "next": one.next_at,
        }
        for one in found
    ]
    print_rows(rows, as_json, empty="Nothing yet.")


@webhook_app.command("remove")
def remove(assistant: AssistantName, webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Tell an address no more, not even what is on its way."""
    _, database = open_all()
    with database.write() as session:
        hooks.remove(session, assistants.get_assistant(session, assistant), webhook_id, actor=ACTOR)
    print_fields({"removed": webhook_id}, as_json)


def _fields(hook: Webhook) -> dict[str, Any]:
    return {"webhook": hook.public_id, "url": hook.url, "events": hook.events or ["all"], "added": hook.created_at}
