"""Sources: where texts come from, as a stream of `Rows` that never holds a whole file.

Comes in: a Python iterable, a path (`.txt .csv .tsv .jsonl .parquet .conll .conllu`) or standard input. Goes out:
`Rows`, a bounded number of texts with the columns that travel along with them. What is wrong with one row costs that
row: `on_error` says whether it stops the reading or is marked (`Unreadable`) and the rest goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, get_args

import pyarrow as pa

from lamina.errors import SourceError, SpecError
from lamina.text.columns import MisfitError, column_array, string, text_of, travelling_columns, used_columns
from lamina.text.conll import WORDS
from lamina.text.lines import STDIN, Errors, Lines, opened
from lamina.text.records import READERS, Record
from lamina.text.text import OnError, Text, Unreadable, as_text

ROWS = 1024  # at most, in one `Rows`
CHARACTERS = 4_000_000  # likewise, of all its columns and about, except that one text is never split

Item = str | Text | Unreadable
FORMATS = (*READERS, "parquet")
SUFFIXES = {f".{format}": format for format in FORMATS} | {".ndjson": "jsonl"}


@dataclass(frozen=True, slots=True)
class Rows:
    """Some consecutive texts of an input.

    texts    N strings; `Text` where more is known than the string, `Unreadable` where a row has none.
    columns  the other columns, N rows; no columns where there are none.
    """

    texts: list[Item]
    columns: pa.Table


@dataclass(frozen=True, slots=True)
class Source:
    """A file of texts, described: nothing is read before `rows` is called.

    path     a file, or `-` for standard input.
    format   txt, csv, tsv, jsonl, parquet, conll or conllu; None: by the file's name (standard input: txt).
    text     the column that holds the text; None: `text`, or the only column there is.
    pair     the column that holds a second text, read together with the first.
    words    the column that holds ready-made words, instead of `text`: a list of strings (in csv and tsv, as JSON).
    spans    the column that holds spans of the text for unit `span`: a list of [start, end] in characters.
    columns  the columns' names where a csv or tsv file has no header; of conll and conllu see `lamina.text.conll`; of
             txt a word of each line for each of them, the last one taking the rest (`label,text`).
    keep     which other columns travel along; None: all.
    errors   bytes that are no UTF-8 are an error of their row (`strict`) or become U+FFFD (`replace`), as in `open`.
    longest  the most characters of a text; a longer one is an error of its row. None: as many as a text can have.
    """

    path: str
    format: str | None = None
    text: str | None = None
    pair: str | None = None
    words: str | None = None
    spans: str | None = None
    columns: tuple[str, ...] | None = None
    keep: tuple[str, ...] | None = None
    errors: Errors = "strict"
    longest: int | None = None

    def rows(self, *, on_error: OnError = "stop") -> Iterator[Rows]:
        """Read the file, from its beginning. Raises SourceError for what cannot be read, for a row only with `stop`."""
        kind = self.format or _format_of(self.path)
        if kind not in FORMATS:
            raise SpecError(f"format {kind!r} is not one of {', '.join(FORMATS)}")
        if self.errors not in get_args(Errors):
            raise SpecError(f"errors must be one of {', '.join(get_args(Errors))}, not {self.errors!r}")
        if self.words is not None and self.text is not None:
            raise SourceError(f"give the column of the text ({self.text!r}) or of its words ({self.words!r}), not both")
        if self.columns is not None and kind not in ("txt", "csv", "tsv", "conll", "conllu"):
            raise SourceError(
                "columns can be named for txt, conll, conllu, csv and tsv files without a header; "
                f"{self.path} is {kind}"
            )
        groups = _table_rows(self) if kind == "parquet" else _record_rows(self, kind)
        if self.longest is not None:
            if self.longest < 1:
                raise SpecError(f"longest must be at least 1 character, not {self.longest}")
            groups = _bounded(groups, self.longest)
        return _kept(groups, on_error, f"{self.name}, ")

    @property
    def name(self) -> str:
        """What errors call it."""
        return "standard input" if self.path == STDIN else self.path

    @property
    def can_be_read_twice(self) -> bool:
        """Whether it is no pipe: what comes through one comes once."""
        path = Path(self.path)
        try:
            return self.path != STDIN and (path.is_file() or not path.exists())
        except OSError:
            return True  # who reads it will say why it cannot be read

    def count_characters(self, *, on_error: OnError = "stop") -> int:
        """The characters of all texts: reads the file once, and finds every row that cannot be read."""
        return sum(len(as_text(text).text) for rows in self.rows(on_error=on_error) for text in rows.texts)


def rows_of(texts: Iterable[str | Text], *, on_error: OnError = "stop") -> Iterator[Rows]:
    """Rows of a Python iterable of strings and Texts. Raises SourceError where an item is neither, with `stop`."""
    if isinstance(texts, str | bytes | Text):
        raise SourceError("texts must be an iterable of strings, not one string: put it in a list")
    return _kept(_grouped((_item(text, row), {}, 0) for row, text in enumerate(texts)), on_error, "")


def _kept(groups: Iterator[Rows], on_error: OnError, where: str) -> Iterator[Rows]:
    """The groups, as far as their rows can be read, or with `mark` all of them."""
    if on_error not in get_args(OnError):
        raise SpecError(f"on_error must be one of {', '.join(get_args(OnError))}, not {on_error!r}")
    return _until_unreadable(groups, where) if on_error == "stop" else groups


def _bounded(groups: Iterator[Rows], longest: int) -> Iterator[Rows]:
    """The groups, texts of more characters than `longest` taken for unreadable."""
    row = 0
    for group in groups:
        yield Rows([_at_most(longest, item, row + place) for place, item in enumerate(group.texts)], group.columns)
        row += len(group.texts)


def _at_most(longest: int, item: Item, row: int) -> Item:
    if isinstance(item, Unreadable):
        return item
    n_characters = max(len(as_text(item).text), len(as_text(item).pair or ""))
    if n_characters <= longest:
        return item
    return Unreadable(f"row {row} has a text of {n_characters:,} characters, more than {longest:,}")


def _until_unreadable(groups: Iterator[Rows], where: str) -> Iterator[Rows]:
    for group in groups:
        for item in group.texts:
            if isinstance(item, Unreadable):
                raise SourceError(f"{where}{item.reason} (on_error='mark' would keep the row and go on)")
        yield group


def _record_rows(source: Source, kind: str) -> Iterator[Rows]:
    """Rows of a file that is read record by record."""
    with opened(source.path) as file:
        records = READERS[kind](Lines(file, source.name, errors=source.errors), source.columns)
        if records.names is None:
            return
        used, travelling = _columns(source, kind, records.names)
        known = None if source.keep is not None else frozenset(records.names)
        items = (
            (_record_text(record, used, known, row), record.values, record.n_bytes)
            for row, record in enumerate(records.rows)
        )
        yield from _grouped(items, travelling)


def _columns(source: Source, kind: str, names: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Which columns hold what is read, and which travel along."""
    wanted = {
        name: value for name in ("text", "words", "pair", "spans") if (value := getattr(source, name)) is not None
    }
    if kind == "txt" and source.columns is None:
        for name in (*wanted.values(), *(source.keep or ())):
            raise SourceError(f"{source.path} is plain text and has no column {name!r}: a line is a text")
    if kind in ("conll", "conllu"):
        if "text" in wanted:
            raise SourceError(f"{source.path} holds words, not texts: leave out the column {source.text!r} of the text")
        wanted.setdefault("words", WORDS)
    used = used_columns(names, wanted, source.path)
    return used, travelling_columns(names, used, source.keep, source.path)


