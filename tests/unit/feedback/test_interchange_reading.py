"""Files row by row: what is broken costs itself alone, and nothing grows with the file."""

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feedback.interchange import reading
from feedback.interchange.reading import beginning, count_lines, rows
from feedback.interchange.records import BadLine

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows"


def read(path: Path, content: str | bytes) -> tuple[list[tuple[int, Any]], dict[int, str]]:
    """The good rows, and the bad lines' reasons."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = list(rows(path))
    return [one for one in found if not isinstance(one, BadLine)], {
        one.line: one.reason for one in found if isinstance(one, BadLine)
    }


def test_a_broken_line_is_told_with_its_number_and_the_others_are_read(file: Path) -> None:
    deep = b"[" * 100_000
    lines = [
        *[b'\xef\xbb\xbf{"a": 1}', b"", b"{", b'{"a": "\xff"}', b'{"a": NaN}', b'{"a": "\0"}', b'{"a": ' + deep],
        *[b'{"a": ' + b"9" * 5000 + b"}", b"5 6", b'"\xe2\x80\xa8"', b"\r", b'{"a": 2}'],
    ]
    good, bad = read(file, b"\n".join(lines))
    assert good == [(1, {"a": 1}), (10, "\u2028"), (12, {"a": 2})]
    assert list(bad) == [3, 4, 5, 6, 7, 8, 9]
    assert "byte 8 of the line" in bad[4]
    assert "NaN" in bad[5]
    assert "nested" in bad[7]


def test_a_line_that_is_too_long_is_passed_over(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(reading, "_CHUNK", 64)
    long = json.dumps("x" * 5000)
    good, bad = read(file, f"1\n{long}\n2\n{json.dumps('y' * 900)}\n{long}")
    assert [number for number, _ in good] == [1, 3, 4]
    assert list(bad) == [2, 5]
    good, bad = read(file, f"[1, {json.dumps('y' * 900)}, {long}, 2]")
    assert [number for number, _ in good] == [1, 2]
    assert "longer" in bad[3]


@example([1.0000000000000002e16], 23, 2, True)
@given(st.lists(JSON, max_size=12), st.integers(8, 200), st.sampled_from([None, 2]), st.booleans())
def test_an_arrays_elements_are_those_that_json_finds_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any], chunk: int, indent: int | None, plain: bool
) -> None:
    path = tmp_path_factory.mktemp("array") / "rows.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK", chunk)
        good, bad = read(path, json.dumps(values, indent=indent, ensure_ascii=plain).encode(errors="surrogatepass"))
    if plain:
        assert (good, bad) == (list(enumerate(values, 1)), {})
    else:  # lone surrogates can't be UTF-8: they are read as something that no check lets through
        assert ([number for number, _ in good], bad) == (list(range(1, len(values) + 1)), {})


@pytest.mark.parametrize(
    ("content", "good", "word"),
    [
        ("[1, 2", 1, "breaks off|isn't JSON"),
        ("[1, 2,", 2, "isn't JSON"),
        ('[1, {"a": 2}, {"a" 3}, 4]', 2, "isn't JSON"),
        ('[1, {"a": "never closed, 4]', 1, "isn't JSON"),
        ("[" * 100_000, 0, "nested"),
        ("[", 0, "isn't JSON"),
    ],
)
def test_an_array_is_read_up_to_its_first_fault(file: Path, content: str, good: int, word: str) -> None:
    found, bad = read(file, content)
    assert len(found) in (good, good + 1)
    assert list(bad) == [len(found) + 1]
    assert any(part in bad[len(found) + 1] for part in word.split("|"))


def test_an_array_that_is_empty_or_ends_with_a_comma(file: Path) -> None:
    assert read(file, " [ ] ") == ([], {})
    assert read(file, "[1,]") == ([(1, 1)], {})


@given(
    st.lists(st.lists(JSON, max_size=4), min_size=1, max_size=5),
    st.integers(8, 200),
    st.sampled_from(["", "\n", " \ufeff"]),
)
def test_arrays_one_after_the_other_are_read_as_one(
    tmp_path_factory: pytest.TempPathFactory, arrays: list[list[Any]], chunk: int, between: str
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "rows.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK", chunk)
        good, bad = read(path, "".join(json.dumps(array) + between for array in arrays))
    assert (good, bad) == (list(enumerate([one for array in arrays for one in array], 1)), {})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("chunk", [8, 1 << 16])
@pytest.mark.parametrize(
    ("content", "good", "bad"),
    [
        ('[]\n{"a": 2}\n\n{\n["b"]\n', [(2, {"a": 2}), (5, ["b"])], [4]),
        ('\ufeff["a header"]\r\n{"é": 2}\r\n', [(1, "a header"), (2, {"é": 2})], []),
        ('[1, 2, 3]\n[4]\n{"a": 5}\n6', [(1, 1), (2, 2), (3, 3), (4, 4), (5, {"a": 5}), (6, 6)], []),
        ('[\n1\n]\n{"a": 2}\n', [(1, 1), (4, {"a": 2})], []),
        ('["é"] {"a": 2}\nno\n', [(1, "é"), (2, {"a": 2})], [3]),
        ("[1]]\n2", [(1, 1), (3, 2)], [2]),
        ("[1],", [(1, 1)], [2]),
        ("[1]\n[2, oh]\n3", [(1, 1), (2, 2)], [3]),
        ("[1]\n \n", [(1, 1)], []),
    ],
)
def test_what_follows_an_array_is_read_on_and_no_row_is_lost_untold(
    file: Path, content: str, good: list[tuple[int, Any]], bad: list[int], chunk: int, packed: bool
) -> None:
    data = content.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_CHUNK", chunk)
        found, reasons = read(file, gzip.compress(data) if packed else data)
    assert (found, list(reasons)) == (good, bad)


def test_packed_files_are_read_and_tell_where_they_break_off(file: Path) -> None:
    packed = gzip.compress(b'{"a": 1}\n{"a": 2}\n' * 2000)
    assert len(read(file, packed)[0]) == 4000
    good, bad = read(file, packed[:-20])
    assert len(good) + 1 == next(iter(bad))
    good, bad = read(file, packed[:2] + b"no more")
    assert (good, list(bad)) == ([], [1])
    assert beginning(file) == b""
    good, bad = read(file, gzip.compress(json.dumps(list(range(20_000))).encode())[:-20])
    assert list(bad) == [len(good) + 1]
    assert count_lines(file) is None


def test_a_large_file_takes_little_memory(file: Path) -> None:
    def rows_of(path: Path) -> Iterator[Any]:
        return (row for row in rows(path))

    row = json.dumps({"text": "x" * 500})
    for content in ((row + "\n") * 20_000, f"[{', '.join([row] * 20_000)}]"):
        file.write_text(content)
        tracemalloc.start()
        assert sum(1 for _ in rows_of(file)) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000
