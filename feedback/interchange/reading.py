"""Files row by row, in bounded memory: lines of JSON or one JSON array, plain or gzipped.

A line that can't be read is a BadLine and the next one is tried; an array is readable up to its first fault. What
follows an array's end, such as another file after `cat`, is read on. Nothing here knows what a row means.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from feedback.interchange.records import BadLine, Read, Unreadable

MAX_ROW_BYTES = 16 << 20
"""A longer line, or element of an array, is refused."""
Row = tuple[int, Any]
"""(its number from 1, what JSON made of it)"""
_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_BROKEN_GZIP = (EOFError, zlib.error, gzip.BadGzipFile)
_BETWEEN_ELEMENTS = re.compile(r"[\s,]*")
_BETWEEN_ARRAYS = re.compile(r"[\s\ufeff]*")
_LONGEST_WORD = 16
"""Characters: a JSON word that a chunk's end cuts off (`-Infinity`, `\\u00e9`) begins no further from it."""


def each_row(path: Path, understand: Callable[[int, Any], Iterable[Read]]) -> Iterator[Read]:
    """What `understand` makes of each row; where it raises Unreadable, a BadLine with its words."""
    for row in rows(path):
        if isinstance(row, BadLine):
            yield row
        else:
            yield from understood(*row, understand)


def understood(number: int, value: Any, understand: Callable[[int, Any], Iterable[Read]]) -> Iterator[Read]:
    try:
        yield from understand(number, value)
    except Unreadable as error:
        yield BadLine(number, str(error))


def rows(path: Path) -> Iterator[Row | BadLine]:
    """JSON values with their numbers: of lines, or of elements where the file begins with an array."""
    return _elements(path) if beginning(path).lstrip()[:1] == b"[" else _json_lines(path)


def beginning(path: Path) -> bytes:
    """The first bytes, without UTF-8's byte order mark; nothing if they can't be unpacked."""
    with opened(path) as file:
        try:
            return file.read(_CHUNK).removeprefix(_BOM)
        except _BROKEN_GZIP:
            return b""


def lines(path: Path, start: int = 0, number: int = 0) -> Iterator[tuple[int, bytes] | BadLine]:
    """Every line with its number and its line break; from byte `start` on, before which there were `number`."""
    with opened(path) as file:
        try:
            file.seek(start)
            while line := file.readline(MAX_ROW_BYTES):
                number += 1
                if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
                    while (rest := file.readline(_CHUNK)) and not rest.endswith(b"\n"):
                        pass
                    yield BadLine(number, f"it is longer than {MAX_ROW_BYTES >> 20} MiB")
                else:
                    yield number, line.removeprefix(_BOM) if number == 1 else line
        except _BROKEN_GZIP:
            yield BadLine(number + 1, "the compressed data breaks off here")


def count_lines(path: Path) -> int | None:
    """For a progress bar; None where counting would mean unpacking."""
    with path.open("rb") as file:
        if file.read(2) == _GZIP:
            return None
        file.seek(0)
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return cast(IO[bytes], gzip.open(path)) if zipped else path.open("rb")


def _json_lines(path: Path, start: int = 0, number: int = 0) -> Iterator[Row | BadLine]:
    for line in lines(path, start, number):
        if isinstance(line, BadLine):
            yield line
            continue
        number, data = line
        try:
            text = data.decode().strip()
            if text:
                yield number, _DECODER.decode(text)
        except UnicodeDecodeError as error:
            yield BadLine(number, f"it isn't UTF-8 (byte {error.start + 1} of the line)")
        except (ValueError, RecursionError) as error:
            yield BadLine(number, _not_json(error))


def _elements(path: Path) -> Iterator[Row | BadLine]:
    """The elements of arrays, decoded one after the other out of a window on the file.

    What follows the last array is read as lines, numbered as in the file, or after the elements where those are more.
    """
    number, at, ended, inside = 0, 0, False, False
    passed, breaks = 0, 0  # bytes and line breaks before the window
    with opened(path) as file:
        # bytes that aren't UTF-8 become lone surrogates, which the check of every record finds
        reader = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="\n")
        window = ""
        try:
            while True:
                between = (_BETWEEN_ELEMENTS if inside else _BETWEEN_ARRAYS).match(window, at)
                at = between.end() if between else at
                if window[at : at + 1] == ("]" if inside else "["):
                    inside, at = not inside, at + 1
                    continue
                fault: Exception | None = None
                if inside:
                    try:
                        value, end = _DECODER.raw_decode(window, at)
                        # a number may go on behind the window's end: 1 as 1.5, 2 as 2e+16
                        beyond = 2 if isinstance(value, int | float) else 0
                        if end + beyond < len(window) or ended:
                            number += 1
                            yield number, value
                            at = end
                            continue
                    except (ValueError, RecursionError) as error:
                        fault = error
                    too_long = len(window) - at > MAX_ROW_BYTES
                    if ended or too_long or (fault and not _more_may_help(fault, window)):
                        reason = f"it is longer than {MAX_ROW_BYTES >> 20} MiB" if too_long else _not_json(fault, at)
                        yield BadLine(number + 1, f"{reason}; the array can't be read from here on")
                        return
                elif at < len(window) or ended:
                    break
                passed, breaks = passed + _bytes_in(window[:at]), breaks + window.count("\n", 0, at)
                window = window[at:] + (more := reader.read(max(_CHUNK, len(window) - at)))
                at, ended = 0, not more
        except _BROKEN_GZIP:
            yield BadLine(number + 1, "the compressed data breaks off here")
            return
    breaks += window.count("\n", 0, at)
    yield from _json_lines(path, passed + _bytes_in(window[:at]), max(number, breaks))


def _bytes_in(text: str) -> int:
    return len(text.encode(errors="surrogateescape"))


def _more_may_help(fault: Exception, window: str) -> bool:
    """Whether the fault may be just the window's end."""
    if not isinstance(fault, json.JSONDecodeError):
        return False
    return fault.msg.startswith("Unterminated string") or fault.pos + _LONGEST_WORD > len(window)


def _not_json(fault: Exception | None, begin: int = 0) -> str:
    if isinstance(fault, json.JSONDecodeError):
        return f"it isn't JSON: {fault.msg[0].lower()}{fault.msg[1:]} at character {fault.pos - begin + 1}"
    if isinstance(fault, RecursionError):
        return "it isn't usable JSON: nested too deeply"
    return f"it isn't usable JSON: {fault or 'it breaks off'}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
