"""From reduced segments to the vectors of units: parts of a unit joined, means taken, layers combined.

Every step works row by row, so no row can see another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from lamina.model.sentence import Dense, Normalize
from lamina.text.tokenizer import Int64

Array = npt.NDArray[Any]  # float32, or float16 where what is stored comes so


@dataclass(slots=True)
class Assembly:
    """The vectors of one chunk, filled batch by batch.

    parts      for each view and layer, a row per segment [G, D].
    n_missing  segments that have not come yet.
    """

    chunk: Chunk
    plan: Plan
    parts: list[dict[int, Array]] = field(default_factory=list)
    n_missing: int = 0

    def __post_init__(self) -> None:
        self.parts = [{} for _ in self.chunk.views]
        self.n_missing = sum(view.segments.unit.size for view in self.chunk.views)

    def put(self, segments: tuple[Int64, ...], reduced: Reduced) -> None:
        """Take the reduced layers of a batch, for each view in the program's order, for the segments given."""
        for view, parts, of_view, layers in zip(self.chunk.views, self.parts, segments, reduced, strict=True):
            for number, rows in zip(self.plan.program.layers, layers, strict=True):
                if number in view.view.layers:
                    if number not in parts:
                        parts[number] = np.empty((view.segments.unit.size, rows.shape[1]), rows.dtype)
                    parts[number][of_view] = rows
            self.n_missing -= of_view.size

    def embeddings(self, width: int) -> tuple[Embeddings, ...]:
        """For each view, the chunk's units and vectors in the order of the input. `width`: D of a layer."""
        assert self.n_missing == 0
        held = iter(zip(self.chunk.views, self.parts, strict=True))
        of_views = [list(islice(held, len(view.pools))) for view in self.plan.views.values()]
        return tuple(Embeddings(pools[0][0].table, _columns(pools, width), pools[0][0].n_texts) for pools in of_views)


def _columns(pools: Sequence[tuple[ChunkView, dict[int, Array]]], width: int) -> dict[str, Array]:
    """The columns of one view, from what each of its pools gave."""
    view = pools[0][0]
    spec = view.view.spec
    made = [(_to_units(pool, width), parts) for pool, parts in pools]
    layers = {
        number: _side_by_side([to_units(parts.pop(number, None)) for to_units, parts in made])
        for number in view.view.layers
    }
    columns = _combined(layers, view.view)
    for step in view.view.recipe.steps if view.view.recipe else ():
        columns = {name: _stepped(matrix, step) for name, matrix in columns.items()}
    if spec.dims is not None:
        columns = {name: np.ascontiguousarray(matrix[:, : spec.dims]) for name, matrix in columns.items()}
    if spec.normalize:
        columns = {name: unit_length(matrix) for name, matrix in columns.items()}
    if view.rows.size != view.n_units or (np.diff(view.rows) != 1).any():
        columns = {name: matrix[view.rows] for name, matrix in columns.items()}
    return columns


def _to_units(view: ChunkView, width: int) -> Callable[[Array | None], Array]:
    """What makes [U, D] of the rows of a layer's segments [G, D]; a unit without tokens is NaN."""
    unit, n_units = view.segments.unit, view.n_units
    steps = np.diff(unit)
    order = np.argsort(unit, kind="stable") if (steps < 0).any() else None
    is_whole = order is None and unit.size == n_units and bool((steps == 1).all())
    present, starts = (unit, unit) if is_whole else np.unique(unit if order is None else unit[order], return_index=True)

    def made(parts: Array | None) -> Array:
        if parts is None:
            return np.full((n_units, width), np.nan, np.float32)
        if order is not None:
            parts = parts[order]
        if present.size < unit.size:  # units in several parts
            parts = (np.maximum if view.pool == "max" else np.add).reduceat(parts, starts, axis=0)
        if present.size < n_units:
            joined = np.full((n_units, width), np.nan, parts.dtype)
            joined[present] = parts
            parts = joined
        if view.divisor is not None:
            parts /= view.divisor[:, None]
        return parts

    return made


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
