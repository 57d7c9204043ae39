"""`burnish case`: what was reported about replies; take it, resolve it, answer the reporters."""

from typing import Annotated, Any

import typer

from feedback import assistants, cases
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_json, print_rows
from feedback.review import case_files, reports
from feedback.states import CaseOutcome, CaseStatus

case_app = typer.Typer(help="Cases of reported replies: list, show, take, resolve, reopen.", no_args_is_help=True)

CaseId = Annotated[str, typer.Argument(help="The case's id, case-…")]
Note = Annotated[str | None, typer.Option(help="For other reviewers; added to the case's notes.")]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Even if somebody else has it.")]


def register(app: typer.Typer) -> None:
    app.add_typer(case_app, name="case")


@case_app.command("list")
def case_list(
    assistant: AssistantName,
    status: Annotated[CaseStatus | None, typer.Option(help="Only in this state.")] = None,
    category: Annotated[str | None, typer.Option(help="Only of this category.")] = None,
    after: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to show.")] = 50,
    as_json: AsJson = False,
) -> None:
    """The cases of an assistant, oldest first."""
    _, database = open_all()
    with database.read() as session:
        found = cases.list_cases(
            session,
            assistants.get_assistant(session, assistant),
            status=status,
            category=category,
            after=after,
            limit=limit,
        )
        rows = [
            {
                "id": case.public_id,
                "category": case.category,
                "status": case.status.value,
                "outcome": case.outcome.value if case.outcome else None,
                "assignee": case.assignee,
                "reports": cases.count_reports(session, case),
                "at": case.created_at,
            }
            for case in found
        ]
    print_rows(rows, as_json, empty="None.")


@case_app.command("show")
def case_show(case_id: CaseId, as_json: AsJson = False) -> None:
    """One case: the reply, what led to it, what was reported, and the notes."""
    _, database = open_all()
    with database.read() as session:
        shown = case_files.read(session, [cases.get_case(session, case_id)])[0]
    if as_json:
        print_json(shown.model_dump(mode="json"))
        return
    fields = shown.model_dump() | {
        "status": shown.status.value,
        "outcome": shown.outcome.value if shown.outcome else None,
        "conversation": [f"{turn['role']}: {turn['content']}" for turn in shown.conversation],
        "reports": [f"{one.id} {one.category} {one.comment or ''}".rstrip() for one in shown.reports],
        "notes": [f"{note['by']}: {note['text']}" for note in shown.notes],
    }
    print_fields(fields, as_json=False)


@case_app.command("take")
def case_take(case_id: CaseId, note: Note = None, take_over: TakeOver = False, as_json: AsJson = False) -> None:
    """Look into it: it is yours."""
    _change(case_id, as_json, status=CaseStatus.INVESTIGATING, note=note, take_over=take_over)


@case_app.command("resolve")
def case_resolve(
    case_id: CaseId,
    outcome: Annotated[CaseOutcome, typer.Argument(help="Whether the report was right.")],
    answer: Annotated[str | None, typer.Option(help="What the reporters read on their receipts.")] = None,
    category: Annotated[str | None, typer.Option(help="What it was about, if not what was reported.")] = None,
    note: Note = None,
    take_over: TakeOver = False,
    as_json: AsJson = False,
) -> None:
    """Decide it, and tell the reporters."""
    changes = {"outcome": outcome, "answer": answer, "category": category, "note": note, "take_over": take_over}
    _change(case_id, as_json, status=CaseStatus.RESOLVED, **changes)


@case_app.command("reopen")
def case_reopen(case_id: CaseId, note: Note = None, take_over: TakeOver = False, as_json: AsJson = False) -> None:
    """Hand it back to the others, or look at a resolved one again."""
    _change(case_id, as_json, status=CaseStatus.OPEN, note=note, take_over=take_over)


@case_app.command("note")
def case_note(
    case_id: CaseId, text: Annotated[str, typer.Argument(help="For other reviewers.")], as_json: AsJson = False
) -> None:
    """Add to the case's notes."""
    _change(case_id, as_json, note=text)


def _change(case_id: str, as_json: bool, **changes: Any) -> None:
    _, database = open_all()
    with database.write() as session:
        case = cases.get_case(session, case_id, lock=True)
        reports.change(session, case, actor=ACTOR, **changes)
    print_fields({"id": case.public_id, "status": case.status.value, "assignee": case.assignee}, as_json)
