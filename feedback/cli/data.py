"""`burnish feedback dataset`: what was said, and what is or would be learned from it. Deciding is review.py's."""

from typing import Annotated

import typer

from feedback import assistants, datasets, review, verification
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_json, print_rows, visible
from feedback.policy_changes import parse_changes
from feedback.review import listing
from feedback.row_hashes import find_rows
from feedback.states import FeedbackStatus

feedback_app = typer.Typer(help="Feedback: list, inspect, decide, import, export.", no_args_is_help=True)
dataset_app = typer.Typer(help="Dataset versions: list, inspect, preview.", no_args_is_help=True)

FeedbackId = Annotated[str, typer.Argument(help="The feedback's id, fb-…")]


def register(app: typer.Typer) -> None:
    app.add_typer(feedback_app, name="feedback")
    app.add_typer(dataset_app, name="dataset")


@feedback_app.command("list")
def feedback_list(
    assistant: AssistantName,
    status: Annotated[FeedbackStatus | None, typer.Option(help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """What people said about an assistant's replies, newest first."""
    _, database = open_all()
    with database.read() as session:
        sought = listing.Sought(status=status)
        found = listing.newest(session, assistants.get_assistant(session, assistant), sought, limit=limit).rows
    rows = [
        {
            "id": one.public_id,
            "kind": one.kind.value,
            "value": one.value,
            "status": one.status.value,
            "source": one.source,
            "at": one.created_at,
        }
        for one in found
    ]
    print_rows(rows, as_json, empty="None.")


@feedback_app.command("show")
def feedback_show(feedback_id: FeedbackId, as_json: AsJson = False) -> None:
    """One piece of feedback, with the conversation that it is about."""
    _, database = open_all()
    with database.read() as session:
        found = review.get_feedback(session, feedback_id)
        print_fields(review.with_conversation(session, found, actor=ACTOR), as_json)


@dataset_app.command("list")
def dataset_list(assistant: AssistantName, as_json: AsJson = False) -> None:
    """The frozen datasets, newest first."""
    _, database = open_all()
    with database.read() as session:
        found = datasets.list_datasets(session, assistants.get_assistant(session, assistant))
    rows = [
        {
            "dataset": f"v{one.number}",
            "sha256": one.sha256[:16],
            "rows": one.datasheet["rows"],
            "erased": one.rows_erased,
            "made": one.created_at,
        }
        for one in found
    ]
    print_rows(rows, as_json, empty="None: a run freezes one.")


@dataset_app.command("show")
def dataset_show(
    assistant: AssistantName,
    number: Annotated[int, typer.Argument(max=2**31 - 1, help="The dataset's number.")],
    as_json: AsJson = False,
) -> None:
    """A dataset's datasheet: what is in it, with sample rows, and what was dropped, and why."""
    from feedback.curate.datasheet_page import as_markdown

    settings, database = open_all()
    with database.read() as session:
        dataset = datasets.get_dataset(session, assistants.get_assistant(session, assistant), number)
        folder = datasets.folder_of(session, settings.runs, dataset)
    sheet = dataset.datasheet
    if as_json:
        print_json(sheet)
    else:
        rows = find_rows(folder, sheet["samples"]) if folder else ()
        print(visible(as_markdown(sheet, rows, f"v{number}")))


@dataset_app.command("verify")
def dataset_verify(
    assistant: AssistantName,
    number: Annotated[int, typer.Argument(max=2**31 - 1, help="The dataset's number.")],
    as_json: AsJson = False,
) -> None:
    """Check that the rows are the ones that were frozen, and that an erasure took every one that is gone."""
    settings, database = open_all()
    with database.read() as session:
        dataset = datasets.get_dataset(session, assistants.get_assistant(session, assistant), number)
        found = verification.verify(session, settings.runs, dataset)
    fields = {
        "dataset": f"{assistant} v{number}",
        "sha256": dataset.sha256,
        "rows": found.rows,
        "erased": found.erased,
        "to_erase": found.to_erase,
    }
    if as_json:
        print_fields(fields, as_json)
        return
    waiting = f"; {found.to_erase} are being erased, and are still there" if found.to_erase else ""
    print(
        f"{assistant} v{number} holds: {found.rows} rows there, {found.erased} erased, nothing else differs{waiting}."
    )


@dataset_app.command("preview")
def dataset_preview(
    assistant: AssistantName,
    policy: Annotated[list[str] | None, typer.Argument(help="Try settings: section.name=value.")] = None,
    as_json: AsJson = False,
) -> None:
    """The datasheet of what a run started now would learn from; with settings, what they would change. A dry run."""
    from feedback.curate.datasheet import compare
    from feedback.curate.datasheet_page import as_markdown

    _, database = open_all()
    with database.read() as session:
        found = assistants.get_assistant(session, assistant)
        as_it_is = datasets.preview(session, found)
        changed = datasets.preview(session, found, parse_changes(policy)) if policy else None
    if changed is not None:
        compared = compare(as_it_is.sheet, changed.sheet)
        print_rows(compared, as_json, empty="These settings change nothing.")
    elif as_json:
        print_json(as_it_is.sheet)
    else:
        print(visible(as_markdown(as_it_is.sheet, as_it_is.samples)))