def _record_text(record: Record, used: Mapping[str, str], known: frozenset[str] | None, row: int) -> Item:
    """The text of a record; `known`: the columns there are, where a new one would be lost."""
    if record.fault is not None:
        return Unreadable(record.fault)
    if known is not None and not record.values.keys() <= known:
        new = next(name for name in record.values if name not in known)
        return Unreadable(f"row {row} has a column {new[:40]!r}, which the first rows lack: name the columns to keep")
    try:
        return text_of(record.values, used, row)
    except MisfitError as misfit:
        return Unreadable(str(misfit))


def _table_rows(source: Source) -> Iterator[Rows]:
    """Rows of a Parquet file: its columns keep their types."""
    if source.path == STDIN:
        raise SourceError("parquet cannot be read from standard input: give a file")
    with opened(source.path) as file:
        try:
            yield from _of_tables(source, file)
        except SourceError as error:
            raise SourceError(f"{source.path}: {error}") from None
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise SourceError(f"{source.path} cannot be read as Parquet: {reason[0][:200]}") from None


def _of_tables(source: Source, file: BinaryIO) -> Iterator[Rows]:
    from lamina.text.parquet import column_names, tables, unicode_table, values_of  # Parquet's reader is slow to load

    used, travelling = _columns(source, "parquet", column_names(file))
    columns = [*dict.fromkeys(used.values()), *travelling]
    row = 0
    for table in tables(file, columns, rows=ROWS, n_bytes=CHARACTERS):
        held = {
            name: values_of(table.column(name), lists=what in ("words", "spans"), errors=source.errors)
            for what, name in used.items()
        }
        others, misfits = unicode_table(table.select(travelling), errors=source.errors)
        texts: list[Item] = []
        for place in range(table.num_rows):
            record = Record({name: values[place] for name, values in held.items()})
            texts.append(_record_text(record, used, None, row + place))
        for place, reason in misfits.items():
            texts[place] = Unreadable(f"row {row + place}: {reason}")
        yield Rows(texts, others)
        row += table.num_rows


