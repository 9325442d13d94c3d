"""Windows over long texts, and segments: the tokens of each window that each unit takes from it.

A text that fits is one window. A longer one is read in windows that overlap; every token is taken from the window
where it stands deepest in context, that is furthest from the nearer cut edge, so each token counts exactly once and
a mean over the text is exact. Special tokens stand in every window and are taken from the first (those before
the text) and the last (those after it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lamina.errors import TextError
from lamina.text.tokenizer import Int32, Int64, Tokens


@dataclass(frozen=True, slots=True)
class Windows:
    """W windows, in order of text and place; each is one sequence for the engine.

    text    [W]; the index of its text.
    origin  [W]; token t of `Tokens` stands at place t - origin of the window (its special tokens: see `ids_into`).
    length  [W]; its tokens, special ones included.
    owned   [W]; the first token that is taken from this window; it owns up to the next window's first.
    """

    text: Int64
    origin: Int64
    length: Int64
    owned: Int64

    def __len__(self) -> int:
        return self.text.size


@dataclass(frozen=True, slots=True)
class Segments:
    """G segments, ordered by window: the tokens that one unit takes from one window.

    unit, window  [G].
    first, last   [G]; places in the window, first to last - 1; never empty.
    """

    unit: Int64
    window: Int64
    first: Int64
    last: Int64


def make_windows(tokens: Tokens, *, max_tokens: int, stride: int | None) -> Windows:
    """Windows of at most `max_tokens` tokens, special ones included, `stride` tokens apart (None: three quarters).

    The last window ends with the text and is full, so all windows of a long text are equally long. `stride` is at
    most what fits between the special tokens.
    """
    room = max_tokens - tokens.n_prefix - tokens.n_suffix
    step = max(1, room * 3 // 4) if stride is None else stride
    low, counts = tokens.bounds[:-1], tokens.counts
    long = np.flatnonzero(counts > room)
    if not long.size:
        return Windows(np.arange(counts.size), low, np.diff(tokens.bounds), low)
    n_windows = np.ones(counts.size, np.int64)
    n_windows[long] = 1 + -(-(counts[long] - room) // step)
    text = np.repeat(np.arange(counts.size), n_windows)
    number = np.arange(text.size) - np.concatenate(([0], np.cumsum(n_windows)))[text]
    start = np.minimum(number * step, np.maximum(counts[text] - room, 0))  # [W] ordinary tokens before the window
    # The seam between two windows lies midway in what they share; before the first window lies nothing.
    previous_end = np.roll(start, 1) + room
    seam = tokens.n_prefix + (start + previous_end + 1) // 2
    origin = low[text] + start
    return Windows(
        text=text,
        origin=origin,
        length=np.minimum(counts[text], room) + tokens.n_prefix + tokens.n_suffix,
        owned=np.where(number == 0, low[text], low[text] + seam),
    )


def ids_into(row: Int32, tokens: Tokens, windows: Windows, window: int) -> None:
    """Write the token ids of one window into the start of `row`."""
    text, origin, length = int(windows.text[window]), int(windows.origin[window]), int(windows.length[window])
    low, high = int(tokens.bounds[text]), int(tokens.bounds[text + 1])
    if length == high - low:
        row[:length] = tokens.ids[low:high]
        return
    before, after = tokens.n_prefix, tokens.n_suffix
    row[:before] = tokens.ids[low : low + before]
    row[before : length - after] = tokens.ids[origin + before : origin + length - after]
    row[length - after : length] = tokens.ids[high - after : high]


def make_segments(first: Int64, last: Int64, windows: Windows) -> Segments:
    """Cut each unit's tokens (first to last - 1 of `Tokens`, [U]) at the seams between windows."""
    unit = np.flatnonzero(first < last)
    first, last = first[unit], last[unit]
    window = np.searchsorted(windows.owned, first, side="right") - 1
    n_parts = np.searchsorted(windows.owned, last - 1, side="right") - window
    if (n_parts > 1).any():
        part = np.arange(int(n_parts.sum())) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        unit, window = np.repeat(unit, n_parts), np.repeat(window, n_parts) + part
        first, last = np.repeat(first, n_parts), np.repeat(last, n_parts)
        ends = np.append(windows.owned[1:], np.iinfo(np.int64).max)[window]
        first, last = np.maximum(first, windows.owned[window]), np.minimum(last, ends)
    origin = windows.origin[window]
    order = np.argsort(window, kind="stable")
    return Segments(unit[order], window[order], (first - origin)[order], (last - origin)[order])


def check_lengths(tokens: Tokens, *, max_tokens: int, first_row: int) -> None:
    """Raise TextError for the first text that is longer than `max_tokens` tokens, special ones included."""
    too_long = np.flatnonzero(np.diff(tokens.bounds) > max_tokens)
    if too_long.size:
        text = int(too_long[0])
        count = int(tokens.bounds[text + 1] - tokens.bounds[text])
        raise TextError(
            f"text {first_row + text} has {count:,} tokens, more than {max_tokens:,}; "
            "long='window' reads it whole, long='truncate' cuts it",
            row=first_row + text,
        )
