"""Rows for the tests of what is imported, and what came of them."""

import json
from pathlib import Path
from typing import Any

from feedback.interchange.records import BadLine, Record
from feedback.states import FeedbackKind

ASKED = [{"role": "user", "content": "How tall?"}]
RIGHT, WRONG = ([{"role": "assistant", "content": text}] for text in ("330 metres.", "Tall."))
TAUGHT = ((("user", "How tall?"),), "", FeedbackKind.CORRECTION, {"content": "330 metres.", "key_facts": []})
CHOSEN = ((("user", "How tall?"),), "330 metres.", FeedbackKind.PREFERENCE, {"rejected": "Tall."})
RATED = ((("user", "How tall?"),), "Tall.", FeedbackKind.RATING, -1)

TRL_ROWS = [
    ({"messages": ASKED + RIGHT}, TAUGHT),
    ({"prompt": "How tall?", "completion": "330 metres."}, TAUGHT),
    ({"prompt": ASKED, "completion": RIGHT}, TAUGHT),
    ({"question": "How tall?", "answer": "330 metres."}, TAUGHT),
    ({"prompt": "How tall?", "completion": "Tall.", "label": False}, RATED),
    ({"prompt": ASKED, "completion": WRONG, "label": False}, RATED),
    ({"prompt": "How tall?", "chosen": "330 metres.", "rejected": "Tall."}, CHOSEN),
    ({"prompt": ASKED, "chosen": RIGHT, "rejected": WRONG}, CHOSEN),
    ({"chosen": ASKED + RIGHT, "rejected": ASKED + WRONG}, CHOSEN),
    (
        {
            "chosen": "\n\nHuman: How tall?\n\nAssistant: 330 metres.",
            "rejected": "\n\nHuman: How tall?\n\nAssistant: Tall.",
        },
        CHOSEN,
    ),
]


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def reasons(reads: Any) -> dict[int, str]:
    return {read.line: read.reason for read in reads if isinstance(read, BadLine)}


def only(reads: Any) -> Record:
    (read,) = reads
    assert isinstance(read, Record), read
    return read


def told(record: Record) -> tuple[Any, ...]:
    return record.messages, record.reply, record.kind, record.value
