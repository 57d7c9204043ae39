"""What all commands share: the application, the `--json` option, settings and output."""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib import metadata
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from feedback.config import Settings
from feedback.database import Database

app = typer.Typer(
    name="burnish",
    help="A self-hosted chat service that gets better by being used.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
AssistantName = Annotated[str, typer.Argument(help="The assistant's name.")]
_COMMANDS = re.compile("[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
"""Control characters but tab and line break, and what overrides the direction of writing."""
_PIPED_COLUMNS = 1000
ACTOR = "cli"
"""Who the audit log says it was, for commands run on this machine."""


@app.callback()
def whole(
    version: Annotated[bool, typer.Option("--version", help="Say which version of Burnish this is.")] = False,
) -> None:
    if version:
        print(metadata.version("burnish"))
        raise typer.Exit


def open_all() -> tuple[Settings, Database]:
    """The settings and a database whose schema is known to fit."""
    settings = Settings()
    database = settings.open_database()
    database.check()
    return settings, database


def print_json(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    print(_COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # JSON leaves some of them as they are


def visible(text: str) -> str:
    """What people wrote, without what would command a terminal or turn its text around: shown, not obeyed.

    >>> print(visible("\\x1b[2J gone\\r"))
    \\x1b[2J gone\\r
    """
    return _COMMANDS.sub(lambda found: repr(found[0])[1:-1], text)


def harmless(text: str) -> str:
    """What people wrote, for where markup is read: neither that nor a command.

    >>> harmless("[red]\\x1b[2J")
    '\\\\[red]\\\\x1b[2J'
    """
    return escape(visible(text))


def print_rows(rows: Sequence[dict[str, Any]], as_json: bool, *, empty: str) -> None:
    """The same rows as a table for people or as JSON for programs."""
    if as_json:
        print_json(list(rows))
    elif not rows:
        console.print(empty)
    else:
        _out().print(_table(rows[0].keys(), rows))


def print_fields(fields: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(fields)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        grid.add_row(f"[bold]{name}[/bold]", escape(_cell(value)))
    _out().print(grid)


def _out() -> Console:
    """As wide as the terminal; what goes to another program keeps each row on one line."""
    return console if console.is_terminal else Console(width=_PIPED_COLUMNS)


def _table(columns: Iterable[str], rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        # an id goes into the next command: it stays in one piece
        table.add_column(column, overflow="fold", no_wrap=place == 0 and column != "file")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return visible("\n".join(str(part) for part in value)) or "–"
    return visible(str(value))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)
