"""Records to import into a house, the import of them as one, and what is stored and goes out again afterwards."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlmodel import col, select

from feedback.interchange import export, store
from feedback.interchange.export import ExportFormat
from feedback.interchange.records import BadLine, Read, Record, Tie, correction, preference, rating
from feedback.interchange.stored import current_records
from feedback.models import Feedback
from feedback.states import FeedbackKind
from feedback.testing import SECRET, House

ASKED = (("user", "How tall?"),)
LONG_AGO = datetime(2024, 2, 29, 12, tzinfo=UTC)


def taught(line: int, answer: str = "330 metres.", **more: Any) -> Record:
    return correction(line, (("user", f"How tall is tower {line}?"),), answer, **more)


def sample() -> list[Read]:
    history = (("system", "Be brief."), ("user", "Hello."), ("assistant", "Hi."), ("user", "How tall?"))
    return [
        taught(1),
        preference(2, history, "330 metres.", "Tall.", contributor="ada", created_at=LONG_AGO, tags=("a", "b")),
        rating(3, ASKED, "Tall.", -1, contributor="bob", comment="How much?"),
        BadLine(4, "it isn't JSON"),
        Tie(5, "annotator1 found both replies equally good"),
        Record(6, ASKED, "Tall.", FeedbackKind.RATING, {"stars": 4}, contributor="ada"),
        Record(7, ASKED, "Tall.", FeedbackKind.COMMENT, "Nice.", training=False, cut_off=True),
        taught(1),
    ]


def take_in(house: House, reads: Iterable[Read], name: str = "a.jsonl", training: bool | None = None) -> store.Stored:
    """Everything that became of `reads`, in one."""
    source = store.Source(name, training)
    return total(store.take_in(house.database, SECRET, house.reload(), reads, source, actor="test"))


def total(steps: Iterable[store.Stored]) -> store.Stored:
    whole = store.Stored(0)
    for one in steps:
        whole = store.Stored(
            one.line,
            whole.taken + one.taken,
            whole.known + one.known,
            whole.known_otherwise + one.known_otherwise,
            whole.ties + one.ties,
            whole.bad + one.bad,
        )
    return whole


def counts(stored: store.Stored) -> tuple[int, int, int, int]:
    return stored.taken, stored.known, len(stored.ties), len(stored.bad)


def stored_feedback(house: House) -> list[Feedback]:
    with house.database.read() as session:
        return list(session.exec(select(Feedback).order_by(col(Feedback.id))))


def exported(house: House) -> list[str]:
    assistant = house.reload()
    return list(export.lines(current_records(house.database, assistant), ExportFormat.BURNISH, assistant.consent))
