"""Filters on the units table: `stars>=4 and lang==de`, read by a parser of our own; nothing is evaluated.

A condition is a column, one of == != >= <= > < (= means ==) and a value; conditions are joined by `and`. A name or
value with spaces, operators or `and` in it stands in quotes, double or single. A row without a value meets none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lamina.errors import SpecError

Bool = npt.NDArray[np.bool_]

OPERATIONS = {
    "==": pc.equal,
    "!=": pc.not_equal,
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
}
_TOKEN = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|(==|!=|>=|<=|=|>|<)|([^\s"'=!<>]+))""")


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `str(condition)` parses back."""

    column: str
    operation: str
    value: str

    def __str__(self) -> str:
        return f"{_quoted(self.column)} {self.operation} {_quoted(self.value)}"


def parse_where(text: str) -> tuple[Condition, ...]:
    """The conditions of a filter. Raises SpecError, with the place, for what cannot be read."""
    tokens = _tokens(text)
    groups: list[list[tuple[str, bool]]] = [[]]
    for word, is_bare in tokens:
        if is_bare and word.lower() == "and":
            groups.append([])
        else:
            groups[-1].append((word, is_bare))
    return tuple(_condition(group, text) for group in groups)


def rows_where(units: pa.Table, where: str) -> Bool:
    """Which rows of the units table [U] meet a filter.

    Values of a string column are compared as strings by == and !=, and as numbers by the others. Raises SpecError for a
    column that is not there, or a value that is none of its kind.
    """
    chosen = np.ones(units.num_rows, np.bool_)
    for condition in parse_where(where):
        if condition.column not in units.column_names:
            raise SpecError(f"there is no column {condition.column!r}; there are {', '.join(units.column_names)}")
        chosen &= _met(units.column(condition.column), condition)
    return chosen


def _met(column: pa.ChunkedArray, condition: Condition) -> Bool:
    found = column
    ordered = condition.operation not in ("==", "!=")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        found = _as_numbers(column, condition) if ordered else column
    try:
        value = pa.scalar(condition.value).cast(found.type)
    except pa.ArrowException:
        raise SpecError(
            f"{condition}: column {condition.column!r} holds {found.type}, which {condition.value!r} is not"
        ) from None
    try:
        met = OPERATIONS[condition.operation](found, value)
    except pa.ArrowException:
        raise SpecError(f"{condition}: values of type {found.type} cannot be compared so") from None
    return np.asarray(pc.fill_null(met, False), np.bool_)


def _as_numbers(column: pa.ChunkedArray, condition: Condition) -> pa.ChunkedArray:
    """A column of strings as numbers; an empty string is no value. Raises SpecError for one that is no number."""
    filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    try:
        return pc.cast(filled, pa.float64())
    except pa.ArrowException as error:
        raise SpecError(f"{condition}: column {condition.column!r} holds what is no number ({error})") from None


def _tokens(text: str) -> list[tuple[str, bool]]:
    """The words of a filter, each with whether it stood bare, without quotes."""
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise SpecError(f"the filter {text!r} cannot be read at {text[place:].strip()!r}: is a quote left open?")
        double, single, operation, bare = match.groups()
        word = next(part for part in (double, single, operation, bare) if part is not None)
        found.append((word, double is None and single is None))
        place = match.end()
    return found


def _condition(group: list[tuple[str, bool]], text: str) -> Condition:
    words = [word for word, _ in group]
    places = [place for place, (word, is_bare) in enumerate(group) if is_bare and word in (*OPERATIONS, "=")]
    if len(words) != 3 or places != [1]:
        raise SpecError(
            f"the filter {text!r} cannot be read at {' '.join(words)!r}: expected COLUMN OPERATION VALUE, several "
            f"joined by 'and', with {' '.join(OPERATIONS)}, as in 'stars>=4 and lang==de'"
        )
    return Condition(words[0], words[1].replace("=", "==") if words[1] == "=" else words[1], words[2])


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[^\s\"'=!<>]+", word) and word.lower() != "and" else f'"{word}"'
