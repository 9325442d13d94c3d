"""Sources: where texts come from, as a stream of `Rows` that never holds a whole file.

Comes in: a Python iterable, a path (`.txt .csv .tsv .jsonl .parquet`) or standard input. Goes out: `Rows`, a bounded
number of texts with the columns that travel along with them.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lamina.errors import SourceError, SpecError
from lamina.text.text import Text, as_text

ROWS = 1024  # at most, in one `Rows`
CHARACTERS = 4_000_000  # likewise, except that one text is never split
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Rows:
    """Some consecutive texts of an input.

    texts    N strings, or `Text` where more is known than the string.
    columns  the other columns, N rows; no columns where there are none.
    """

    texts: list[str | Text]
    columns: pa.Table


@dataclass(frozen=True, slots=True)
class Source:
    """A file of texts, described: nothing is read before `rows` is called.

    path     a file, or `-` for standard input.
    format   txt, csv, tsv, jsonl or parquet; None: by the file's name (standard input: txt).
    text     the column that holds the text; None: `text`, or the only column there is.
    pair     the column that holds a second text, read together with the first.
    words    the column that holds ready-made words, instead of `text`: a list of strings (in csv and tsv, as JSON).
    spans    the column that holds spans of the text for unit `span`: a list of [start, end] in characters.
    columns  the columns' names where a csv or tsv file has no header.
    keep     which other columns travel along; None: all.
    """

    path: str
    format: str | None = None
    text: str | None = None
    pair: str | None = None
    words: str | None = None
    spans: str | None = None
    columns: tuple[str, ...] | None = None
    keep: tuple[str, ...] | None = None

    def rows(self) -> Iterator[Rows]:
        """Read the file, from its beginning. Raises SourceError, with the row, for what cannot be read."""
        kind = self.format or _format_of(self.path)
        if kind not in READERS:
            raise SpecError(f"format {kind!r} is not one of {', '.join(READERS)}")
        if self.words is not None and self.text is not None:
            raise SourceError(f"give the column of the text ({self.text!r}) or of its words ({self.words!r}), not both")
        if self.columns is not None and kind not in ("csv", "tsv"):
            raise SourceError(f"columns can be named for csv and tsv files without a header; {self.path} is {kind}")
        return READERS[kind](self)

    @property
    def can_be_read_twice(self) -> bool:
        """Whether it is no pipe: what comes through one comes once."""
        path = Path(self.path)
        return self.path != STDIN and (path.is_file() or not path.exists())

    def count_characters(self) -> int:
        """The characters of all texts: reads the file once, and finds every row that cannot be read."""
        return sum(len(as_text(text).text) for rows in self.rows() for text in rows.texts)


def rows_of(texts: Iterable[str | Text]) -> Iterator[Rows]:
    """Rows of a Python iterable of strings and Texts. Raises SourceError where an item is neither."""
    if isinstance(texts, str | bytes | Text):
        raise SourceError("texts must be an iterable of strings, not one string: put it in a list")
    checked = (text if isinstance(text, Text) else _string(text, row, "the input") for row, text in enumerate(texts))
    return _bounded((text, {}) for text in checked)


def _txt(source: Source) -> Iterator[Rows]:
    """A text a line; lines end at \\n or \\r\\n and nowhere else."""
    for name in (source.text, source.pair, source.words, source.spans, *(source.keep or ())):
        if name is not None:
            raise SourceError(f"{source.path} is plain text and has no column {name!r}: a line is a text")
    with _opened(source) as file:
        texts = (_decode(line.removesuffix(b"\n").removesuffix(b"\r"), row, source) for row, line in enumerate(file))
        yield from _bounded((text, {}) for text in texts)


def _csv(source: Source) -> Iterator[Rows]:
    return _delimited(source, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _tsv(source: Source) -> Iterator[Rows]:
    return _delimited(source, delimiter="\t", quoting=csv.QUOTE_NONE)  # a quote in a .tsv is a quote


def _delimited(source: Source, *, delimiter: str, quoting: Literal[0, 3]) -> Iterator[Rows]:
    """Every value is a string, as it is written: what looks like a number in row 1 may not be one in row 100,000."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the module's own bound, 131,072 characters, is below one text
    with _opened(source) as file:
        lines = (_decode(line, row, source) for row, line in enumerate(file))
        reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
        try:
            names = list(source.columns or next(reader, []))
            if len(set(names)) != len(names):
                raise SourceError(f"{source.path} has two columns of one name: {', '.join(names)}")
            used = _used_columns(names, source)
            records = enumerate(_records(reader, names, source))
            texts = ((_text(record, used, row, source), record) for row, record in records)
            yield from _bounded(texts, _travelling(names, used, source))
        except csv.Error as error:
            raise SourceError(f"{source.path}, line {reader.line_num}: {error}") from None


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
        first = list(islice(records, ROWS))  # which columns there are is learnt from these
        if not first:
            return
        names = list(dict.fromkeys(name for record in first for name in record))
        used = _used_columns(names, source)
        checked = (_known(record, names, row, source) for row, record in enumerate(chain(first, records)))
        texts = ((_text(record, used, row, source), record) for row, record in enumerate(checked))
        yield from _bounded(texts, _travelling(names, used, source))


