"""`burnish feedback import export`: from and to other systems."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from feedback import assistants, audit, files, runs
from feedback.cli.app import (
    ACTOR,
    AsJson,
    AssistantName,
    console,
    harmless,
    open_all,
    print_fields,
    print_json,
    print_rows,
    visible,
)
from feedback.config import Settings
from feedback.database import Database
from feedback.erasure.erase import newest_erasure
from feedback.errors import Conflict, InvalidInput
from feedback.interchange import export, store
from feedback.interchange.formats import FORMATS, Format, detect
from feedback.interchange.reading import count_lines
from feedback.interchange.records import BadLine
from feedback.interchange.stored import current_records
from feedback.models import Assistant, Run
from feedback.states import Consent

SHOWN_BAD = 20
SOME_BAD = 3
"""Exit status when some lines are in and others couldn't be read; 1 when none could."""


def register(feedback_app: typer.Typer) -> None:
    feedback_app.command("import")(import_)
    feedback_app.command("export")(export_)


@dataclass
class Tally:
    """What became of a file's rows."""

    file: str
    format: str
    taken: int = 0
    known: int = 0
    """Here already, or further up in these files."""
    known_otherwise: int = 0
    ties: int = 0
    bad: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    """The first ones."""
    remarks: list[str] = field(default_factory=list)
    """What is to be told of the file as a whole."""

    def add(self, stored: store.Stored) -> None:
        self.taken += stored.taken
        self.known += stored.known
        self.known_otherwise += stored.known_otherwise
        self.ties += len(stored.ties)
        self.bad += len(stored.bad)
        self.bad_lines += stored.bad[: SHOWN_BAD - len(self.bad_lines)]


