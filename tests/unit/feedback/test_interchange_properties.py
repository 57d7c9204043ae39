"""What holds for any rows: none is lost, none breaks a reader, and what we write reads back as it was."""

import contextlib
import csv
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_interchange_reading import JSON

from feedback.columns import is_storable
from feedback.curation_policies import PrivacyPolicy
from feedback.interchange import (
    export,
    hh_rlhf,
    hugging_face,
    open_webui,
    openai_files,
    ours,
    pandalm,
    question_answer_csv,
)
from feedback.interchange.checks import Giver, check
from feedback.interchange.export import ExportFormat
from feedback.interchange.records import BadLine, Record, Tie, Unreadable
from feedback.states import FeedbackKind

GIVER = Giver(b"secret", 1, 1)
TEXT = st.text(max_size=30).filter(is_storable)
SOME_TEXT = TEXT.filter(str.strip)
FIELDS = (
    *(
        "messages",
        "role",
        "content",
        "prompt",
        "completion",
        "label",
        "chosen",
        "rejected",
        "input",
        "preferred_output",
    ),
    *(
        "non_preferred_output",
        "instruction",
        "response1",
        "response2",
        "annotator1",
        "type",
        "data",
        "meta",
        "snapshot",
    ),
    *("chat", "history", "rating", "message_id", "parentId", "kind", "reply", "value", "tags", "created_at", "weight"),
    *("question", "answer"),
)
WORDS = st.sampled_from(
    ["user", "assistant", "system", "tool", "\n\nHuman: a\n\nAssistant: b", "rating", "correction", "", "x", "a2"]
)
ROWS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=14,
)
READERS = {
    "openai": openai_files.record,
    "hugging-face": hugging_face.record,
    "hh-rlhf": hh_rlhf.record,
    "pandalm": pandalm.votes,
    "open-webui": open_webui.record,
    "burnish": ours.record,
}


@pytest.mark.parametrize("name", READERS)
@given(row=ROWS | JSON)
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_any_row_is_read_or_refused_in_words(name: str, row: Any) -> None:
    with contextlib.suppress(Unreadable):
        for read in READERS[name](1, row):
            assert read.line == 1
            if isinstance(read, Record):
                check(read, GIVER)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from(ours.KINDS))
    value: Any = {
        FeedbackKind.CORRECTION: st.builds(lambda text: {"content": text, "key_facts": []}, SOME_TEXT),
        FeedbackKind.RATING: st.sampled_from([1, -1, {"stars": 2}]),
        FeedbackKind.COMMENT: SOME_TEXT,
        FeedbackKind.PREFERENCE: st.builds(lambda text: {"rejected": text}, TEXT)
        | st.builds(lambda tie, text: {"tie": tie, "other": text}, st.sampled_from(["good", "bad"]), TEXT),
    }[kind]
    flag = st.none() | st.booleans()
    return Record(
        line=1,
        messages=tuple(draw(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), min_size=1))),
        reply=draw(TEXT),
        kind=kind,
        value=draw(value),
        contributor=draw(st.none() | SOME_TEXT),
        comment=draw(st.none() | TEXT),
        tags=tuple(draw(st.lists(SOME_TEXT, max_size=3))),
        created_at=draw(st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2025, 1, 1), timezones=st.just(UTC))),
        id=draw(st.none() | st.from_regex(r"fb-[0-9a-f]{24}", fullmatch=True)),
        store=draw(flag),
        training=draw(flag),
        cut_off=draw(st.booleans()),
    )


@given(st.lists(records(), max_size=5))
def test_our_lines_read_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, said: list[Record]) -> None:
    path = tmp_path_factory.mktemp("ours") / "said.jsonl"
    path.write_text("".join(export.lines(said, ExportFormat.BURNISH, "opt_out")), "utf-8", newline="")
    again = list(ours.read(path))
    assert [ours.as_row(read) for read in again if isinstance(read, Record)] == [ours.as_row(one) for one in said]
    checked = [check(read, GIVER).content_sha256 for read in again if isinstance(read, Record)]
    assert checked == [check(one, GIVER).content_sha256 for one in said]


@given(st.lists(records(), max_size=5), st.sampled_from(ExportFormat), st.sampled_from(["opt_in", "opt_out"]))
def test_an_export_counts_what_it_leaves_out_and_lets_no_refusal_through(
    said: list[Record], wanted: ExportFormat, consent: str
) -> None:
    left_out: Counter[str] = Counter()
    lines = list(export.lines(said, wanted, consent, left_out))
    written = len(lines) - (wanted == ExportFormat.CSV)
    assert written + left_out.total() == len(said)
    if wanted != ExportFormat.BURNISH:
        assert written <= sum(False not in (one.store, one.training) for one in said)
        assert written == 0 or consent == "opt_out" or any(one.store and one.training for one in said)


@pytest.mark.parametrize("wanted", sorted(set(ExportFormat) - {ExportFormat.BURNISH}))
def test_what_holds_no_more_is_taught_to_nobody(wanted: ExportFormat) -> None:
    value = {"content": "Until Sunday.", "key_facts": []}
    said = [
        Record(1, (("user", "Sale?"),), "No.", FeedbackKind.CORRECTION, value | {"expires_at": until})
        for until in ("2020-02-03T00:00:00+00:00", "9999-01-01T00:00:00+00:00")
    ]
    left_out: Counter[str] = Counter()
    assert len(list(export.lines(said, wanted, "opt_out", left_out))) == 1 + (wanted == ExportFormat.CSV)
    assert left_out == {"it was said to hold until a date that is past": 1}
    assert len(list(export.lines(said, ExportFormat.BURNISH, "opt_out"))) == 2


@given(st.lists(st.tuples(SOME_TEXT, SOME_TEXT), max_size=6))
def test_a_table_of_ours_reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    said = [
        Record(1, (("user", question),), "", FeedbackKind.CORRECTION, {"content": answer, "key_facts": []})
        for question, answer in pairs
    ]
    path = tmp_path_factory.mktemp("table") / "said.csv"
    as_said = PrivacyPolicy(replace_identifiers=False)
    path.write_text("".join(export.lines(said, ExportFormat.CSV, "opt_out", privacy=as_said)), "utf-8", newline="")
    again = [read for read in question_answer_csv.read(path) if isinstance(read, Record)]
    assert [(read.messages[0][1], read.value["content"]) for read in again] == pairs
    with path.open(newline="") as file:
        assert not any(field.startswith(("=", "+", "-", "@")) for row in csv.reader(file) for field in row)


@given(st.lists(st.sampled_from(["good", "again", "tie", "vote", "odd", "broken", "blank"]), max_size=20))
def test_every_line_is_a_record_a_tie_or_bad(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    path: Path = tmp_path_factory.mktemp("lines") / "lines.jsonl"
    row = {"instruction": "Which?", "response1": "This.", "response2": "That.", "annotator1": 1}
    written = {
        "good": json.dumps(row),
        "again": json.dumps(row),
        "tie": json.dumps({**row, "annotator1": 0}),
        "vote": json.dumps({**row, "annotator1": 7}),
        "odd": "5",
        "broken": "{",
        "blank": " ",
    }
    path.write_text("".join(written[kind] + "\n" for kind in kinds))
    made = list(pandalm.read(path))
    assert [read.line for read in made] == [line for line, kind in enumerate(kinds, 1) if kind != "blank"]
    counts = Counter(type(read) for read in made)
    assert counts[Record] == kinds.count("good") + kinds.count("again")
    assert counts[Tie] == kinds.count("tie")
    assert counts[BadLine] == sum(kinds.count(kind) for kind in ("vote", "odd", "broken"))
