"""Rows known by salted hashes: every change shows, and a row that is gone can be told from one that was changed."""

import hashlib
import json
from pathlib import Path

import pytest

from feedback.row_hashes import RowsChanged, Salts, SideReader, read_list, require_list, write_rows
from feedback.run_folder import ROWS, Row, Turn

TEXTS = ["zwölf\u2028\n", "plain", "二", "plain too"]


def row(number: int, text: str) -> Row:
    prompt, said = Turn(role="user", content=text), Turn(role="assistant", content=f"Yes {number}.")
    return Row(
        id=f"sft-{number}", method="sft", source="correction", prompt=[prompt], completion=[said], cluster="", topic=""
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path, {"train": [row(number, text) for number, text in enumerate(TEXTS)]})
    return tmp_path


def test_the_list_names_every_row_by_the_hash_of_its_line(folder: Path) -> None:
    lines = (folder / "train.jsonl").read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["prompt"][0]["content"] for line in lines] == TEXTS
    listed = {made.id: made.sha256 for made in read_list(folder)}
    assert listed == {json.loads(line)["id"]: hashlib.sha256(line).hexdigest() for line in lines}
    text = (folder / ROWS).read_text().splitlines()
    assert text == sorted(text)
    require_list(folder, hashlib.sha256((folder / ROWS).read_bytes()).hexdigest())
    assert {path.name for path in folder.iterdir()} == {"train.jsonl", "dev.jsonl", "gate.jsonl", ROWS}


def test_a_row_that_is_gone_is_missing_and_one_that_was_changed_is_told(folder: Path) -> None:
    path = folder / "train.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    reader = SideReader(folder, "train")
    assert list(reader.lines()) == lines[1:]
    assert reader.missing == {hashlib.sha256(lines[0]).digest()}
    for changed in ([*lines, b"{}\n"], [lines[0].replace(b"Yes 0", b"No 0"), *lines[1:]], [lines[0], *lines]):
        path.write_bytes(b"".join(changed))
        with pytest.raises(RowsChanged, match=r"train.jsonl was changed: line \d isn't a row"):
            list(SideReader(folder, "train").lines())


def test_a_changed_list_is_told(folder: Path) -> None:
    before = hashlib.sha256((folder / ROWS).read_bytes()).hexdigest()
    (folder / ROWS).write_bytes(b"".join((folder / ROWS).read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(RowsChanged, match="isn't the dataset's"):
        require_list(folder, before)


def test_the_same_row_has_another_hash_under_another_salt(tmp_path: Path) -> None:
    salts = Salts([(1, "0a" * 16), (2, "0b" * 16), (5, "0c" * 16)])
    assert salts.of([1, 5]) == salts.of([5, 1]) != salts.of([2, 5])
    made = [row(1, "plain").model_copy(update={"salt": salts.of(ids)}) for ids in ([1], [2], [1])]
    for name, one in zip("abc", made, strict=True):
        write_rows(tmp_path / name, {"train": [one]})
    hashes = [next(read_list(tmp_path / name)).sha256 for name in "abc"]
    assert hashes[0] == hashes[2] != hashes[1]
