"""What tokens weigh in the pool of a unit, and what the unit's sum is divided by."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import Float32
from lamina.spec import Pool
from lamina.text.tokens import Int64


def token_weights(pool: Pool, rarity: Float32 | None, n_taken: Int64 | None) -> Float32 | None:
    """The weight of each token [T] but for its place in the unit; None where all weigh 1.

    rarity   [T]; how rare each token is, for `idf`.
    n_taken  [T]; from how many windows each token is taken, where they are averaged.
    """
    if pool != "idf":
        rarity = None
    if n_taken is None:
        return rarity
    shares: Float32 = (1 / n_taken).astype(np.float32)
    return shares if rarity is None else rarity * shares


def divisors(pool: Pool, origin: Int64, first: Int64, last: Int64, rarity: Float32 | None) -> Float32 | None:
    """What each unit's sum is divided by, [U]: its tokens' weights, whole; None where the sum stays as it is.

    origin       [U]; the token from which the weights of `position` count.
    first, last  [U]; the tokens that are reduced. A unit without any gets 1: its row is NaN anyway.
    """
    n = np.maximum(last - first, 1)
    by_count: dict[str, npt.NDArray[Any]] = {
        "mean": n,
        "sqrt": np.sqrt(n),
        "position": np.maximum(_triangle(last - origin) - _triangle(first - origin), 1),
    }
    if pool in by_count:
        return by_count[pool].astype(np.float32, copy=False)
    if pool != "idf":
        return None
    assert rarity is not None
    total = np.ones(first.size, np.float32)
    filled = np.flatnonzero(first < last)
    if filled.size:
        counts = (last - first)[filled]
        total[filled] = np.add.reduceat(rarity[ragged(first[filled], counts)], np.cumsum(counts) - counts)
    return total


def ragged(starts: Int64, counts: Int64) -> Int64:
    """The ranges starts[i], starts[i] + 1, … of counts[i] numbers each, laid end to end."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if ends.size else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)


def is_each_once(numbers: Int64, n: int) -> bool:
    """Whether numbers from 0 to n - 1 are each of these once, in order."""
    return numbers.size == n and bool((numbers[1:] - numbers[:-1] == 1).all())


def _triangle(n: Int64) -> Int64:
    """1 + 2 + … + n."""
    return n * (n + 1) // 2
