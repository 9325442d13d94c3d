"""Vectors of ranges of words (phrases, names), from the vectors of the words in their text.

A mean over a range's tokens, as extracting it with `unit="span"` gives, without the model: words are means over their
tokens, so each counts as often as it has tokens. Shapes: W words, R ranges, G groups of ranges, D width.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lamina.embeddings import Vectors

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

AT_ONCE = 16_384  # words gathered at once, about: 48 MB of float64 at a width of 384


def token_sums(vectors: Vectors, n_tokens: Int64, first: Int64, last: Int64, group: Int64, n: int) -> Float64:
    """The sums of the token vectors of ranges `first` to `last` - 1 [R] of words, for each of n groups: [G, D].

    vectors   [W, D] means over each word's tokens, `n_tokens` [W] of them; those of none count nothing.
    group     [R] ascending. A group's sum is taken in the order of its ranges, whatever the others are.
    """
    result = np.zeros((n, vectors.shape[1]), np.float64)
    lengths = last - first
    ends = np.cumsum(lengths)
    for low, high in _blocks(ends):
        words = _expanded(first[low:high], lengths[low:high])
        groups = np.repeat(group[low:high], lengths[low:high])
        if not words.size:
            continue
        values = np.nan_to_num(np.asarray(vectors[words], np.float64))
        values *= n_tokens[words][:, None]
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        result[groups[starts]] += np.add.reduceat(values, starts, axis=0)
    return result


def token_counts(n_tokens: Int64, first: Int64, last: Int64) -> Int64:
    """How many tokens each range [R] of words has."""
    before = np.concatenate(([0], np.cumsum(n_tokens)))
    counts: Int64 = before[last] - before[first]
    return counts


def _blocks(ends: Int64) -> list[tuple[int, int]]:
    """The ranges in runs of about AT_ONCE words."""
    total = int(ends[-1]) if ends.size else 0
    cuts = np.searchsorted(ends, np.arange(AT_ONCE, total, AT_ONCE), side="left").tolist()
    return [(low, high) for low, high in pairwise(sorted({0, *cuts, ends.size})) if low < high]


def _expanded(first: Int64, lengths: Int64) -> Int64:
    """The words of all ranges, one range after the other."""
    before = np.cumsum(lengths) - lengths
    words: Int64 = np.repeat(first - before, lengths) + np.arange(int(lengths.sum()))
    return words
