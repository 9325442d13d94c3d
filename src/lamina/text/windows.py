"""Windows over long texts, and segments: the tokens of each window that each unit takes from it.

A text that fits is one window. A longer one is read in windows that overlap. Then either every token is taken from
the window where it stands deepest in context, that is furthest from the nearer cut edge (`centre`: each token counts
exactly once), or from every window that holds it, to be averaged (`mean`). Special tokens, and the first string of a
pair, stand in every window; they are taken from the first (those before the text) and the last (those after it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.errors import TextError
from lamina.spec import Overlap
from lamina.text.tokens import Int32, Int64, Tokens


@dataclass(frozen=True, slots=True)
class Windows:
    """W windows, in order of text and place; each is one sequence for the engine.

    text         [W]; the index of its text.
    origin       [W]; token t of `Tokens` stands at place t - origin of the window, if it is taken from it.
    length       [W]; its tokens, special ones included.
    first, last  [W]; the tokens that are taken from this window, first to last - 1 of `Tokens`. Neither ever decreases.
    """

    text: Int64
    origin: Int64
    length: Int64
    first: Int64
    last: Int64

    def __len__(self) -> int:
        return self.text.size


@dataclass(frozen=True, slots=True)
class Segments:
    """G segments, ordered by window: the tokens that one unit takes from one window.

    unit, window  [G].
    first, last   [G]; tokens of `Tokens`, first to last - 1; never empty.
    """

    unit: Int64
    window: Int64
    first: Int64
    last: Int64


def make_windows(tokens: Tokens, *, max_tokens: int, stride: int | None, overlap: Overlap = "centre") -> Windows:
    """Windows of at most `max_tokens` tokens, special ones included, `stride` tokens apart (None: three quarters).

    The last window ends with the text and is full, so all windows of a long text are equally long. Raises TextError
    where the first string of a pair leaves no room for the second.
    """
    low, counts = tokens.bounds[:-1], tokens.counts
    room = max_tokens - tokens.fixed - tokens.n_suffix  # [N]
    if not (counts > room).any():
        return Windows(np.arange(counts.size), low, tokens.sizes, low, tokens.bounds[1:])
    check_room(tokens, max_tokens)
    step = np.maximum(1, room * 3 // 4 if stride is None else np.minimum(stride, room))
    n_windows = np.where(counts > room, 1 + -(-(counts - room) // step), 1)
    text = np.repeat(np.arange(counts.size), n_windows)
    number = np.arange(text.size) - (np.cumsum(n_windows) - n_windows)[text]
    is_first, is_last = number == 0, number == n_windows[text] - 1
    start = np.minimum(number * step[text], np.maximum(counts - room, 0)[text])  # [W] tokens of the text before it
    end = np.minimum(start + room[text], counts[text])
    if overlap == "centre":  # the seam between two windows lies midway in what they share
        seam = (start + np.roll(end, 1) + 1) // 2
        first, last = seam, np.roll(seam, -1)
    else:
        first, last = start, end
    body = (low + tokens.fixed)[text]
    return Windows(
        text=text,
        origin=low[text] + start,
        length=tokens.fixed[text] + end - start + tokens.n_suffix,
        first=np.where(is_first, low[text], body + first),
        last=np.where(is_last, tokens.bounds[1:][text], body + last),
    )


def fill(rows: npt.NDArray[np.int32], values: Int32, tokens: Tokens, windows: Windows, which: Int64) -> None:
    """Write a value for each token (`values` [T]) of the windows `which` [B] into the start of each row [B, S]."""
    for row, window in zip(rows, which.tolist(), strict=True):
        text, origin, length = int(windows.text[window]), int(windows.origin[window]), int(windows.length[window])
        low, high = int(tokens.bounds[text]), int(tokens.bounds[text + 1])
        if length == high - low:
            row[:length] = values[low:high]
            continue
        before, after = int(tokens.fixed[text]), tokens.n_suffix
        row[:before] = values[low : low + before]
        row[before : length - after] = values[origin + before : origin + length - after]
        row[length - after : length] = values[high - after : high]


def make_segments(first: Int64, last: Int64, windows: Windows) -> Segments:
    """Cut each unit's tokens (first to last - 1 of `Tokens`, [U]) into what is taken from each window."""
    unit = np.flatnonzero(first < last)
    first, last = first[unit], last[unit]
    window = np.searchsorted(windows.last, first, side="right")
    n_parts = np.searchsorted(windows.first, last, side="left") - window
    if (n_parts > 1).any():
        part = np.arange(int(n_parts.sum())) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        unit, window = np.repeat(unit, n_parts), np.repeat(window, n_parts) + part
        first, last = np.repeat(first, n_parts), np.repeat(last, n_parts)
        first, last = np.maximum(first, windows.first[window]), np.minimum(last, windows.last[window])
        full = first < last  # a window of a text without any token takes nothing
        unit, window, first, last = unit[full], window[full], first[full], last[full]
    order = np.argsort(window, kind="stable")
    return Segments(unit[order], window[order], first[order], last[order])


def n_taken(tokens: Tokens, windows: Windows) -> Int64:
    """From how many windows each token is taken, [T]: 1 everywhere where seams divide them."""
    change = np.zeros(tokens.ids.size + 1, np.int64)
    np.add.at(change, windows.first, 1)
    np.add.at(change, windows.last, -1)
    return np.cumsum(change)[:-1]


def check_lengths(tokens: Tokens, *, max_tokens: int) -> None:
    """Raise TextError for the texts that are longer than `max_tokens` tokens, special ones included."""
    counts = tokens.sizes
    too_long = np.flatnonzero(counts > max_tokens).tolist()
    advice = "long='window' reads it whole, long='truncate' cuts it"
    if too_long:
        raise TextError.of({i: f"has {counts[i]:,} tokens, more than {max_tokens:,}; {advice}" for i in too_long})


def check_room(tokens: Tokens, max_tokens: int) -> None:
    """Raise TextError for the pairs that are too long and whose first string leaves no room for the second."""
    room = max_tokens - tokens.fixed - tokens.n_suffix
    cramped = np.flatnonzero((tokens.counts > room) & (room < 1)).tolist()
    advice = "leaves no room for the second; put the longer text second, or cut it"
    taken = {i: f"{tokens.fixed[i]:,} of {max_tokens:,} tokens" for i in cramped}
    if cramped:
        raise TextError.of({i: f"is a pair whose first text takes {said} and {advice}" for i, said in taken.items()})
