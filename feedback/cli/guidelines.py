"""`burnish assistant guidelines`: read, change and look back at what an assistant is for and how it speaks."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from feedback import assistants, guidelines
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_rows
from feedback.errors import InvalidInput
from feedback.models import Guidelines


def register(assistant_app: typer.Typer) -> None:
    assistant_app.command("guidelines")(show_or_change)


def show_or_change(
    name: AssistantName,
    file: Annotated[
        Path | None, typer.Option(help="JSON with all that they should say; what isn't in it is empty.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, e.g. 'tone=Short and warm.'; lists as JSON.")
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Show this version instead of the current one.")] = None,
    history: Annotated[bool, typer.Option("--history", help="List all versions, newest first.")] = False,
    as_json: AsJson = False,
) -> None:
    """What an assistant is for and how it speaks; with --file or --set, a new version of it."""
    if sum([file is not None or bool(change), version is not None, history]) > 1:
        raise InvalidInput("Change the guidelines, look at one --version or list the --history: one at a time.")
    _, database = open_all()
    with database.write() if file or change else database.read() as session:
        assistant = assistants.get_assistant(session, name)
        if history:
            rows = [_fields(one) for one in guidelines.versions(session, assistant)]
            print_rows(rows if as_json else [_short(row) for row in rows], as_json, empty="None.")
            return
        if version is not None:
            shown = guidelines.get_version(session, assistant, version)
        else:
            shown = assistants.current_guidelines(session, assistant)
        if file or change:
            fields = _read(file) if file else guidelines.draft_of(shown).model_dump()
            draft = guidelines.checked(fields | _changes(change or []))
            made_from = None if file else shown.version  # a change of some fields is one of these guidelines
            shown = guidelines.revise(session, assistant, draft, actor=ACTOR, made_from=made_from)
    print_fields(_fields(shown), as_json)


def _fields(shown: Guidelines) -> dict[str, Any]:
    return {
        "version": shown.version,
        **guidelines.draft_of(shown).model_dump(),
        "review_overdue": guidelines.is_review_due(shown),
        "made": shown.created_at,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": row["version"],
        "made": row["made"],
        "begins": (row["system_prompt"] or row["purpose"])[:60],
        "review_due": row["review_due"],
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_bytes())
    except ValueError as error:
        raise InvalidInput(f"{file} isn't JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise InvalidInput(f"{file} must hold one JSON object with the guidelines' fields.")
    return fields


def _changes(assignments: list[str]) -> dict[str, Any]:
    """["tone=Warm.", 'boundaries=["Never guess."]'] → {"tone": "Warm.", "boundaries": ["Never guess."]}"""
    changes: dict[str, Any] = {}
    for assignment in assignments:
        field, equals, text = assignment.partition("=")
        if not equals or field not in guidelines.Draft.model_fields:
            fields = ", ".join(guidelines.Draft.model_fields)
            raise InvalidInput(f"'{assignment}' changes nothing: write field=value; the fields are {fields}.")
        changes[field] = text
        if field in ("boundaries", "sensitive_topics"):
            try:
                changes[field] = json.loads(text)
            except ValueError:
                raise InvalidInput(f"{field} is a JSON list of sentences: {field}='[\"Never guess.\"]'.") from None
        elif field == "review_due" and not text:
            changes[field] = None
    return changes
