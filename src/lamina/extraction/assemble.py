"""From reduced segments to the vectors of units: parts of a unit joined, means taken, layers combined.

Every step works row by row, so no row can see another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.embeddings import COMBINED, Embeddings, layer_column, unit_length
from lamina.engine.batch import Reduced
from lamina.extraction.chunk import Chunk, ChunkView
from lamina.extraction.dense import apply_dense
from lamina.extraction.plan import Plan, View
from lamina.extraction.weighting import is_each_once
from lamina.model.sentence import Dense, Normalize
from lamina.text.tokens import Int64

Array = npt.NDArray[Any]  # float32, or float16 where what is stored comes so


@dataclass(slots=True)
class Assembly:
    """The vectors of one chunk, filled batch by batch.

    parts      for each view and layer, a row per segment [G, D], or per row of the result [U', D].
    n_missing  segments that have not come yet.
    """

    chunk: Chunk
    plan: Plan
    layouts: list[Layout] = field(init=False)
    parts: list[dict[int, Array]] = field(init=False)
    n_missing: int = field(init=False)
    _dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._dtype = np.dtype(np.float16 if self.plan.program.narrow else np.float32)
        self.layouts = [layout_of(view) for view in self.chunk.views]
        self.parts = [{} for _ in self.chunk.views]
        self.n_missing = sum(view.segments.unit.size for view in self.chunk.views)

    @np.errstate(over="ignore")  # infinite then, which is refused where it is stored
    def put(self, segments: tuple[Int64, ...], reduced: Reduced) -> None:
        """Take the reduced layers of a batch, for each view in the program's order, for the segments given."""
        for layout, parts, of_view, layers in zip(self.layouts, self.parts, segments, reduced, strict=True):
            places = of_view if layout.places is None else layout.places[of_view]
            for number, rows in zip(self.plan.program.layers, layers, strict=True):
                if number in layout.view.view.layers:
                    if number not in parts:
                        parts[number] = np.empty((layout.n_places, rows.shape[1]), self._dtype)
                    parts[number][places] = rows
            self.n_missing -= of_view.size

    def embeddings(self, width: int) -> tuple[Embeddings, ...]:
        """For each view, the chunk's units and vectors in the order of the input. `width`: D of a layer."""
        assert self.n_missing == 0
        held = iter(zip(self.layouts, self.parts, strict=True))
        of_views = [list(islice(held, len(view.pools))) for view in self.plan.views.values()]
        views = [(pools[0][0].view, pools) for pools in of_views]
        return tuple(Embeddings(view.table, _columns(view, pools, width), view.n_texts) for view, pools in views)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the rows of a view's segments go, and what makes the rows of units of them.

    n_places  of a matrix that takes them: its segments G or, where each unit is one segment, the result's rows U'.
    places    [G]; the place of each segment; None: its number.
    order     [G]; the segments by their units; None: as they are.
    starts    where the segments of each unit that has some begin in that order; None: each is a unit.
    present   [up to U]; the units that have segments; None: all.
    copies    [C]; places of the result that show what another place shows, `copied` [C].
    rows      [U']; the unit that each row of the result shows; None: they lie as the result has them.
    """

    view: ChunkView
    n_places: int
    places: Int64 | None = None
    order: Int64 | None = None
    starts: Int64 | None = None
    present: Int64 | None = None
    copies: Int64 | None = None
    copied: Int64 | None = None
    rows: Int64 | None = None

    def units(self, parts: Array | None, width: int) -> Array:
        """A layer's rows of units [U, D], or of the result [U', D] where they lie so already; NaN without tokens."""
        view = self.view
        if parts is None:
            return np.full((view.n_units, width), np.nan, np.float32)
        if self.order is not None:
            parts = parts[self.order]
        if self.starts is not None:
            parts = (np.maximum if view.pool == "max" else np.add).reduceat(parts, self.starts, axis=0)
        if self.present is not None:
            joined = np.full((view.n_units, width), np.nan, parts.dtype)
            joined[self.present] = parts
            parts = joined
        if self.copies is not None:
            parts[self.copies] = parts[self.copied]
        if view.divisor is not None:
            parts /= (view.divisor if self.places is None else view.divisor[view.rows])[:, None]
        return parts


def layout_of(view: ChunkView) -> Layout:
    """How the vectors of a view are laid out: where they can, they go to where the result has them."""
    unit, n_units = view.segments.unit, view.n_units
    rows = None if is_each_once(view.rows, n_units) else view.rows
    if is_each_once(unit, n_units):
        if rows is None or view.view.recipe is not None:  # what a recipe does is done once for each unit
            return Layout(view, n_units, rows=rows)
        first = np.unique(view.rows, return_index=True)[1]
        copies = np.delete(np.arange(view.rows.size), first)
        return Layout(view, view.rows.size, places=first, copies=copies, copied=first[view.rows[copies]])
    order = np.argsort(unit, kind="stable") if (unit[1:] < unit[:-1]).any() else None
    present, starts = np.unique(unit if order is None else unit[order], return_index=True)
    return Layout(
        view, unit.size, order=order, rows=rows,
        starts=starts if present.size < unit.size else None, present=present if present.size < n_units else None,
    )  # fmt: skip


def _columns(view: ChunkView, pools: Sequence[tuple[Layout, dict[int, Array]]], width: int) -> dict[str, Array]:
    """The columns of one view, from what each of its pools gave."""
    spec = view.view.spec
    layers = {
        number: _side_by_side([layout.units(parts.pop(number, None), width) for layout, parts in pools])
        for number in view.view.layers
    }
    columns = _combined(layers, view.view)
    for step in view.view.recipe.steps if view.view.recipe else ():
        columns = {name: _stepped(matrix, step) for name, matrix in columns.items()}
    if spec.dims is not None:
        columns = {name: np.ascontiguousarray(matrix[:, : spec.dims]) for name, matrix in columns.items()}
    if spec.normalize:
        columns = {name: unit_length(matrix) for name, matrix in columns.items()}
    if (rows := pools[0][0].rows) is not None:
        columns = {name: matrix[rows] for name, matrix in columns.items()}
    return columns


def _side_by_side(matrices: list[Array]) -> Array:
    return matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1)


def _stepped(matrix: Array, step: Dense | Normalize) -> Array:
    return unit_length(matrix) if isinstance(step, Normalize) else apply_dense(matrix, step)


def _combined(matrices: dict[int, Array], view: View) -> dict[str, Array]:
    """The result's columns, from the matrix of each layer."""
    if view.spec.combine == "none":
        return {layer_column(number): matrix for number, matrix in matrices.items()}
    if view.spec.combine == "concat":
        return {COMBINED: np.concatenate(list(matrices.values()), axis=1)}
    weights = view.weights or (1.0,) * len(view.layers)
    total = np.zeros_like(matrices[view.layers[0]])
    for number, weight in zip(view.layers, weights, strict=True):
        total += np.float32(weight) * matrices[number]
    if view.spec.combine == "mean":
        total /= np.float32(len(view.layers))
    return {COMBINED: total}
