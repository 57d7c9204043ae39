"""`burnish suite`: what every candidate of an assistant is asked beside what people said."""

from pathlib import Path
from typing import Annotated, Any

import typer

from feedback import assistants
from feedback.cli.app import ACTOR, AsJson, AssistantName, open_all, print_fields, print_rows
from feedback.suites import registry
from feedback.suites.kinds import SuiteKind
from feedback.suites.models import Suite

suite_app = typer.Typer(help="Suites that guard an assistant: add, list, remove.", no_args_is_help=True)

SuiteName = Annotated[str, typer.Argument(metavar="NAME", help="What it goes by.")]


def register(app: typer.Typer) -> None:
    app.add_typer(suite_app, name="suite")


@suite_app.command("add")
def add(
    assistant: AssistantName,
    file: Annotated[
        Path, typer.Argument(help="JSONL of the kind's items, or IFEval, XSTest, CrowS-Pairs, GSM8K, plain text.")
    ],
    name: Annotated[str | None, typer.Option(help="What it goes by; else the file's name.")] = None,
    kind: Annotated[SuiteKind | None, typer.Option(help="What it asks; told by the content where it can be.")] = None,
    licence: Annotated[str | None, typer.Option(help="What it came under, e.g. CC-BY-4.0.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have every run from now on ask a suite; one of the same name and kind is replaced."""
    _, database = open_all()
    content = file.read_bytes()
    called = name or file.name.partition(".")[0].lower().replace(" ", "-")
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        suite = registry.add(session, found, called, content, kind=kind, licence=licence, actor=ACTOR)
    print_fields(_fields(suite), as_json)


@suite_app.command("list")
def list_(assistant: AssistantName, as_json: AsJson = False) -> None:
    """An assistant's own suites; Burnish's own guard it as well."""
    _, database = open_all()
    with database.read() as session:
        found = registry.list_suites(session, assistants.get_assistant(session, assistant))
    print_rows([_fields(suite) for suite in found], as_json, empty="None but Burnish's own.")


@suite_app.command("remove")
def remove(assistant: AssistantName, name: SuiteName, as_json: AsJson = False) -> None:
    """Ask it no more. Runs that froze it keep it."""
    _, database = open_all()
    with database.write() as session:
        registry.remove(session, assistants.get_assistant(session, assistant), name, actor=ACTOR)
    print_fields({"removed": name}, as_json)


def _fields(suite: Suite) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "kind": suite.kind,
        "items": suite.items,
        "licence": suite.licence,
        "sha256": suite.sha256[:12],
        "added": suite.created_at,
        "by": suite.actor,
    }