def import_(
    assistant: AssistantName,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, or a data set's folder.")],
    format: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(known.name for known in FORMATS)}; else told by the content.")
    ] = None,
    training: Annotated[
        bool | None,
        typer.Option(
            "--training/--no-training",
            help="Whether it may be learned from; else as for feedback whose giver didn't say. A no in a file stays.",
        ),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="What the file came under, for datasheets; import it again to say it later.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken in.")] = False,
    bad: Annotated[Path | None, typer.Option(help="Write every bad line's number and reason here, as JSONL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take in what people said elsewhere. Importing a file again adds only what isn't here yet.

    If what came in makes a training run due by the assistant's policy, it is queued.

    Exits with 0 if every line was good, 3 if some weren't, 1 if none was.
    """
    settings, database = open_all()
    with database.read() as session:
        found = assistants.get_assistant(session, assistant)
    last = _newest_run(database, found)
    formats = [detect(path, format) for path in paths]  # all of them, before anything is stored
    tallies = []
    with _aside(bad) as bad_file:
        for path, known in zip(paths, formats, strict=True):
            source = store.Source(path.resolve().name, training, licence)
            tallies.append(_import_file(settings, database, found, path, known, source, dry_run, bad_file, as_json))
    newest = _newest_run(database, found)
    due = newest if newest and not dry_run and (last is None or newest.id != last.id) else None
    _report(tallies, found, training, dry_run, bad, due, as_json)
    if not any(tally.taken + tally.known + tally.ties for tally in tallies):
        raise typer.Exit(1)
    raise typer.Exit(SOME_BAD if any(tally.bad for tally in tallies) else 0)


def export_(
    assistant: AssistantName,
    format: Annotated[export.ExportFormat, typer.Option(help="What to write.")] = export.ExportFormat.BURNISH,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what people currently say, a line for each: all of it, or what may be learned from in OpenAI's formats."""
    _, database = open_all()
    if as_json and out is None:
        raise InvalidInput("`--json` tells what was written to a file: name one with `--out FILE`.")
    with database.write() as session:
        found = assistants.get_assistant(session, assistant)
        file = str(out.resolve()) if out else None  # an erasure removes those in the data folder
        began = newest_erasure(session, found)
        audit.record(session, ACTOR, "feedback.export", assistant, format=format.value, file=file, after_erasure=began)
    left_out: Counter[str] = Counter()
    records = current_records(database, found, as_mended=format != export.ExportFormat.BURNISH)
    privacy = assistants.policies(found).privacy
    lines = export.lines(records, format, found.consent, left_out, privacy=privacy)
    if out is None:
        _print(lines)
        return
    written = 0
    with _aside(out) as file:
        assert file is not None
        for line in lines:
            file.write(line.encode())
            written += 1
        with database.read() as session:
            if newest_erasure(session, found) != began:
                raise Conflict("Something was erased meanwhile, and may be in what was written: export once more.")
    written -= format == export.ExportFormat.CSV  # its header
    fields: dict[str, Any] = {"file": str(out), "format": format.value, "written": written}
    told = left_out if as_json else [f"{count} × {reason}" for reason, count in left_out.most_common()]
    print_fields(fields | {"left_out": told}, as_json)


def _import_file(
    settings: Settings,
    database: Database,
    assistant: Assistant,
    path: Path,
    known: Format,
    source: store.Source,
    dry_run: bool,
    bad_file: BinaryIO | None,
    as_json: bool,
) -> Tally:
    tally = Tally(str(path), known.name, remarks=known.remarks(path))
    where = (database, settings.read_secret(), assistant, known.read(path), source)
    steps = store.try_out(*where) if dry_run else store.take_in(*where, actor=ACTOR)
    with _progress(path, quiet=as_json) as advance:
        for stored in steps:
            tally.add(stored)
            if bad_file is not None:
                bad_file.writelines(_bad_json(path, line) for line in stored.bad)
            advance(stored.line)
    return tally


def _bad_json(path: Path, bad: BadLine) -> bytes:
    told = {"file": str(path), "line": bad.line, "reason": bad.reason}
    return json.dumps(told, ensure_ascii=False).encode(errors="replace") + b"\n"


def _report(
    tallies: list[Tally],
    assistant: Assistant,
    training: bool | None,
    dry_run: bool,
    bad: Path | None,
    due: Run | None,
    as_json: bool,
) -> None:
    """`due` is the run that was requested meanwhile."""
    if as_json:
        files = [asdict(tally) for tally in tallies]
        print_json({"dry_run": dry_run, "files": files, "run": due.id if due else None})
        return
    taken = "would be taken in" if dry_run else "taken in"
    print_rows(
        [
            {
                "file": tally.file,
                "format": tally.format,
                taken: tally.taken,
                "here already or repeated": tally.known,
                "ties": tally.ties,
                "bad": tally.bad,
            }
            for tally in tallies
        ],
        as_json=False,
        empty="",
    )
    for tally in tallies:
        for remark in tally.remarks:
            console.print(harmless(f"{Path(tally.file).name}: {remark}."), soft_wrap=True)
    shown = [
        {"file": Path(tally.file).name, "line": line.line, "why it is bad": line.reason}
        for tally in tallies
        for line in tally.bad_lines
    ][:SHOWN_BAD]
    if shown:
        console.print()
        print_rows(shown, as_json=False, empty="")
    if (more := sum(tally.bad for tally in tallies) - len(shown)) > 0:
        console.print(f"… and {more} more: {bad or 'say `--bad FILE` to have all of them'}.")
    if otherwise := sum(tally.known_otherwise for tally in tallies):
        console.print(f"{otherwise} that were here already keep the grant for training that they came with.")
    if training is None and assistant.consent == Consent.OPT_IN:
        console.print(f"{assistant.name} learns only from what was granted (opt_in): `--training` grants what you may.")
    if due is not None:
        console.print(harmless(f"Run {due.id} is {due.status.value}: {due.reason}."), soft_wrap=True)


def _newest_run(database: Database, assistant: Assistant) -> Run | None:
    with database.read() as session:
        return next(iter(runs.list_runs(session, assistant, limit=1)), None)


@contextmanager
def _progress(path: Path, *, quiet: bool) -> Iterator[Any]:
    """Yields what takes the last row's number; a bar for people at a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} rows"),
        TimeElapsedColumn(),
    )
    to = Console(stderr=True)
    with Progress(*columns, console=to, transient=True, disable=quiet or not to.is_terminal) as bar:
        total = None if path.is_dir() or bar.disable else count_lines(path)
        task = bar.add_task(harmless(path.name), total=total if total and total > 1 else None)
        yield lambda line: bar.update(task, completed=line)


def _aside(path: Path | None) -> Any:
    """For text of people: for nobody else to read. What isn't a plain file, such as /dev/stdout, stays what it is."""
    if path is None:
        return nullcontext()
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} isn't a plain file: name one, or leave it out to print.")
    return files.replacing(path, mode=0o600)


def _print(lines: Iterator[str]) -> None:
    if sys.stdout.isatty():  # a pipe gets what was said; a terminal would obey it
        lines = (visible(line.replace("\r\n", "\n")) for line in lines)
    try:
        for line in lines:
            sys.stdout.buffer.write(line.encode())
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; nothing may be flushed into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
