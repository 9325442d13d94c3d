"""Records: the rows of a text format, one by one, as values by column.

Comes in: the lines of a csv, tsv, jsonl, txt, conll or conllu file. Goes out: the columns' names and a `Record` a row.
What is wrong with one row is that record's `fault`, and the next one is read; what leaves no row to tell from another
(a quote that never ends) is a SourceError.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from lamina.errors import SourceError
from lamina.text.columns import listed
from lamina.text.conll import WORDS, read_sentences
from lamina.text.lines import LONGEST, Lines
from lamina.text.text import a_kind

LEARNT_FROM = 1024  # rows of a jsonl file, at most, that say which columns there are
LEARNT_BYTES = 4_000_000  # of the file, likewise


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its values by column, how much of the file it took, and why it cannot be read, if so."""

    values: Mapping[str, Any] = field(default_factory=dict)
    n_bytes: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """The columns that a file has, and its rows; None where there is no row to learn them from."""

    names: list[str] | None
    rows: Iterator[Record]


def _txt(lines: Lines, columns: Sequence[str] | None) -> Records:
    """A text a line; lines end at \\n or \\r\\n and nowhere else. Where columns are named, a line holds a word for each
    of them, and all that is left is the last one: `label text`."""
    texts = ((line.removesuffix("\n").removesuffix("\r"), len(line), lines.taken_fault()) for line in lines)
    if columns is not None:
        return Records(list(columns), _worded(texts, columns, lines))
    return Records(["text"], (Record({"text": text}, n_bytes, fault) for text, n_bytes, fault in texts))


def _worded(texts: Iterator[tuple[str, int, str | None]], columns: Sequence[str], lines: Lines) -> Iterator[Record]:
    for text, n_bytes, fault in texts:
        if not text.strip() and not fault:
            continue  # a blank line
        values = text.split(maxsplit=len(columns) - 1)
        if not fault and len(values) != len(columns):
            fault = f"line {lines.number}: {len(values)} words for {len(columns)} columns ({listed(columns)})"
        yield Record({} if fault else dict(zip(columns, values, strict=True)), n_bytes, fault)


def _csv(lines: Lines, columns: Sequence[str] | None) -> Records:
    return _delimited(lines, columns, delimiter=",", quoting=csv.QUOTE_MINIMAL)


def _tsv(lines: Lines, columns: Sequence[str] | None) -> Records:
    return _delimited(lines, columns, delimiter="\t", quoting=csv.QUOTE_NONE)  # a quote in a .tsv is a quote


def _delimited(lines: Lines, columns: Sequence[str] | None, *, delimiter: str, quoting: Literal[0, 3]) -> Records:
    """Every value is a string, as it is written: what looks like a number in row 1 may not be one in row 100,000."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))  # the module's own, 131,072 characters, is below a text
    bounded = _Bounded(lines)
    reader = csv.reader(bounded, delimiter=delimiter, quoting=quoting, strict=True)
    try:
        names = list(columns or next(reader, []))
    except csv.Error as error:
        raise SourceError(f"{lines.path}, line {lines.number}: {error}") from None
    if fault := lines.taken_fault():
        raise SourceError(f"{lines.path}, {fault}")
    if len(set(names)) != len(names):
        raise SourceError(f"{lines.path} has two columns of one name: {listed(names)}")
    return Records(names, _rows(reader, names, bounded, quotes=quoting == csv.QUOTE_MINIMAL))


def _rows(reader: Any, names: list[str], lines: _Bounded, *, quotes: bool) -> Iterator[Record]:
    while True:
        begun = lines.begun = lines.of.n_bytes
        misread = None
        try:
            values: list[str] = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            values, misread = [], f"line {lines.of.number}: {error}"
            if quotes:  # where the next row begins is anybody's guess
                raise SourceError(f"{lines.of.path}, {misread}") from None
        fault = lines.of.taken_fault() or misread
        if not values and not fault:
            if len(names) > 1:
                continue  # a blank line
            values = [""]
        if not fault and len(values) != len(names):
            fault = f"line {lines.of.number}: {len(values)} values for {len(names)} columns ({listed(names)})"
        yield Record({} if fault else dict(zip(names, values, strict=True)), lines.of.n_bytes - begun, fault)


@dataclass(slots=True)
class _Bounded:
    """The lines of a csv file, as long as no record takes more than LONGEST bytes: a quote that never ends would
    take the rest of the file into memory."""

    of: Lines
    begun: int = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.of)
        if self.of.n_bytes - self.begun > LONGEST:
            raise SourceError(
                f"{self.of.path}, line {self.of.number}: a row that takes more than {LONGEST:,} bytes; "
                "is there a quote that never ends?"
            )
        return line


def _jsonl(lines: Lines, columns: Sequence[str] | None) -> Records:  # noqa: ARG001
    """A JSON object a line. Lines end at \\n alone: a string may hold other line separators."""
    records = (_json_object(line, lines) for line in lines if line.strip() or lines.fault)
    first: list[Record] = []
    n_bytes = 0
    for record in records:  # which columns there are is learnt from these
        first.append(record)
        n_bytes += record.n_bytes
        if len(first) == LEARNT_FROM or n_bytes >= LEARNT_BYTES:
            break
    names = list(dict.fromkeys(name for record in first for name in record.values))
    if first and not names and first[0].fault:
        raise SourceError(f"{lines.path}, {first[0].fault}")
    return Records(names if first else None, chain(first, records))


def _json_object(line: str, lines: Lines) -> Record:
    fault = lines.taken_fault()
    found: Any = {}
    if fault is None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            fault = f"line {lines.number} is no JSON: {error}"
        else:
            if not isinstance(found, dict):
                found, fault = {}, f"line {lines.number}: expected an object, found {a_kind(found)}"
    return Record(found, len(line), fault)


def _conll(lines: Lines, columns: Sequence[str] | None, *, universal: bool = False) -> Records:
    """A sentence a row, its words as they are given; every other column is a list with a value for each word."""
    sentences = read_sentences(lines, path=lines.path, universal=universal, columns=columns)
    first = next(sentences, None)
    if first is None:
        return Records(None, iter(()))
    found = chain([(first, lines.taken_fault())], ((sentence, lines.taken_fault()) for sentence in sentences))
    rows = (
        Record({} if fault else sentence.columns, sum(len(word or "") for word in sentence.columns[WORDS]), fault)
        for sentence, fault in found
    )
    return Records(list(first.columns), rows)


def _conllu(lines: Lines, columns: Sequence[str] | None) -> Records:
    return _conll(lines, columns, universal=True)


# How the lines of each format become records; parquet has no lines.
READERS: dict[str, Callable[[Lines, Sequence[str] | None], Records]] = {
    "txt": _txt,
    "csv": _csv,
    "tsv": _tsv,
    "jsonl": _jsonl,
    "conll": _conll,
    "conllu": _conllu,
}
