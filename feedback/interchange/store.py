"""Records into the database, by the rules that intake has for what people send, some hundred in a transaction.

Doing it again adds nothing: a record is known by its content, or by its `id` where it comes out of our own export. So
an import that was killed is taken up by importing the same file once more. Imported replies have no adapter version, no
completion id and a conversation for each record: nobody can address them, and no version is credited with them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from feedback import assistants, audit, due, keys
from feedback.curate.items import IMPORTED
from feedback.database import Database
from feedback.errors import InvalidInput
from feedback.interchange.checks import Checked, Giver, check
from feedback.interchange.insert import Fresh, insert_all, make_public_id
from feedback.interchange.licences import IMPORT
from feedback.interchange.records import BadLine, Read, Record, Tie, Unreadable
from feedback.interchange.stored import as_records
from feedback.models import ApiKey, Assistant, Feedback

ROWS_AT_ONCE = 500
"""In a transaction: on SQLite nobody else writes meanwhile."""
PORTIONS_A_LOG = 20
"""Transactions after which SQLite gets a chance to fold its log, some 20 KB a row: where no service runs, which does
that, SQLite does when the last connection closes."""
MAX_LICENCE = 200
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """Where records come from, and what the operator says of them."""

    name: str
    """The file's; `feedback.source` keeps it behind `import:`."""
    training: bool | None = None
    """Whether they may be learned from; None leaves it to the file, then to the assistant's consent policy."""
    licence: str | None = None
    """What the file came under; datasheets say it."""

    def __post_init__(self) -> None:
        if self.licence is not None and not (0 < len(self.licence) <= MAX_LICENCE and self.licence.isprintable()):
            raise InvalidInput(f"A licence is its name or address, of up to {MAX_LICENCE} characters on one line.")

    @property
    def mark(self) -> str:
        return f"{IMPORTED}{self.name}".encode(errors="replace").decode()[:200]

    def grant(self, told: bool | None) -> bool | None:
        """A no in the file stays a no: the operator can't give what somebody refused.

        >>> [Source("a.jsonl", training=True).grant(told) for told in (None, False)]
        [True, False]
        """
        return told if told is False or self.training is None else self.training


@dataclass(frozen=True)
class Stored:
    """What became of some rows, once that is on disk. Every row is one of taken, known, tie, bad."""

    line: int
    """The last row's."""
    taken: int = 0
    known: int = 0
    known_otherwise: int = 0
    """How many of the known ones keep another grant for training than this import gives."""
    ties: list[Tie] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)


def take_in(
    database: Database, secret: bytes, assistant: Assistant, reads: Iterable[Read], source: Source, *, actor: str
) -> Iterator[Stored]:
    """Store what is read, portion by portion; at the end request a run, if these made one due."""

    def begin(session: Session) -> Giver:
        details = {"source": source.mark, "training": source.training, "licence": source.licence}
        audit.record(session, actor, IMPORT, assistant.name, **details)
        return Giver(secret, assistant.id, keys.key_of_imports(session).id)

    giver = _write(database, begin)
    policy = assistants.policies(assistant).training
    for number, portion in enumerate(_portions(reads), 1):
        checked, done = _check_all(portion, giver)

        def store(session: Session, checked: list[Checked] = checked, done: Stored = done) -> Stored:
            # one import at a time looks what is here and adds what isn't
            session.exec(select(ApiKey.id).where(ApiKey.id == giver.api_key_id).with_for_update(key_share=True))
            fresh, stored = _sort_out(session, giver, checked, source, done)
            insert_all(session, giver, policy, fresh, source.mark)
            return stored

        yield _write(database, store)
        if number % PORTIONS_A_LOG == 0:
            database.close()
    _write(database, lambda session: due.request_if_due(session, session.get_one(Assistant, assistant.id)))


