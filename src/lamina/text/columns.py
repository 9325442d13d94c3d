"""Columns: which of an input's columns hold the text, and how the others travel along.

Comes in: a row's values by column name. Goes out: its text, or a `MisfitError` that says which column is not as
expected; and the travelling columns as Arrow arrays, each of one type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import pyarrow as pa

from lamina.errors import SourceError
from lamina.text.lines import LONGEST
from lamina.text.text import Text, a_kind

NAMES_SHOWN, NAME_SHOWN = 20, 40  # columns listed in an error, and characters of each


class MisfitError(Exception):
    """Why a row gives no text; what stands in it is not quoted."""


def used_columns(names: Sequence[str], wanted: Mapping[str, str], path: str) -> dict[str, str]:
    """Which column holds what: `text` or `words`, and where asked for `pair` and `spans`. Raises SourceError."""
    used = {what: wanted[what] for what in ("words", "pair", "spans") if what in wanted}
    if "words" not in used:
        guessed = "text" if "text" in names else names[0] if len(names) == 1 else None
        name = wanted.get("text", guessed)
        if not names:
            raise SourceError(f"{path} is empty: it has no line of columns' names")
        if name is None:
            raise SourceError(f"{path} has the columns {listed(names)}: say which one holds the text")
        used["text"] = name
    for name in used.values():
        if name not in names:
            raise SourceError(f"{path} has no column {name!r}; it has {listed(names) or 'no columns'}")
    return used


def travelling_columns(
    names: Sequence[str], used: Mapping[str, str], keep: Sequence[str] | None, path: str
) -> list[str]:
    """The columns that travel along: those of `keep`, or all others. Raises SourceError."""
    others = [name for name in names if (keep is None or name in keep) and name not in used.values()]
    for name in others:
        if has_half_pair(name):
            raise SourceError(f"{path} has a column named {name!r}, which is no Unicode text")
    missing = [name for name in keep or () if name not in names]
    if missing:
        raise SourceError(f"{path} has no column {missing[0]!r} to keep; it has {listed(names)}")
    return others


def text_of(values: Mapping[str, Any], used: Mapping[str, str], row: int) -> str | Text:
    """The text of a row, with what else is known about it. Raises MisfitError."""
    where = {what: f"row {row} of column {name!r}" for what, name in used.items()}
    pair = string(values.get(used["pair"]), where["pair"]) if "pair" in used else None
    if "words" in used:
        words = _list(values.get(used["words"]), where["words"])
        return Text.of_words([string(word, where["words"], "a word of ") for word in words], pair=pair)
    text = string(values.get(used["text"]), where["text"])
    if "spans" in used:
        spans = _list(values.get(used["spans"]), where["spans"])
        try:
            return Text(text, pair=pair, spans=tuple((index(start), index(end)) for start, end in spans))
        except (TypeError, ValueError):
            raise MisfitError(
                f"{where['spans']} holds no spans of its text; expected [[start, end], ...], places of characters "
                f"from 0 to {len(text):,}"
            ) from None
    return text if pair is None else Text(text, pair=pair)


def string(value: object, where: str, what: str = "") -> str:
    """A value that must be a string of a length that can be a text's. Raises MisfitError."""
    if isinstance(value, MisfitError):
        raise MisfitError(f"{what}{where} {value}")
    if not isinstance(value, str):
        raise MisfitError(f"{what}{where} is {a_kind(value)}, not a string")
    if len(value) > LONGEST:
        raise MisfitError(f"{what}{where} has {len(value):,} characters, more than {LONGEST:,}: give it in parts")
    return value


def column_array(
    name: str, values: Sequence[Any], kind: pa.DataType | None, *, first_row: int
) -> tuple[pa.Array, dict[int, str]]:
    """A travelling column as an array, and which of its values [place] are not of its kind, and why: null stands there.

    kind  the column's type; None: that of the first value.
    """
    values = [_stored(value) for value in values]
    misfits = {}
    try:
        array = pa.array(values, type=kind)
        if pa.types.is_integer(array.type) and any(isinstance(value, float) for value in values):
            raise OverflowError  # Arrow would drop the fraction without a word
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        expected = kind or _kind_of(values)
        for place, value in enumerate(values):
            if not _fits(value, expected):
                found = "half a surrogate pair" if isinstance(value, str) and has_half_pair(value) else a_kind(value)
                misfits[place] = (
                    f"row {first_row + place}: column {name!r} holds {found} that does not fit the column's kind, "
                    f"{expected}; give it one kind, or leave it behind by naming the columns to keep"
                )
        array = pa.array([None if i in misfits else value for i, value in enumerate(values)], type=expected)
    return (array.cast(pa.string()) if pa.types.is_null(array.type) else array), misfits


def has_half_pair(text: str) -> bool:
    """Whether a string holds half a surrogate pair, which no UTF-8 can."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def listed(names: Sequence[str]) -> str:
    """Names of columns in an error: of a file without a header they may be anything, and as many."""
    shown = [name if len(name) <= NAME_SHOWN else f"{name[:NAME_SHOWN]}…" for name in names[:NAMES_SHOWN]]
    more = len(names) - NAMES_SHOWN
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _list(value: object, where: str) -> list[Any]:
    """A list, or its JSON."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise MisfitError(f"{where} is a string, but no list as JSON") from None
    if isinstance(found, MisfitError):
        raise MisfitError(f"{where} {found}")
    if not isinstance(found, list):
        raise MisfitError(f"{where} is {a_kind(found)}, not a list")
    return found


def _stored(value: Any) -> Any:
    """Objects and lists are kept as JSON: their shapes may differ from row to row."""
    try:
        return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
    except RecursionError:
        return object()  # fits no column


def _kind_of(values: Sequence[Any]) -> pa.DataType:
    """The kind of a column whose values have several: that of the first one that has any."""
    for value in values:
        if value is not None and _fits(value, None):
            kind = pa.array([value]).type
            fractions = any(isinstance(other, float) for other in values)
            return pa.float64() if pa.types.is_integer(kind) and fractions else kind
    return pa.string()


def _fits(value: Any, kind: pa.DataType | None) -> bool:
    if kind is not None and pa.types.is_integer(kind) and isinstance(value, float):
        return False
    try:
        pa.array([value], type=kind)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return False
    return True
