"""Each format, row by row: what it becomes, and why a row is refused; and which format a file is found to have."""

import gzip
import json
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from interchange_rows import ASKED, CHOSEN, RIGHT, TAUGHT, TRL_ROWS, WRONG, jsonl, only, reasons, told, written
from real_data import real_data_or_skip

from feedback.columns import now, utc
from feedback.errors import InvalidInput
from feedback.interchange import hh_rlhf, open_webui, openai_files, ours, pandalm
from feedback.interchange.formats import FORMATS, detect
from feedback.interchange.records import BadLine, Read, Record, Tie
from feedback.states import FeedbackKind

# ── OpenAI ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_openai_lines_teach_or_choose_and_bad_ones_say_why(tmp_path: Path) -> None:
    tool = {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}
    rows = [
        {"messages": [{"role": "system", "content": "Be brief."}, *ASKED, *RIGHT]},
        {"input": {"messages": ASKED}, "preferred_output": RIGHT, "non_preferred_output": WRONG},
        {"messages": ASKED},
        {"messages": [*ASKED, tool]},
        {"messages": [*ASKED, {"role": "assistant", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"messages": [*ASKED, {"role": "tool", "content": "5"}, *RIGHT]},
        {"messages": [*ASKED, {**RIGHT[0], "weight": 0}]},
        {"messages": "How tall?"},
        {"input": {"messages": ASKED}, "preferred_output": RIGHT, "non_preferred_output": RIGHT},
        {"input": {"messages": ASKED}, "preferred_output": [], "non_preferred_output": WRONG},
        {"input": ASKED, "preferred_output": RIGHT, "non_preferred_output": WRONG},
        {"prompt": "How tall?", "completion": "330 metres."},
        7,
        {"messages": RIGHT},
    ]
    path = written(tmp_path, "sft.jsonl", jsonl(*rows))
    taught, chosen, *_ = made = list(openai_files.read(path))
    assert isinstance(taught, Record)
    assert isinstance(chosen, Record)
    assert told(taught) == ((("system", "Be brief."), *TAUGHT[0]), *TAUGHT[1:])
    assert told(chosen) == CHOSEN
    why = reasons(made)
    assert list(why) == list(range(3, len(rows) + 1))
    for line, word in {
        3: "doesn't end",
        4: "tool call",
        5: "isn't text",
        6: "'tool'",
        7: "weight",
        8: "a list",
    }.items():
        assert word in why[line]
    assert why[9] == "both replies say the same"
    assert why[14] == "there is no question"


# ── hh-rlhf, PandaLM ─────────────────────────────────────────────────────────────────────────────────────────


def test_transcripts_that_differ_before_the_last_reply_are_refused(tmp_path: Path) -> None:
    human = "\n\nHuman: How tall?\n\nAssistant:"
    again = "\n\nHuman: Really?\n\nAssistant:"
    rows = [
        {"chosen": f"{human} 330 metres.{again} Yes.", "rejected": f"{human} 330 metres.{again} No."},
        {"chosen": f"{human} 330 metres.{again} Yes.", "rejected": f"{human} 330 metres."},
        {"chosen": f"{human} 330 metres.", "rejected": human},
        {"chosen": human[:18], "rejected": human},
        {"chosen": "Once upon a time.", "rejected": human},
        {"chosen": f"{human} 330 metres."},
        {"chosen": f"{human} Yes.", "rejected": f"{human} Yes."},
    ]
    made = list(hh_rlhf.read(written(tmp_path, "hh.jsonl", jsonl(*rows))))
    first = made[0]
    assert isinstance(first, Record)
    assert first.messages == (("user", "How tall?"), ("assistant", "330 metres."), ("user", "Really?"))
    assert (first.reply, first.value, first.contributor) == ("Yes.", {"rejected": "No."}, None)
    why = reasons(made)
    assert list(why) == [2, 3, 4, 5, 6, 7]
    assert "differ" in why[2]


def test_each_annotator_is_a_contributor_and_a_tie_is_a_tie(tmp_path: Path) -> None:
    row = {"instruction": "Translate.", "input": "", "response1": "Ja", "response2": "Yes"}
    votes = {"annotator1": 1, "annotator2": 2, "annotator3": 0, "annotator4": 3, "annotator5": True}
    path = written(
        tmp_path, "pairs.json", json.dumps([row | votes, {**row, "annotator1": 1, "response2": None}, row, 5])
    )
    made = list(pandalm.read(path))
    assert [(read.contributor, read.reply) for read in made if isinstance(read, Record)] == [
        ("pandalm:annotator1", "Ja"),
        ("pandalm:annotator2", "Yes"),
    ]
    assert [read for read in made if isinstance(read, Tie)] == [Tie(1, "annotator3 found both replies equally good")]
    assert Counter(read.line for read in made if isinstance(read, BadLine)) == {1: 2, 2: 1, 3: 1, 4: 1}


# ── Open WebUI ───────────────────────────────────────────────────────────────────────────────────────────────


def open_webui_row(rating: Any = 1, *, arena: bool = False, **more: Any) -> dict[str, Any]:
    messages = {
        "q1": {"id": "q1", "parentId": None, "role": "user", "content": "Hello."},
        "a1": {"id": "a1", "parentId": "q1", "role": "assistant", "content": "Hi."},
        "q2": {"id": "q2", "parentId": "a1", "role": "user", "content": "How tall?"},
        "a2": {"id": "a2", "parentId": "q2", "role": "assistant", "content": "330 metres."},
        "b2": {"id": "b2", "parentId": "q2", "role": "assistant", "content": "Tall."},
    }
    return {
        "id": "f-1",
        "user_id": "u-1",
        "version": 0,
        "type": "rating",
        "data": {
            "rating": rating,
            "model_id": "m",
            "sibling_model_ids": ["n"],
            "reason": "",
            "comment": "",
            "tags": ["a"],
        },
        "meta": {"arena": arena, "message_id": "a2", "chat_id": "c"},
        "snapshot": {"chat": {"id": "c", "chat": {"history": {"messages": messages, "currentId": "a2"}}}},
        "created_at": 1735732800,
        **more,
    }


def test_a_thumb_is_a_rating_and_in_an_arena_a_choice(tmp_path: Path) -> None:
    rows = [open_webui_row(), open_webui_row("-1"), open_webui_row(1, arena=True), open_webui_row(-1, arena=True)]
    made = list(open_webui.read(written(tmp_path, "feedback.json", json.dumps(rows))))
    before = (("user", "Hello."), ("assistant", "Hi."), ("user", "How tall?"))
    assert [told(read) for read in made if isinstance(read, Record)] == [
        (before, "330 metres.", FeedbackKind.RATING, 1),
        (before, "330 metres.", FeedbackKind.RATING, -1),
        (before, "330 metres.", FeedbackKind.PREFERENCE, {"rejected": "Tall."}),
        (before, "Tall.", FeedbackKind.PREFERENCE, {"rejected": "330 metres."}),
    ]
    first = made[0]
    assert isinstance(first, Record)
    assert (first.contributor, first.comment, first.tags) == ("open-webui:u-1", None, ("a",))
    assert first.created_at is not None
    assert first.created_at.year == 2025


def test_an_open_webui_row_that_can_not_be_followed_is_refused(tmp_path: Path) -> None:
    circle = open_webui_row()
    circle["snapshot"]["chat"]["chat"]["history"]["messages"]["q1"]["parentId"] = "q2"
    elsewhere = open_webui_row(meta={"message_id": "z"})
    rows = [circle, elsewhere, open_webui_row(None), open_webui_row(snapshot=None), open_webui_row(meta={}), {}, None]
    made = list(open_webui.read(written(tmp_path, "feedback.json", json.dumps(rows))))
    assert list(reasons(made)) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("then", [-1, 1e11, 1e30, float("nan"), "yesterday", True])
def test_a_time_that_makes_no_sense_is_none(then: Any) -> None:
    assert only(open_webui.record(1, open_webui_row(created_at=then))).created_at is None


def test_a_chat_full_of_unclosed_thoughts_takes_no_time() -> None:
    row = open_webui_row()
    history = row["snapshot"]["chat"]["chat"]["history"]["messages"]
    history["a2"]["content"] = '<details type="reasoning">' * 100_000
    assert only(open_webui.record(1, row)).reply.startswith("<details")


# ── ours ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "report"}, "kind"),
        ({"kind": ["rating"]}, "kind"),
        ({"kind": "preference"}, "rejected"),
        ({"kind": "preference", "value": {"rejected": 5}}, "rejected"),
        ({"messages": "hi"}, "messages"),
        ({"reply": None}, "reply"),
        ({"tags": "x"}, "tags"),
        ({"tags": [5]}, "tag"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at"),
        ({"created_at": "0001-01-01T00:00:00-14:00"}, "1970"),
        ({"created_at": "1970-01-01T00:00:00+00:01"}, "1970"),
        ({"created_at": "9999-12-31T23:59:59+00:00"}, "future"),
        ({"created_at": (now() + timedelta(days=2)).isoformat()}, "future"),
        ({"training": "yes"}, "training"),
        ({"contributor": 5}, "contributor"),
        ({"model": "x"}, "model"),
    ],
)
def test_a_line_of_ours_that_is_out_of_form_says_which_field(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    row = {"kind": "rating", "messages": ASKED, "reply": "Tall.", "value": 1, **change}
    assert word in reasons(ours.read(written(tmp_path, "a.jsonl", jsonl(row))))[1]


def test_a_time_may_be_as_old_as_computers_and_as_new_as_a_clock_that_is_fast() -> None:
    row = {"kind": "rating", "messages": ASKED, "reply": "Tall.", "value": 1}
    for then in ("1970-01-01", (now() + timedelta(hours=23)).isoformat()):
        assert only(ours.record(1, row | {"created_at": then})).created_at == utc(then)


# ── which format ─────────────────────────────────────────────────────────────────────────────────────────────

SAMPLES = {
    "burnish": jsonl({"kind": "rating", "messages": ASKED, "reply": "Tall.", "value": 1}),
    "openai": jsonl({"messages": ASKED + RIGHT}),
    "hugging-face": jsonl({"prompt": "How tall?", "completion": "330 metres."}),
    "hh-rlhf": jsonl(TRL_ROWS[-1][0]),
    "pandalm": json.dumps([{"instruction": "Hi", "response1": "A", "response2": "B", "annotator1": 1}]),
    "open-webui": json.dumps([open_webui_row()]),
    "csv": "question,answer\nHow tall?,330 metres.\n",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_tells_its_format_even_behind_a_broken_line_and_packed(tmp_path: Path, name: str) -> None:
    assert set(SAMPLES) == {known.name for known in FORMATS}
    content = SAMPLES[name].encode()
    for path in (
        written(tmp_path, "a.data", content),
        written(tmp_path, "b", b"\xef\xbb\xbf" + content),
        written(tmp_path, "c.gz", gzip.compress(content)),
        *([written(tmp_path, "d", b"{broken\n" + content)] if content.startswith(b"{") else []),
    ):
        found = detect(path)
        assert found.name == name
        made = list(found.read(path))
        assert any(isinstance(read, Record) for read in made)
        assert len(made) - len(reasons(made)) == 1


def test_what_can_not_be_imported_says_what_can(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused = {
        "empty": "no rows",
        "nowhere": "no file",
        written(tmp_path, "nothing", "").name: "is empty",
        written(tmp_path, "prose", "Once upon a time\nthere was.\n").name: "open-webui",
        written(tmp_path, "wide", "question,answer\n".encode("utf-16")).name: "UTF-16",
        written(tmp_path, "image.csv", b"\x89PNG\r\n\x1a\n").name: "question",
    }
    for name, word in refused.items():
        with pytest.raises(InvalidInput, match=word):
            detect(tmp_path / name)
    with pytest.raises(InvalidInput, match="openai"):
        detect(tmp_path / "prose", "word")
    with pytest.raises(InvalidInput, match="hugging-face"):
        detect(tmp_path / "empty", "csv")


@pytest.mark.parametrize(
    ("row", "seen", "nearest"),
    [
        (
            {"instruction": "How tall?", "input": "", "output": "330 metres."},
            "its first row has `instruction`, `input`, `output`",
            "`instruction` is a question and `output` its right answer, name them `question` and `answer`",
        ),
        (
            {"Question": "How tall?", "Answer": "Tall."},
            "`Question`, `Answer`",
            "`Question` is a question and `Answer` its right",
        ),
        ({"prompt": "How tall?", "chosen": "Tall."}, "`prompt`, `chosen`", "hugging-face.*lacks `rejected`"),
        ({"kind": "rating", "reply": "Tall.", "value": 1}, "`kind`", "burnish.*lacks `messages`"),
        ({"messages": "How tall?"}, "`messages`", "nearest to openai: `--format openai`"),
        (
            {"x\n" * 99: 1, **dict.fromkeys("abcdefghijk", 2)},
            "`x x x .{34}…`, `a`, .* `i`, 2 more",
            "burnish .*pandalm",
        ),
        ({}, "its first row has nothing", "burnish .*pandalm"),
        (5, "its first row is no object", "burnish .*pandalm"),
    ],
)
def test_rows_of_no_known_format_are_told_with_what_fits_nearest(
    tmp_path: Path, row: Any, seen: str, nearest: str
) -> None:
    with pytest.raises(InvalidInput, match=seen) as refused:
        detect(written(tmp_path, "rows.jsonl", "{broken\n" + jsonl(row, row)))
    assert re.search(nearest, refused.value.message)


def test_a_text_of_no_known_format_is_told_with_its_first_line(tmp_path: Path) -> None:
    for content, word in (
        ("\n" + "Once upon a time " * 9 + "\nthere was.\n", "`Once upon a time .{23}…`.*burnish .*pandalm"),
        ("How tall?,330 metres.\n", "`How tall\\?,330 metres.`.*`--format csv`"),
        (b"\x89PNG\r\n\x1a\n", "isn't text"),
    ):
        with pytest.raises(InvalidInput, match=word):
            detect(written(tmp_path, "file", content))
    detect(written(tmp_path, "file", "How tall?,330 metres.\n"), "csv")


# ── the real files ───────────────────────────────────────────────────────────────────────────────────────────


def counted(name: str) -> tuple[str, Counter[str], list[Read]]:
    path = real_data_or_skip(name)
    found = detect(path)
    made = list(found.read(path))
    return found.name, Counter(type(read).__name__ for read in made), made


def test_the_real_hh_rlhf_file() -> None:
    name, counts, made = counted("hh_rlhf_harmless.jsonl")
    assert (name, counts) == ("hh-rlhf", {"Record": 1277, "BadLine": 3})
    assert set(reasons(made)) == {45, 690, 1082}


def test_the_real_gsm8k_file() -> None:
    name, counts, made = counted("gsm8k.jsonl")
    assert (name, counts) == ("hugging-face", {"Record": 417})
    assert isinstance(made[0], Record)
    assert made[0].kind == FeedbackKind.CORRECTION
    assert made[0].value["content"].endswith("#### 18")


def test_the_real_pandalm_file() -> None:
    name, counts, _ = counted("pandalm_pairs.json")
    assert (name, counts) == ("pandalm", {"Record": 1232, "Tie": 127, "BadLine": 27})
    assert counts.total() == 3 * 462
