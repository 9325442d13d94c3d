"""A chunk in parts, where one text alone has more vectors than a chunk may hold: units in their order, windows shared.

A part has the tokens and windows of the whole chunk and some of its rows; the windows that these need are computed for
it, so one that two parts share is computed twice, to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from lamina.extraction.chunk import Chunk, ChunkView
from lamina.extraction.plan import Plan
from lamina.extraction.regroup import room
from lamina.text.tokens import Int64
from lamina.text.windows import Segments

Start = tuple[int, int]  # a text's number in the input, and how many of its rows come before


def parts_of(
    chunk: Chunk, plan: Plan, *, first_row: int, starts: Mapping[str, Start], batch_tokens: int
) -> Iterator[Chunk]:
    """A chunk, whose first text is number `first_row`, in parts with vectors of at most `room` (or those of one
    batch): mostly itself.

    starts  for a view by its name, where the rows begin that are wanted; those before are left out.
    """
    size = plan.number_bytes
    limit = max(room(plan, batch_tokens), batch_tokens * sum(size * view.view.n_numbers for view in chunk.views))
    if not starts and sum(size * view.rows.size * view.view.n_numbers for view in chunk.views) <= limit:
        yield chunk
        return
    names = [name for name, view in plan.views.items() for _ in view.pools]
    ends = [_ends(view, chunk.n_texts, first_row) for view in chunk.views]
    lows = [_low(starts.get(name, (0, 0)), of_view, first_row) for name, of_view in zip(names, ends, strict=True)]
    n_bytes = sum(
        size * (view.rows.size - low) * view.view.n_numbers for view, (_, low) in zip(chunk.views, lows, strict=True)
    )
    n_parts = max(1, -(-n_bytes // limit))
    if n_parts == 1 and not any(text or low for text, low in lows):
        yield chunk
        return
    for i in range(n_parts):
        views = []
        for view, of_view, (text, low) in zip(chunk.views, ends, lows, strict=True):
            a, b = (low + (view.rows.size - low) * k // n_parts for k in (i, i + 1))
            done = text if i == 0 else int(np.searchsorted(of_view, a, side="right"))
            ended = chunk.n_texts if i == n_parts - 1 else int(np.searchsorted(of_view, b, side="right"))
            views.append(_between(view, a, b, n_texts=max(0, ended - done)))
        yield replace(chunk, views=tuple(views))


def _ends(view: ChunkView, n_texts: int, first_row: int) -> Int64:
    """Where the rows of each text end, [N]."""
    text = view.table.column("text_id").to_numpy() - first_row
    ends: Int64 = np.cumsum(np.bincount(text, minlength=n_texts))
    return ends


def _low(start: Start, ends: Int64, first_row: int) -> tuple[int, int]:
    """The text of the chunk, and the row, at which what is wanted begins."""
    text = min(max(0, start[0] - first_row), ends.size)
    before = int(ends[text - 1]) if text else 0
    return text, before + (start[1] if start[0] - first_row == text < ends.size else 0)


def _between(view: ChunkView, low: int, high: int, *, n_texts: int) -> ChunkView:
    """Some rows of a view, with what they need."""
    units, rows = np.unique(view.rows[low:high], return_inverse=True)
    number = np.full(view.n_units, -1, np.int64)
    number[units] = np.arange(units.size)
    unit = number[view.segments.unit]
    kept = unit >= 0
    held = view.segments
    segments = Segments(unit[kept], held.window[kept], held.first[kept], held.last[kept])
    return replace(
        view,
        segments=segments,
        origin=view.origin[units],
        divisor=None if view.divisor is None else view.divisor[units],
        rows=rows,
        table=view.table.slice(low, high - low),
        n_texts=n_texts,
    )
