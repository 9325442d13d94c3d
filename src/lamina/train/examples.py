"""Examples: texts and what is to be learnt of each, as a file holds them; part of them held out; hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from lamina.errors import SourceError, SpecError
from lamina.text.source import Source
from lamina.text.text import Text, as_text

L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class Examples(Generic[L]):
    """Texts, and what is known of each. Raises SpecError where they are not equally many."""

    texts: tuple[Text, ...]
    labels: tuple[L, ...]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise SpecError(f"{len(self.texts):,} texts and {len(self.labels):,} labels: expected one for each")

    def __len__(self) -> int:
        return len(self.texts)

    def some(self, rows: Sequence[int]) -> Examples[L]:
        """Those of some rows."""
        return Examples(tuple(self.texts[i] for i in rows), tuple(self.labels[i] for i in rows))

    def sha256(self) -> str:
        """The hash of every text and label, in order."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            row = [text.text, text.pair, text.words, label]
            digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()


def parted(
    examples: Examples[L], validate: Examples[L] | None, test: Examples[L] | None, *, held_out: float, seed: int
) -> tuple[Examples[L], Examples[L] | None]:
    """What is learnt from, and what is held out: `validate`, or where that is None a share.

    Raises SpecError where one of the three holds nothing, and what `split` raises.
    """
    for name, given in (("examples", examples), ("validate", validate), ("test", test)):
        if given is not None and not len(given):
            raise SpecError(f"{name} holds no example")
    return (examples, validate) if validate is not None else split(examples, held_out, seed=seed)


def split(examples: Examples[L], share: float, *, seed: int) -> tuple[Examples[L], Examples[L] | None]:
    """What is learnt from, and a share that is held out, None of 0: the same text never stands on both sides.

    Raises SpecError for a share below 0 or above 0.9, and where nothing would be left.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 0.9:
        raise SpecError(f"held_out must be a share from 0 to 0.9, not {share!r}")
    if not share:
        return examples, None
    groups: dict[tuple[str, str | None], list[int]] = {}
    for row, text in enumerate(examples.texts):
        groups.setdefault((text.text, text.pair), []).append(row)
    held = list(groups.values())
    n_out = max(1, round(share * len(held)))
    if n_out >= len(held):
        raise SpecError(f"{len(held)} different texts are too few to hold any out: give --validate, or --held-out 0")
    order = np.random.default_rng([seed, len(held)]).permutation(len(held)).tolist()
    out = sorted(row for place in order[:n_out] for row in held[place])
    kept = sorted(row for place in order[n_out:] for row in held[place])
    return examples.some(kept), examples.some(out)


def read_examples(
    source: Source, column: str | None, label_of: Callable[[Any], L | None]
) -> tuple[Examples[L | None], int]:
    """The texts of a file with what `label_of` makes of a column's value, None without a column; and how many rows
    without a value were left out.

    Raises SourceError for what cannot be read, and where no row is left.
    """
    texts: list[Text] = []
    labels: list[L | None] = []
    n_left_out, row = 0, 0
    for rows in source.rows():
        values = [None] * len(rows.texts) if column is None else _column(rows.columns, column, source.name)
        for item, value in zip(rows.texts, values, strict=True):
            try:
                label = None if column is None else label_of(value)
            except (TypeError, ValueError) as error:
                raise SourceError(f"{source.name}, row {row}, column {column!r}: {error}") from None
            row += 1
            if label is None and column is not None:
                n_left_out += 1
            else:
                texts.append(as_text(item))
                labels.append(label)
    if not texts:
        raise SourceError(f"{source.name} holds no example" + (f": {row:,} rows without a value" if row else ""))
    return Examples(tuple(texts), tuple(labels)), n_left_out


def _column(columns: Any, name: str, path: str) -> list[Any]:
    if name not in columns.column_names:
        raise SourceError(f"{path} has no column {name!r}; beside the text it has {', '.join(columns.column_names)}")
    found: list[Any] = columns.column(name).to_pylist()
    return found


def class_label(value: Any) -> str | None:
    """A class as a string; None where there is none."""
    if isinstance(value, list | dict):
        raise TypeError("holds a list, not a label: a tag for each word is learnt by `lamina train tag`")
    return None if value is None or value == "" else str(value)


def tag_labels(value: Any) -> tuple[str, ...] | None:
    """A tag for each word, of a list or its JSON; None where there is none."""
    if value is None or value == "":
        return None
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(tag, str) for tag in found):
        raise TypeError("expected a list with a tag for each word")
    return tuple(found)


def score_label(value: Any) -> float | None:
    """A score as a number; None where there is none."""
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise TypeError("expected a number") from None
    if found != found or abs(found) == float("inf"):
        raise TypeError("expected a finite number")
    return found
