"""Sources: where texts come from, as a stream of `Rows` that never holds a whole file.

Comes in: a Python iterable, a path (`.txt .csv .tsv .jsonl .parquet`) or standard input. Goes out: `Rows`, a bounded
number of texts with the columns that travel along with them.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lamina.errors import SourceError

ROWS = 1024  # at most, in one `Rows`
CHARACTERS = 4_000_000  # likewise, except that one text is never split
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Rows:
    """Some consecutive texts of an input.

    texts    N strings.
    columns  the other columns, N rows; no columns where there are none.
    """

    texts: list[str]
    columns: pa.Table


@dataclass(frozen=True, slots=True)
class Source:
    """A file of texts, described: nothing is read before `rows` is called.

    path    a file, or `-` for standard input.
    format  txt, csv, tsv, jsonl or parquet; None: by the file's name (standard input: txt).
    text    the column that holds the text; None: `text`, or the only column there is.
    names   the columns' names where a csv or tsv file has no header.
    keep    which other columns travel along; None: all.
    """

    path: str
    format: str | None = None
    text: str | None = None
    names: tuple[str, ...] | None = None
    keep: tuple[str, ...] | None = None

    def rows(self) -> Iterator[Rows]:
        """Read the file, from its beginning. Raises SourceError, with the row, for what cannot be read."""
        kind = self.format or _format_of(self.path)
        if kind not in READERS:
            raise SourceError(f"format {kind!r} is not one of {', '.join(READERS)}")
        if self.names is not None and kind not in ("csv", "tsv"):
            raise SourceError(f"columns can be named for csv and tsv files without a header; {self.path} is {kind}")
        return READERS[kind](self)

    def count_characters(self) -> int:
        """The characters of all texts: reads the file once, and finds every row that cannot be read."""
        return sum(len(text) for rows in self.rows() for text in rows.texts)


def rows_of(texts: Iterable[str]) -> Iterator[Rows]:
    """Rows of a Python iterable of strings. Raises SourceError where an item is no string."""
    if isinstance(texts, str | bytes):
        raise SourceError("texts must be an iterable of strings, not one string: put it in a list")
    return _bounded(({"": _string(text, row, "the input")} for row, text in enumerate(texts)), "")


def _txt(source: Source) -> Iterator[Rows]:
    """A text a line; lines end at \\n or \\r\\n and nowhere else."""
    if source.text is not None:
        raise SourceError(f"{source.path} is plain text and has no column {source.text!r}: a line is a text")
    with _opened(source) as file:
        texts = (_decode(line.removesuffix(b"\n").removesuffix(b"\r"), row, source) for row, line in enumerate(file))
        yield from _bounded(({"": text} for text in texts), "")


def _csv(source: Source) -> Iterator[Rows]:
    return _delimited(source, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _tsv(source: Source) -> Iterator[Rows]:
    return _delimited(source, delimiter="\t", quoting=csv.QUOTE_NONE)  # a quote in a .tsv is a quote


def _delimited(source: Source, *, delimiter: str, quoting: Literal[0, 3]) -> Iterator[Rows]:
    """Every value is a string, as it is written: what looks like a number in row 1 may not be one in row 100,000."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the module's own bound, 131,072 characters, is below one text
    with _opened(source) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            names = list(source.names or next(reader, []))
            if len(set(names)) != len(names):
                raise SourceError(f"{source.path} has two columns of one name: {', '.join(names)}")
            text = _text_column(names, source)
            yield from _bounded(_records(reader, names, source), text, _travelling(names, text, source))
        except csv.Error as error:
            raise SourceError(f"{source.path}, line {reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise SourceError(f"{source.path}, near line {reader.line_num + 1}: {_no_utf8(error)}") from None


def _records(reader: Any, names: list[str], source: Source) -> Iterator[dict[str, str]]:
    for values in reader:
        if not values and len(names) > 1:
            continue  # a blank line
        if len(values) != len(names) and (values or len(names) != 1):
            raise SourceError(
                f"{source.path}, line {reader.line_num}: {len(values)} values for {len(names)} columns "
                f"({', '.join(names)})"
            )
        yield dict(zip(names, values or [""], strict=True))


def _jsonl(source: Source) -> Iterator[Rows]:
    """A JSON object a line. Lines end at \\n alone: a string may hold other line separators."""
    with _opened(source) as file:
        records = (_json_object(line, row, source) for row, line in enumerate(file) if line.strip())
        first = next(records, None)
        if first is None:
            return
        text = _text_column(list(first), source)

        def checked() -> Iterator[dict[str, Any]]:
            yield first
            yield from records

        travelling = _travelling(list(first), text, source)
        yield from _bounded(
            (
                {
                    text: _string(record.get(text), row, f"column {text!r} of {source.path}"),
                    **_pick(record, travelling),
                }
                for row, record in enumerate(checked())
            ),
            text,
            travelling,
        )


def _parquet(source: Source) -> Iterator[Rows]:
    if source.path == STDIN:
        raise SourceError("parquet cannot be read from standard input: give a file")
    with _opened(source) as file:
        try:
            parquet = pq.ParquetFile(file)
            text = _text_column(parquet.schema_arrow.names, source)
            travelling = _travelling(parquet.schema_arrow.names, text, source)
            row = 0
            for batch in parquet.iter_batches(ROWS, columns=[text, *travelling]):
                table = pa.Table.from_batches([batch])
                where = f"column {text!r} of {source.path}"
                texts = [_string(value, row + i, where) for i, value in enumerate(table.column(text).to_pylist())]
                row += len(texts)
                yield Rows(texts, table.select(travelling))
        except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
            raise SourceError(f"{source.path} cannot be read as Parquet: {error}") from None


READERS: dict[str, Callable[[Source], Iterator[Rows]]] = {
    "txt": _txt,
    "csv": _csv,
    "tsv": _tsv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
SUFFIXES = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


def _format_of(path: str) -> str:
    if path == STDIN:
        return "txt"
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SourceError(
            f"{path}: the name does not say what is in it; expected {', '.join(SUFFIXES)}, or give the format"
        )
    return SUFFIXES[suffix]


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if source.path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = Path(source.path).open("rb")  # noqa: SIM115 - closed below; only opening is ours to explain
    except OSError as error:
        raise SourceError(f"{source.path} cannot be read: {error.strerror}") from None
    with file:
        yield file


def _bounded(records: Iterator[dict[str, Any]], text: str, travelling: Sequence[str] = ()) -> Iterator[Rows]:
    """Group records into Rows of at most ROWS texts and about CHARACTERS characters. The types of the travelling
    columns are those of the first group."""
    schema: pa.Schema | None = None
    first_row = 0
    while group := _take(records, text):
        table = pa.table({name: _column(name, group, schema, first_row) for name in travelling})
        schema = schema or table.schema
        yield Rows([record[text] for record in group], table)
        first_row += len(group)


def _take(records: Iterator[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    group: list[dict[str, Any]] = []
    size = 0
    for record in islice(records, ROWS):
        group.append(record)
        size += len(record[text])
        if size >= CHARACTERS:
            break
    return group


def _column(name: str, group: list[dict[str, Any]], schema: pa.Schema | None, first_row: int) -> pa.Array:
    values = [record[name] for record in group]
    if any(isinstance(value, dict | list) for value in values):  # kept as JSON: shapes may differ from row to row
        values = [
            json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value for value in values
        ]
    expected = schema.field(name).type if schema else None
    try:
        array = pa.array(values, type=expected)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise SourceError(
            f"rows {first_row} to {first_row + len(group) - 1}: column {name!r} holds values of different kinds "
            f"({error}); give it one kind, or leave it behind by naming the columns to keep"
        ) from None
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _text_column(names: Sequence[str], source: Source) -> str:
    wanted = source.text or ("text" if "text" in names else names[0] if len(names) == 1 else None)
    if wanted is None:
        raise SourceError(f"{source.path} has the columns {', '.join(names) or '(none)'}: say which one holds the text")
    if wanted not in names:
        raise SourceError(f"{source.path} has no column {wanted!r}; it has {', '.join(names) or 'no columns'}")
    return wanted


def _travelling(names: Sequence[str], text: str, source: Source) -> list[str]:
    others = [name for name in names if name != text]
    if source.keep is None:
        return others
    missing = [name for name in source.keep if name not in names]
    if missing:
        raise SourceError(f"{source.path} has no column {missing[0]!r} to keep; it has {', '.join(names)}")
    return [name for name in others if name in source.keep]


def _json_object(line: bytes, row: int, source: Source) -> dict[str, Any]:
    try:
        found = json.loads(_decode(line, row, source).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{source.path}, line {row + 1} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise SourceError(f"{source.path}, line {row + 1}: expected an object, found {type(found).__name__}")
    return found


def _pick(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: record.get(name) for name in names}


def _string(value: object, row: int, where: str) -> str:
    if not isinstance(value, str):
        kind = "empty (null)" if value is None else f"a {type(value).__name__}"
        raise SourceError(f"row {row} of {where} is {kind}, not a string")
    return value


def _decode(line: bytes, row: int, source: Source) -> str:
    try:
        return line.decode("utf-8-sig" if row == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{source.path}, line {row + 1}: {_no_utf8(error)}") from None


def _no_utf8(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02X} is no UTF-8 ({error.reason})"