def _parquet(source: Source) -> Iterator[Rows]:
    if source.path == STDIN:
        raise SourceError("parquet cannot be read from standard input: give a file")
    with _opened(source) as file:
        try:
            parquet = pq.ParquetFile(file)
            used = _used_columns(parquet.schema_arrow.names, source)
            travelling = _travelling(parquet.schema_arrow.names, used, source)
            row = 0
            for batch in parquet.iter_batches(ROWS, columns=[*dict.fromkeys(used.values()), *travelling]):
                table = pa.Table.from_batches([batch])
                records = table.select(list(dict.fromkeys(used.values()))).to_pylist()
                yield Rows(
                    [_text(record, used, row + i, source) for i, record in enumerate(records)], table.select(travelling)
                )
                row += len(records)
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


def _bounded(texts: Iterable[tuple[str | Text, Mapping[str, Any]]], travelling: Sequence[str] = ()) -> Iterator[Rows]:
    """Group texts and their records into Rows of at most ROWS texts and about CHARACTERS characters. The types of the
    travelling columns are those of the first group."""
    items = iter(texts)
    schema: pa.Schema | None = None
    first_row = 0
    while group := _take(items):
        records = [record for _, record in group]
        table = pa.table({name: _column(name, records, schema, first_row) for name in travelling})
        schema = schema or table.schema
        yield Rows([text for text, _ in group], table)
        first_row += len(group)


def _take(items: Iterator[tuple[str | Text, Mapping[str, Any]]]) -> list[tuple[str | Text, Mapping[str, Any]]]:
    group = []
    size = 0
    for item in islice(items, ROWS):
        group.append(item)
        size += len(as_text(item[0]).text)
        if size >= CHARACTERS:
            break
    return group


def _column(name: str, group: list[Mapping[str, Any]], schema: pa.Schema | None, first_row: int) -> pa.Array:
    values = [record.get(name) for record in group]
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


def _used_columns(names: Sequence[str], source: Source) -> dict[str, str]:
    """Which column holds what: `text` or `words`, and where asked for `pair` and `spans`."""
    used = {what: name for what in ("words", "pair", "spans") if (name := getattr(source, what)) is not None}
    if "words" not in used:
        guessed = "text" if "text" in names else names[0] if len(names) == 1 else None
        if (wanted := source.text or guessed) is None:
            raise SourceError(
                f"{source.path} has the columns {', '.join(names) or '(none)'}: say which one holds the text"
            )
        used["text"] = wanted
    for name in used.values():
        if name not in names:
            raise SourceError(f"{source.path} has no column {name!r}; it has {', '.join(names) or 'no columns'}")
    return used


def _travelling(names: Sequence[str], used: Mapping[str, str], source: Source) -> list[str]:
    kept = names if source.keep is None else source.keep
    others = [name for name in names if name in kept and name not in used.values()]
    for name in others:
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise SourceError(f"{source.path} has a column named {name!r}, which is no Unicode text")
    if source.keep is None:
        return others
    missing = [name for name in source.keep if name not in names]
    if missing:
        raise SourceError(f"{source.path} has no column {missing[0]!r} to keep; it has {', '.join(names)}")
    return others


def _text(record: Mapping[str, Any], used: Mapping[str, str], row: int, source: Source) -> str | Text:
    """The text of a record, with what else is known about it."""
    where = {what: f"column {name!r} of {source.path}" for what, name in used.items()}
    pair = _string(record.get(used["pair"]), row, where["pair"]) if "pair" in used else None
    if "words" in used:
        words = _list(record.get(used["words"]), row, where["words"])
        return Text.of_words([_string(word, row, where["words"]) for word in words], pair=pair)
    text = _string(record.get(used["text"]), row, where["text"])
    if "spans" in used:
        spans = _list(record.get(used["spans"]), row, where["spans"])
        try:
            return Text(text, pair=pair, spans=tuple((int(start), int(end)) for start, end in spans))
        except (TypeError, ValueError) as error:
            raise SourceError(f"row {row} of {where['spans']} holds no spans of its text: {error}") from None
    return text if pair is None else Text(text, pair=pair)


def _list(value: object, row: int, where: str) -> list[Any]:
    """A list, or its JSON."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise SourceError(f"row {row} of {where} is {str(value)[:40]!r}, not a list")
    return found


def _json_object(line: bytes, row: int, source: Source) -> dict[str, Any]:
    try:
        found = json.loads(_decode(line, row, source).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{source.path}, line {row + 1} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise SourceError(f"{source.path}, line {row + 1}: expected an object, found {type(found).__name__}")
    return found


def _known(record: dict[str, Any], names: Sequence[str], row: int, source: Source) -> dict[str, Any]:
    """The record, if it brings no column that the first rows lack. Where columns to keep are named, none is missed."""
    new = [name for name in record if name not in names] if source.keep is None else []
    if new:
        raise SourceError(
            f"row {row} of {source.path} has a column {new[0]!r}, which none of the first {ROWS:,} rows has: "
            "name the columns to keep"
        )
    return record


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