def try_out(
    database: Database, secret: bytes, assistant: Assistant, reads: Iterable[Read], source: Source
) -> Iterator[Stored]:
    """What `take_in` would do; stores nothing."""
    with database.read() as session:
        key = keys.find_key_of_imports(session)
    giver = Giver(secret, assistant.id, key.id if key else 0)
    seen: set[int] = set()  # 8 bytes a row: what `take_in` would find in the database
    for portion in _portions(reads):
        checked, done = _check_all(portion, giver)
        with database.read() as session:
            fresh, stored = _sort_out(session, giver, checked, source, done)
        again = sum(hash(one.idempotency_key) in seen for one in fresh)
        seen |= {hash(one.idempotency_key) for one in fresh}
        yield replace(stored, taken=stored.taken - again, known=stored.known + again)


def _write(database: Database, deed: Callable[[Session], T]) -> T:
    """In a transaction, tried again where somebody else's (the same key, person or id) came first."""
    for _ in range(2):
        with suppress(IntegrityError), database.write() as session:
            return deed(session)
    with database.write() as session:
        return deed(session)


def _portions(reads: Iterable[Read]) -> Iterator[list[Read]]:
    rest = iter(reads)
    while portion := list(islice(rest, ROWS_AT_ONCE)):
        yield portion


def _check_all(portion: Sequence[Read], giver: Giver) -> tuple[list[Checked], Stored]:
    checked: list[Checked] = []
    done = Stored(portion[-1].line)
    for read in portion:
        try:
            match read:
                case Record():
                    checked.append(check(read, giver))
                case Tie():
                    done.ties.append(read)
                case BadLine():
                    done.bad.append(read)
        except Unreadable as error:
            done.bad.append(BadLine(read.line, str(error)))
    return checked, done


def _sort_out(
    session: Session, giver: Giver, checked: Sequence[Checked], source: Source, done: Stored
) -> tuple[list[Fresh], Stored]:
    """What is to be stored, and what that and everything else makes of the portion."""
    names = [f"import:{giver.assistant_id}:{one.identity}" for one in checked]
    by_key = {
        row.idempotency_key: row
        for row in session.exec(
            select(Feedback).where(Feedback.api_key_id == giver.api_key_id, col(Feedback.idempotency_key).in_(names))
        )
    }
    ids = [one.record.id for one in checked if one.record.id]
    by_id = {row.public_id: row for row in session.exec(select(Feedback).where(col(Feedback.public_id).in_(ids)))}
    fresh: dict[str, Fresh] = {}
    known = otherwise = 0
    bad: list[BadLine] = []
    for one, key in zip(checked, names, strict=True):
        record = one.record
        store, training = source.grant(record.store), source.grant(record.training)
        here = by_key.get(key) or by_id.get(record.id or "")
        if here is not None and here.assistant_id == giver.assistant_id:
            if record.id is None or _says(session, giver, here, one):
                known += 1
                otherwise += here.training != training
            else:
                bad.append(_says_something_else(record))
        elif key in fresh:
            if fresh[key].checked.content_sha256 == one.content_sha256:
                known += 1
            else:
                bad.append(_says_something_else(record))
        else:
            public_id = record.id if record.id and here is None else make_public_id(giver, key)
            fresh[key] = Fresh(one, public_id, key, store, training)
    return list(fresh.values()), replace(
        done, taken=len(fresh), known=known, known_otherwise=otherwise, bad=sorted(done.bad + bad, key=_line)
    )


def _says(session: Session, giver: Giver, here: Feedback, one: Checked) -> bool:
    """Whether the feedback that has the record's id says what the record says: as it came in, or as it would go out."""
    if here.request_sha256 == one.content_sha256:
        return True
    (as_it_is,) = as_records(session, [here])
    try:
        return check(as_it_is, giver).content_sha256 == one.content_sha256
    except Unreadable:  # it came in when more was taken: no record that may be stored says the same
        return False


def _says_something_else(record: Record) -> BadLine:
    return BadLine(record.line, f"{record.id} is here already and says something else: to add it, take its `id` out")


def _line(bad: BadLine) -> int:
    return bad.line
