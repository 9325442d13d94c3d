"""Labels beside units, as columns that travelled along hold them: one a row, or a list for the words of a text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.errors import SourceError, SpecError

Labels = list[str | None]


def row_labels(units: pa.Table, column: str) -> Labels:
    """[U] the label of each row as a string; None where it is null, the empty string or NaN.

    Raises SpecError where there is no such column, or it holds lists.
    """
    values = _column(units, column)
    for value in values:
        if isinstance(value, list | dict):
            raise SpecError(f"column {column!r} holds {str(value)[:40]}, not a label: is it a tag for each word?")
    return [None if is_missing(value) else str(value) for value in values]


def word_labels(units: pa.Table, column: str) -> Labels:
    """[U] the label of each word, of a column that holds a list (or its JSON) for each text, one label a word.

    Raises SpecError where there is no such column, SourceError where a list is none or has not as many as words.
    """
    values = _column(units, column)
    labels: Labels = []
    for start, end in text_ranges(units):
        found = _list(values[start], column, units["text_id"][start].as_py())
        if len(found) != end - start:
            raise SourceError(
                f"text {units['text_id'][start].as_py()} has {end - start} words and {len(found)} labels in column "
                f"{column!r}: give its words with --words (or a CoNLL file), so that each has one"
            )
        labels += [None if is_missing(value) else str(value) for value in found]
    return labels


def is_missing(label: object) -> bool:
    """Whether a value is no label: null, the empty string, or a number that is none (NaN), as tables mark a gap."""
    return label is None or label == "" or (isinstance(label, float) and isnan(label))


def text_ranges(units: pa.Table) -> list[tuple[int, int]]:
    """The rows of each text that has any, start to end - 1, in their order."""
    ids = units.column("text_id").to_numpy()
    bounds = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)] if len(ids) else [0]
    return list(pairwise(bounds))


def numbered(labels: Sequence[str | None], names: Sequence[str]) -> npt.NDArray[np.int64]:
    """[U] the place of each label among `names`; -1 where it is None or none of them."""
    place = {name: number for number, name in enumerate(names)}
    return np.array([-1 if label is None else place.get(label, -1) for label in labels], np.int64)


def _column(units: pa.Table, column: str) -> list[Any]:
    if column not in units.column_names:
        raise SpecError(f"there is no column {column!r}; there are {', '.join(units.column_names)}")
    values: list[Any] = units.column(column).to_pylist()
    return values


def _list(value: object, column: str, text: int) -> list[Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        raise SourceError(
            f"column {column!r} of text {text} is {str(value)[:40]!r}, not a list with a label for each word"
        )
    return found
