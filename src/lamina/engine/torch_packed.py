"""Batches packed: the tokens of all sequences laid end to end, the longest sequence first, no padding in between.

Integers only, in numpy. Shapes: B sequences, T tokens, R rows: T filled up to whole tiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lamina.engine.batch import Batch, Int32, Rows
from lamina.model.operations import Index
from lamina.model.positions import Counted


@dataclass(frozen=True, slots=True)
class Group:
    """n sequences of one length, laid end to end from row `low` on."""

    low: int
    n: int
    length: int

    def parts(self, n: int) -> Iterator[Group]:
        """The same sequences, at most n at a time."""
        for first in range(0, self.n, n):
            yield Group(self.low + first * self.length, min(n, self.n - first), self.length)


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch without its padding.

    order    [B]; which sequence of the batch stands where: the longest first, equally long ones in the batch's order.
    bounds   [B + 1]; the rows of each of them.
    index    [R] each; the number by which a row's token is looked up in a table: its id, its type, its place in its
             sequence, its counted position. 0 in the rows that only fill a tile.
    rows     the batch's, over packed rows.
    """

    order: Int32
    bounds: Int32
    index: dict[Index, Int32]
    rows: tuple[Rows, ...]

    @property
    def n_tokens(self) -> int:
        return int(self.bounds[-1])

    @property
    def n_rows(self) -> int:
        return self.index["token"].size

    @property
    def groups(self) -> list[Group]:
        """The sequences by length."""
        lengths = np.diff(self.bounds)
        first = np.flatnonzero(np.diff(lengths, prepend=-1))
        n = np.diff(first, append=lengths.size)
        return [
            Group(int(self.bounds[b]), int(of_length), int(lengths[b])) for b, of_length in zip(first, n, strict=True)
        ]


def pack(batch: Batch, *, position_index: Index | None, tile: int | None = None) -> Packed:
    """Pack a batch; the rows are a multiple of `tile`, where that is given."""
    S = batch.ids.shape[1]
    order = np.argsort(-batch.lengths, kind="stable")
    lengths = batch.lengths[order].astype(np.int64)
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    T = int(bounds[-1])
    within = np.arange(T) - np.repeat(bounds[:-1], lengths)  # [T]
    place = np.repeat(order * S, lengths) + within  # [T], in the batch laid flat
    row_of = np.full(batch.ids.size, -1, np.int32)
    row_of[place] = np.arange(T)
    index: dict[Index, Int32] = {
        "token": batch.ids.reshape(-1)[place], "type": batch.types.reshape(-1)[place], "position": within,
    }  # fmt: skip
    if isinstance(position_index, Counted):
        counts = batch.ids != position_index.uncounted
        positions = np.cumsum(counts, axis=1) * counts + position_index.uncounted
        index[position_index] = positions.reshape(-1)[place].astype(np.int32)
    filling = -T % tile if tile else 0
    return Packed(
        order=order.astype(np.int32),
        bounds=bounds.astype(np.int32),
        index={kind: np.pad(of_kind.astype(np.int32), (0, filling)) for kind, of_kind in index.items()},
        rows=tuple(Rows(row_of[rows.index], rows.offsets, rows.weights) for rows in batch.rows),
    )
