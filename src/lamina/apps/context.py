"""Where a unit stands: the words around it, put together again from the rows beside its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lamina.apps.search.exact import Int64
from lamina.dataset.reader import Dataset

AROUND = 24  # units looked at on each side
WIDTH = 60  # characters shown on each side


@dataclass(frozen=True, slots=True)
class Context:
    """A unit in its text: characters before it, its own, and after it. White space between units is one space; what is
    cut off is an ellipsis."""

    before: str
    surface: str
    after: str

    def __str__(self) -> str:
        return f"{self.before}[{self.surface}]{self.after}" if self.before or self.after else self.surface


def contexts(dataset: Dataset, rows: Int64) -> list[Context]:
    """The context of each row. Units other than words and tokens stand alone: what lies between them is not stored."""
    if not rows.size:
        return []
    around = AROUND if dataset.spec.unit in ("word", "token") else 0
    wanted = np.unique(np.clip(rows[:, None] + np.arange(-around, around + 1), 0, len(dataset) - 1))
    units = dataset.units_at(wanted.tolist())
    bounds = np.searchsorted(wanted, np.stack([rows - around, rows, rows + around + 1]))
    return [_context(units, first, place, last) for first, place, last in bounds.T.tolist()]


def _context(units: pa.Table, first: int, place: int, last: int) -> Context:
    near = units.slice(first, last - first).select(["text_id", "start", "end", "surface", "special"]).to_pylist()
    own = near[place - first]
    beside = [row for row in near if row["text_id"] == own["text_id"] and not row["special"]]
    before = _joined([row for row in beside if row["end"] <= own["start"]], until=own["start"])
    after = _joined([row for row in beside if row["start"] >= own["end"]], since=own["end"])
    before = before if len(before) <= WIDTH else f"…{before[-WIDTH:]}"
    after = after if len(after) <= WIDTH else f"{after[:WIDTH]}…"
    return Context(before, own["surface"], after)


def _joined(units: list[dict[str, object]], *, since: object = None, until: object = None) -> str:
    """The surfaces in a row, a space wherever something lay between."""
    text, place = "", since
    for unit in units:
        text += (" " if place not in (None, unit["start"]) else "") + str(unit["surface"])
        place = unit["end"]
    return text + (" " if units and until is not None and place != until else "")
