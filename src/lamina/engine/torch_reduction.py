"""Reductions where the states are born: rows of places summed, weighted or maximised on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from lamina.engine.batch import Reduction, Rows


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """A reduction's rows on a device.

    index    int32 [N]; packed rows.
    offsets  int32 [U]; where each row's places begin.
    weights  float32 [N], for a weighted sum.
    are_single  whether each row is one place.
    shrunk   float16 only, where sums of many numbers would overflow: a power of two for each place, [N], by which it
             is multiplied before it is summed, and `grown` [U, 1], by which the sum is multiplied after.
    """

    index: Tensor
    offsets: Tensor
    weights: Tensor | None
    are_single: bool
    shrunk: Tensor | None = None
    grown: Tensor | None = None


def place_rows(rows: Rows, on_device: Iterator[Tensor], dtype: torch.dtype) -> PlacedRows:
    """Rows whose arrays come next among those on the device."""
    index, offsets = next(on_device), next(on_device)
    weights = None if rows.weights is None else next(on_device)
    counts = rows.counts
    are_single = rows.index.size == rows.offsets.size
    if dtype != torch.float16 or are_single:
        return PlacedRows(index, offsets, weights, are_single)
    grown = np.exp2(np.ceil(np.log2(counts))).astype(np.float32)
    shrunk = torch.from_numpy(np.repeat(1 / grown, counts)).to(index.device, dtype)
    return PlacedRows(index, offsets, weights, are_single, shrunk, torch.from_numpy(grown[:, None]).to(index.device))


def reduced(state: Tensor, rows: PlacedRows, kind: Reduction) -> Tensor:
    """Rows [U, D] of a state [R, D]: float32, or as the state is where a row is one place.

    The bag adds a row's places one after the other, in float32 whatever the state is, so a row does not depend on the
    others; its sums of 16-bit numbers are rounded to 16 bits once. Weights are not rounded: then the state is widened.
    """
    if rows.weights is not None:
        return embedding_bag(rows.index, state.float(), rows.offsets, mode="sum", per_sample_weights=rows.weights)
    if rows.are_single:
        return state.index_select(0, rows.index)
    if kind == "max":
        return embedding_bag(rows.index, state, rows.offsets, mode="max").float()
    found = embedding_bag(rows.index, state, rows.offsets, mode="sum", per_sample_weights=rows.shrunk).float()
    return found if rows.grown is None else found * rows.grown
