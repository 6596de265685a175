"""Local data files: JSON lines or an array, CSV or TSV, Parquet, plain or gzipped. Every error names file and line."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from morlaif_core import UserError

# A key of a message or of a completion: text may begin with brackets too.
_LIST = re.compile(r"""\s*\[?\s*\{\s*["'](role|content|from|value|response|annotations)["']\s*:""")
LONGEST_CELL = 1_000_000
"""Characters of a CSV cell; Python's own limit of 131,072 is less than a long conversation."""


class Row(NamedTuple):
    """One record and where it stands, as an error message writes it: ``data.jsonl:17``."""

    place: str
    values: Mapping[str, object]
    problem: str = ""
    """Why it cannot be read where the rows after it can."""


def read(path: Path) -> Iterator[Row]:
    """Yield the rows of a file, one that is malformed with its `problem`. Raises UserError for a file that cannot be read
    on, or has no row."""
    reader = _READERS[kind_of(path)]
    empty = True
    with _told(path):
        for row in reader(path):
            empty = False
            yield row
    if empty:
        raise UserError(f"{path}: no records in this file; each is one row with a prompt or a pair of responses")


def kind_of(path: Path) -> str:
    """Return the suffix that says how a file is read, ``.gz`` aside. Raises UserError for an unknown one."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in _READERS:
        raise UserError(f"{path}: unknown kind of data file; known are {', '.join(SUFFIXES)}, also with .gz")
    return suffixes[-1]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what reading can run into into a UserError that names the file."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _read_json(path: Path) -> Iterator[Row]:
    """Read one JSON object a line, blank lines passed over; or a file that is one JSON array of objects."""
    begun = False
    with _open(path) as file:
        for number, raw in enumerate(file, start=1):
            place = f"{path}:{number}"
            line = _text(raw, place).strip()
            if line.startswith("[") and not begun:
                yield from _array(_text(raw + file.read(), str(path)), path)
                return
            if line == "{" and not begun:
                raise UserError(
                    f"{path}: one JSON object over several lines; write each record on a line, or one array"
                )
            if line:
                begun = True
                yield _row(place, partial(_object, line, place))


def _array(text: str, path: Path) -> Iterator[Row]:
    for number, value in enumerate(cast("list[object]", _json(text, str(path))), start=1):
        place = f"{path}, item {number}"
        whole = isinstance(value, dict)
        problem = "" if whole else f"{place}: a JSON {type(value).__name__}, where an object is needed"
        yield Row(place, value if isinstance(value, dict) else {}, problem)


def _text(raw: bytes, place: str) -> str:
    try:
        # -sig: a byte order mark, as some editors write it, is no part of the first line.
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place}: not UTF-8 ({error.reason} at byte {error.start + 1}); save the file as UTF-8"
        ) from error


def _json(text: str, place: str) -> object:
    try:
        return cast(object, json.loads(text))
    except (ValueError, RecursionError) as error:  # ValueError also for a number of too many digits
        raise UserError(f"{place}: not JSON ({error}); each line is one JSON object, or the file one array") from error


def _object(line: str, place: str) -> Mapping[str, object]:
    value = _json(line, place)
    if not isinstance(value, dict):
        raise UserError(
            f"{place}: a JSON {type(value).__name__}, where an object is needed; each line is one JSON object"
        )
    return value


def _read_csv(path: Path) -> Iterator[Row]:
    """Read a CSV file whose first line names the columns. A row that spans lines is told by its last line."""
    csv.field_size_limit(LONGEST_CELL)
    with _open(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
        # strict, or the parser would take a broken quote for text and run rows together.
        reader = csv.DictReader(file, strict=True, delimiter=_delimiter(path))
        try:
            for values in reader:
                place = f"{path}:{reader.line_num}"
                yield _row(place, partial(_cells, values, place))
        except csv.Error as error:
            raise UserError(f"{path}:{reader.reader.line_num}: not CSV ({error})") from error
        except UnicodeDecodeError as error:
            # The decoder reads ahead of the parser in blocks, so the line it failed on is only bounded from below.
            after = f"{path}: not UTF-8 somewhere after line {reader.reader.line_num} ({error.reason})"
            raise UserError(f"{after}; save the file as UTF-8") from error


def _row(place: str, values: Callable[[], Mapping[str, object]]) -> Row:
    try:
        return Row(place, values())
    except UserError as error:
        return Row(place, {}, str(error))


def _delimiter(path: Path) -> str:
    """Return what parts the columns' names: the most frequent of comma, semicolon and tab there; ``.tsv``: the tab."""
    if kind_of(path) == ".tsv":
        return "\t"
    with _open(path) as file:
        head = file.readline()
    return max(",;\t", key=lambda sign: head.count(sign.encode()))


def _cells(values: Mapping[str, str], place: str) -> Mapping[str, object]:
    # The reader puts cells beyond the columns under None, and None into columns beyond the cells.
    if None in values or None in values.values():
        columns = sum(key is not None for key in values)
        raise UserError(f"{place}: not {columns} cells as in the first line; quote cells that hold the separator")
    return {key: _cell(value, f"{place}: '{key}'") for key, value in values.items()}


def _cell(text: str, place: str) -> object:
    """Read a cell; a message, or a list of messages or completions, is that, anything else text. Raises UserError."""
    if text.lstrip().startswith("[{"):
        try:
            return cast(object, json.loads(text))
        except (ValueError, RecursionError):
            pass
    if not _LIST.match(text):
        return text
    try:
        # As pandas writes a column of lists.
        return cast(object, ast.literal_eval(text.strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError(
            f"{place} begins like a list of messages and is neither JSON nor Python ({text.strip()[:60]}…); write the cell "
            "with json.dumps, or the file as .jsonl or .parquet"
        ) from error


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with _open(path) as file, pq.ParquetFile(file) as table:
            for batch in table.iter_batches(1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}, row {number}", values)
    except pa.ArrowException as error:
        raise UserError(f"{path}: not a readable Parquet file after row {number} ({error})") from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)
