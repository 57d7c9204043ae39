"""TRL's formats, as Hugging Face keeps them: which rows are taken, and what of a file is no data."""

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from interchange_rows import ASKED, RIGHT, TAUGHT, TRL_ROWS, jsonl, only, reasons, told, written
from pyarrow import ipc, parquet

from feedback.interchange import hugging_face
from feedback.interchange.formats import detect
from feedback.interchange.records import BadLine, Record


def all_kinds(folder: Path, table: pyarrow.Table) -> tuple[Path, Path, Path]:
    """The table as files in each columnar format."""
    paths = folder / "a.parquet", folder / "b.arrow", folder / "c.arrow"
    parquet.write_table(table, paths[0])
    for path, new in zip(paths[1:], (ipc.new_stream, ipc.new_file), strict=True):
        with new(path, table.schema) as file:
            file.write_table(table)
    return paths


@pytest.mark.parametrize(("row", "expected"), TRL_ROWS)
def test_trls_formats_from_every_kind_of_file(tmp_path: Path, row: dict[str, Any], expected: Any) -> None:
    rows = [row, dict.fromkeys(row)]
    table = pyarrow.Table.from_pylist([{**one, "extra": 1} for one in rows])
    for path in (*all_kinds(tmp_path, table), written(tmp_path, "d.jsonl", jsonl(*rows))):
        good, bad = hugging_face.read(path)
        assert isinstance(good, Record)
        assert (told(good), bad.line) == (expected, 2), path


def test_a_saved_data_set_is_read_with_all_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.DatasetDict(
        {
            split: datasets.Dataset.from_list(
                [{"prompt": f"{split} {number}?", "completion": "Yes."} for number in range(3)]
            )
            for split in ("train", "test")
        }
    )
    data.save_to_disk(str(tmp_path / "saved"))
    made = list(hugging_face.read(tmp_path / "saved"))
    assert sorted(read.messages[0][1] for read in made if isinstance(read, Record)) == sorted(
        f"{split} {number}?" for split in ("train", "test") for number in range(3)
    )
    assert detect(tmp_path / "saved").name == "hugging-face"


def test_a_bad_row_in_a_folder_is_told_by_its_file(tmp_path: Path) -> None:
    written(tmp_path, "one.jsonl", jsonl(TRL_ROWS[0][0]))
    written(tmp_path, "two.jsonl", jsonl(TRL_ROWS[0][0]) + "{\n")
    written(tmp_path, "three.parquet", b"PAR1 but no more")
    written(tmp_path, "four.parquet", b"")
    written(tmp_path, "dataset_info.json", "{}")
    made = list(hugging_face.read(tmp_path))
    assert sum(isinstance(read, Record) for read in made) == 2
    assert sorted(read.reason.partition(":")[0] for read in made if isinstance(read, BadLine)) == [
        "four.parquet",
        "three.parquet",
        "two.jsonl",
    ]


def test_a_row_of_a_table_that_is_no_text_costs_itself_alone(tmp_path: Path) -> None:
    answers = pyarrow.array([b"Yes.", b"\xff", b"Yes."] * 100).cast(pyarrow.binary())
    text = pyarrow.StringArray.from_buffers(300, *answers.buffers()[1:])
    table = pyarrow.table({"prompt": [f"{number}?" for number in range(300)], "completion": text})
    parquet.write_table(table, tmp_path / "a.parquet")
    why = reasons(hugging_face.read(tmp_path / "a.parquet"))
    assert list(why) == list(range(2, 300, 3))
    assert "UTF-8" in why[2]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pyarrow.timestamp("us"), 2**62),
        (pyarrow.time64("us"), 2**62),
        (pyarrow.duration("s"), 2**62),
        (pyarrow.date32(), 2**31 - 1),
    ],
)
def test_a_time_that_python_does_not_have_costs_its_own_row_alone(
    tmp_path: Path, kind: pyarrow.DataType, value: int
) -> None:
    labels = pyarrow.array([None] * 250 + [value] + [None] * 49, kind)
    prompts = [f"{number}?" for number in range(300)]
    table = pyarrow.table({"prompt": prompts, "completion": ["Yes."] * 300, "label": labels})
    for path in all_kinds(tmp_path, table):
        made = list(hugging_face.read(path))
        assert reasons(made) == {251: "it has a time or a date that is out of range"}
        assert len(made) == 300


def test_a_file_that_has_a_column_twice_is_refused(tmp_path: Path) -> None:
    texts = [pyarrow.array([text]) for text in ("How tall?", "330 metres.", "Tall.")]
    table = pyarrow.Table.from_arrays(texts, names=["prompt", "completion", "completion"])
    for path in all_kinds(tmp_path, table):
        assert "has the column `completion` twice" in reasons(hugging_face.read(path))[1]
    other = pyarrow.Table.from_arrays([*texts[:2], texts[0], texts[0]], names=["prompt", "completion", "id", "id"])
    for path in all_kinds(tmp_path, other):
        assert told(only(hugging_face.read(path))) == TAUGHT


def test_hidden_files_and_those_about_the_data_are_no_data(tmp_path: Path) -> None:
    for name in (
        ".cache/huggingface/a.jsonl",
        "data/.git/b.jsonl",
        "dataset_info.json",
        "data/.c.jsonl",
        "data/d.jsonl",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(tmp_path, name, jsonl(TRL_ROWS[0][0]))
    assert len(list(hugging_face.read(tmp_path))) == 1


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"text": "Once upon a time."},
        {"prompt": "How tall?"},
        {"chosen": "A.", "rejected": "B."},
        {"chosen": ASKED + RIGHT, "rejected": RIGHT},
        {"prompt": ASKED, "completion": ASKED},
        {"prompt": ASKED, "completion": RIGHT + RIGHT},
        {"prompt": "How tall?", "completion": "330.", "label": "good"},
        {"prompt": "", "completion": "330."},
        {"prompt": 5, "completion": "330."},
        {"question": "How tall?", "answer": 330},
        {"question": ASKED, "answer": "330."},
        {"question": "How tall?"},
    ],
)
def test_other_rows_are_refused(tmp_path: Path, row: dict[str, Any]) -> None:
    assert list(reasons(hugging_face.read(written(tmp_path, "a.jsonl", jsonl(row))))) == [1]
