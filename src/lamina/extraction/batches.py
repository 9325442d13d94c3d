"""Batches: windows of one padded length, as many as a token budget holds.

A window's padded length depends on its own length alone. That, and an engine that keeps to its contract, is why a
text's vectors cannot depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lamina.engine.batch import Batch
from lamina.engine.batch import Rows as ReducedRows
from lamina.extraction.chunk import Chunk, ragged
from lamina.text.tokenizer import Int64
from lamina.text.windows import ids_into

STEP = 8  # padded lengths are multiples of it: 4.5 % of tokens are then padding on mixed texts
BATCH_TOKENS = 2048  # the default budget: on two cores, 1,000 to 4,000 ran at the same rate within the noise


def padded_length(length: Int64, max_positions: int) -> Int64:
    """The next multiple of STEP, never beyond the model's positions."""
    return np.minimum(-(-length // STEP) * STEP, max_positions)


def make_batches(chunk: Chunk, *, batch_tokens: int, max_positions: int) -> Iterator[tuple[Batch, Int64]]:
    """The batches of a chunk, longest texts first, each with the segments (of `chunk.segments`) that it computes.

    A window from which no unit takes a token is not computed.
    """
    segments = chunk.segments
    n_segments = np.bincount(segments.window, minlength=len(chunk.windows))
    segment_bounds = np.concatenate(([0], np.cumsum(n_segments)))
    needed = np.flatnonzero(n_segments)
    padded = padded_length(chunk.windows.length[needed], max_positions)
    by_length = np.argsort(-padded, kind="stable")
    needed, padded = needed[by_length], padded[by_length]
    low = 0
    while low < needed.size:
        S = int(padded[low])
        same = int(np.searchsorted(-padded, -S, side="right"))
        high = min(same, low + max(1, batch_tokens // S))
        windows = needed[low:high]
        own = ragged(segment_bounds[windows], n_segments[windows])
        yield _batch(chunk, windows, own, np.repeat(np.arange(high - low), n_segments[windows]), S), own
        low = high


def _batch(chunk: Chunk, windows: Int64, segments: Int64, sequence: Int64, S: int) -> Batch:
    ids = np.zeros((windows.size, S), np.int32)  # [B, S]
    for row, window in zip(ids, windows.tolist(), strict=True):
        ids_into(row, chunk.tokens, chunk.windows, window)
    first = chunk.segments.first[segments]
    counts = chunk.segments.last[segments] - first
    rows = ReducedRows(
        index=ragged(sequence * S + first, counts).astype(np.int32),
        offsets=(np.cumsum(counts) - counts).astype(np.int32),
    )
    return Batch(ids, np.zeros_like(ids), chunk.windows.length[windows].astype(np.int32), (rows,))