def _format_of(path: str) -> str:
    if path == STDIN:
        return "txt"
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES and not os.path.exists(path):  # noqa: PTH110 - a text is too long for a Path to look for
        advice = " (if it is a text, put it in a list)" if " " in path else ""
        raise SourceError(f"{path} cannot be read: No such file or directory{advice}")
    if suffix not in SUFFIXES:
        raise SourceError(
            f"{path}: the name does not say what is in it; expected {', '.join(SUFFIXES)}, or give the format"
        )
    return SUFFIXES[suffix]


def _item(text: object, row: int) -> Item:
    try:
        return text if isinstance(text, Text) else string(text, f"row {row} of the input")
    except MisfitError as misfit:
        return Unreadable(str(misfit))


def _grouped(items: Iterator[tuple[Item, Mapping[str, Any], int]], travelling: Sequence[str] = ()) -> Iterator[Rows]:
    """Group texts, with their records and what those took, into Rows of at most ROWS texts and about CHARACTERS
    characters. The types of the travelling columns are those of the first group."""
    schema: pa.Schema | None = None
    first_row = 0
    while group := _take(items):
        texts = [text for text, _, _ in group]
        arrays = {}
        for name in travelling:
            kind = schema.field(name).type if schema else None
            values = [record.get(name) for _, record, _ in group]
            arrays[name], misfits = column_array(name, values, kind, first_row=first_row)
            for place, reason in misfits.items():
                texts[place] = Unreadable(reason)
        table = pa.Table.from_arrays(list(arrays.values()), names=list(arrays))
        schema = schema or table.schema
        yield Rows(texts, table)
        first_row += len(group)


def _take(items: Iterator[tuple[Item, Mapping[str, Any], int]]) -> list[tuple[Item, Mapping[str, Any], int]]:
    group = []
    size = 0
    for item in islice(items, ROWS):
        group.append(item)
        size += max(len(as_text(item[0]).text), item[2])
        if size >= CHARACTERS:
            break
    return group
