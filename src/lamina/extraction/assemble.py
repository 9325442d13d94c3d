"""From reduced segments to the vectors of units: parts of a unit joined, means taken, layers combined.

Every step works row by row, so no row can see another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lamina.embeddings import COMBINED, Embeddings, layer_column
from lamina.engine.batch import Float32
from lamina.extraction.chunk import Chunk
from lamina.extraction.plan import Plan
from lamina.text.tokenizer import Int64


@dataclass(slots=True)
class Assembly:
    """The vectors of one chunk, filled batch by batch. `parts` holds, for each layer, a row per segment [G, D]."""

    chunk: Chunk
    plan: Plan
    parts: dict[int, Float32] = field(default_factory=dict)
    n_missing: int = 0

    def __post_init__(self) -> None:
        self.n_missing = self.chunk.segments.unit.size

    def put(self, segments: Int64, layers: tuple[Float32, ...]) -> None:
        """Take the reduced layers of a batch, in the program's order, for the segments given."""
        for number, reduced in zip(self.plan.program.layers, layers, strict=True):
            if number not in self.parts:
                self.parts[number] = np.empty((self.chunk.segments.unit.size, reduced.shape[1]), np.float32)
            self.parts[number][segments] = reduced
        self.n_missing -= segments.size

    def embeddings(self) -> Embeddings:
        """The chunk's units and vectors, in the order of the input."""
        assert self.n_missing == 0
        # Combining adds layers up one by one; otherwise each leaves as soon as it is done, and its parts are freed.
        matrices = {number: self._units_of(self.parts.pop(number, None)) for number in self.plan.program.layers}
        columns = _combined(matrices, self.plan)
        if self.plan.spec.normalize:
            columns = {name: unit_length(matrix) for name, matrix in columns.items()}
        if self.chunk.rows.size != self.chunk.n_pooled.size or (np.diff(self.chunk.rows) != 1).any():
            columns = {name: matrix[self.chunk.rows] for name, matrix in columns.items()}
        return Embeddings(self.chunk.table, columns, self.chunk.n_texts)

    def _units_of(self, parts: Float32 | None) -> Float32:
        """[U, D] from the rows of segments [G, D]; a unit without tokens is NaN."""
        unit = self.chunk.segments.unit
        n_units = self.chunk.n_pooled.size
        width = self.plan.width // (len(self.plan.layers) if self.plan.spec.combine == "concat" else 1)
        if parts is None:
            return np.full((n_units, width), np.nan, np.float32)
        if (np.diff(unit) < 0).any():
            order = np.argsort(unit, kind="stable")
            unit, parts = unit[order], parts[order]
        if unit.size != n_units or (np.diff(unit) != 1).any():  # units in several parts, or in none
            joined = np.full((n_units, width), np.nan, np.float32)
            present, starts = np.unique(unit, return_index=True)
            join = np.maximum if self.plan.program.reductions[0] == "max" else np.add
            joined[present] = join.reduceat(parts, starts, axis=0)
            parts = joined
        if self.plan.spec.pool == "mean":
            parts /= np.maximum(self.chunk.n_pooled, 1).astype(np.float32)[:, None]
        return parts


def unit_length(matrix: Float32) -> Float32:
    """Each row divided by its Euclidean length; a row of zeros stays as it is."""
    length = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
    np.divide(matrix, length, out=matrix, where=length > 0)
    return matrix


def _combined(matrices: dict[int, Float32], plan: Plan) -> dict[str, Float32]:
    """The result's columns, from the matrix of each layer."""
    if plan.spec.combine == "none":
        return {layer_column(number): matrices[number] for number in plan.layers}
    if plan.spec.combine == "concat":
        return {COMBINED: np.concatenate([matrices[number] for number in plan.layers], axis=1)}
    weights = plan.weights or (1.0,) * len(plan.layers)
    total = np.zeros_like(matrices[plan.layers[0]])
    for number, weight in zip(plan.layers, weights, strict=True):
        total += np.float32(weight) * matrices[number]
    if plan.spec.combine == "mean":
        total /= np.float32(len(plan.layers))
    return {COMBINED: total}
