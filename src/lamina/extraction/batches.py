"""Batches: windows of one padded length, or of any for an engine that packs, as many as a token budget holds.

A window's padded length depends on its own length alone. That, and an engine that keeps to its contract, is why a
text's vectors cannot depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lamina.engine.batch import Batch, round_down
from lamina.engine.batch import Rows as ReducedRows
from lamina.extraction.chunk import Chunk, ChunkView
from lamina.extraction.weighting import ragged
from lamina.text.tokens import Int64
from lamina.text.windows import fill

STEP = 8  # padded lengths are multiples of it: 4.5 % of tokens are then padding on mixed texts


def padded_length(length: Int64, max_positions: int, *, fine_tokens: int | None = None) -> Int64:
    """The next multiple of STEP, of twice that where it is beyond `fine_tokens`; never beyond the model's positions."""
    padded = -(-length // STEP) * STEP
    if fine_tokens is not None:
        padded = np.where(padded > fine_tokens, -(-length // (2 * STEP)) * 2 * STEP, padded)
    return np.minimum(padded, max_positions)


def make_batches(
    chunk: Chunk, *, batch_tokens: int, max_positions: int, packs: bool, fine_tokens: int | None = None
) -> Iterator[tuple[Batch, tuple[Int64, ...]]]:
    """The batches of a chunk, longest texts first, each with the segments of each view that it computes.

    A window from which no unit takes a token is not computed. For an engine that `packs`, a batch holds windows of any
    lengths, and padding does not count towards the budget; for any other, as many of one length as are a round number.
    `fine_tokens` is the engine's.
    """
    n_windows = len(chunk.windows)
    counts = [np.bincount(view.segments.window, minlength=n_windows) for view in chunk.views]
    bounds = [np.concatenate(([0], np.cumsum(of_view))) for of_view in counts]
    needed = np.flatnonzero(sum(counts))
    length = chunk.windows.length[needed]
    cost = length if packs else padded_length(length, max_positions, fine_tokens=fine_tokens)
    by_length = np.argsort(-cost, kind="stable")
    needed, cost = needed[by_length], cost[by_length]
    total = np.concatenate(([0], np.cumsum(cost)))
    typed = bool(chunk.tokens.types.any())  # once: a long text has as many tokens as batches have together
    low = 0
    while low < needed.size:
        S = int(cost[low])
        if packs:
            high = max(low + 1, int(np.searchsorted(total, total[low] + batch_tokens, side="right")) - 1)
        else:
            high = low + round_down(max(1, batch_tokens // S))
            high = min(high, int(np.searchsorted(-cost, -S, side="right")))
        windows = needed[low:high]
        segments = tuple(ragged(bound[windows], count[windows]) for bound, count in zip(bounds, counts, strict=True))
        yield _batch(chunk, windows, segments, S, typed=typed), segments
        low = high


def _batch(chunk: Chunk, windows: Int64, segments: tuple[Int64, ...], S: int, *, typed: bool) -> Batch:
    ids, types = np.zeros((2, windows.size, S), np.int32)  # [B, S] each
    fill(ids, chunk.tokens.ids, chunk.tokens, chunk.windows, windows)
    if typed:
        fill(types, chunk.tokens.types, chunk.tokens, chunk.windows, windows)
    # Token t of `Tokens`, taken from window w, stands at place t + shift[w] of the batch laid flat.
    shift = np.zeros(len(chunk.windows), np.int64)
    shift[windows] = np.arange(windows.size) * S - chunk.windows.origin[windows]
    rows = tuple(_rows(view, of_view, shift) for view, of_view in zip(chunk.views, segments, strict=True))
    return Batch(ids, types, chunk.windows.length[windows].astype(np.int32), rows)


def _rows(view: ChunkView, segments: Int64, shift: Int64) -> ReducedRows:
    held = view.segments
    first = held.first[segments]
    counts = held.last[segments] - first
    tokens = ragged(first, counts)  # [N]
    places = tokens + np.repeat(shift[held.window[segments]], counts)
    offsets = np.cumsum(counts) - counts
    of_place = None
    if view.weights is not None:
        of_place = view.weights[tokens]
    if view.pool == "position":  # 1 for a unit's first token, 2 for its second …
        place = (tokens - np.repeat(view.origin[held.unit[segments]], counts) + 1).astype(np.float32)
        of_place = place if of_place is None else of_place * place
    return ReducedRows(places.astype(np.int32), offsets.astype(np.int32), of_place)
