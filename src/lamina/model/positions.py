"""Where tokens stand: rotary angles, and the row of a table that belongs to the distance between two places.

Pure numpy over integers and angles; knows neither weights nor texts. Every formula is computed in float32 exactly as
the checkpoints were trained with it: the buckets are rounded logarithms, and another rounding is another bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Counted:
    """Positions as RoBERTa counts them: from uncounted + 1 on; the token `uncounted` (padding) takes none."""

    uncounted: int


@dataclass(frozen=True, slots=True)
class Distances:
    """A table of `n_rows` rows, one for each distance or bucket of distances between a query and a key.

    rule       clipped  a row for each distance, those beyond the ends sharing the end's (DeBERTa);
               ceiled   exact distances up to half the buckets, then logarithms rounded up (DeBERTa v2, v3);
               floored  exact up to a quarter of the buckets, then logarithms rounded down (T5, MPNet).
    n_buckets  of both directions together for `floored`, of each direction for the others.
    furthest   the distance at which the last bucket begins.
    """

    rule: Literal["clipped", "ceiled", "floored"]
    n_rows: int
    n_buckets: int
    furthest: int

    def rows(self, distance: Int64) -> Int32:
        """The row for each distance, query's place minus key's place; of the same shape."""
        return RULES[self.rule](distance, self.n_buckets, self.furthest).astype(np.int32)


def places_apart(n: int) -> Int64:
    """Query's place minus key's place, [n, n]."""
    places = np.arange(n)
    return places[:, None] - places


def rotary_angles(theta: float, n: int, width: int) -> tuple[Float32, Float32]:
    """Cosine and sine, [n, width] each, by which the two halves of a head are turned at each place.

    Source: Su et al. 2021, section 3.2.2; halves instead of neighbours as in GPT-NeoX.
    """
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    frequencies = np.float32(1) / np.float32(theta) ** exponents  # [width / 2]
    angles = np.arange(n, dtype=np.float32)[:, None] * frequencies
    both = np.concatenate((angles, angles), axis=-1).astype(np.float64)  # [n, width]
    return np.cos(both).astype(np.float32), np.sin(both).astype(np.float32)


def _clipped(distance: Int64, n_buckets: int, furthest: int) -> Int64:  # noqa: ARG001  (as the other rules)
    """Source: He et al. 2020 (DeBERTa), equation 3."""
    return np.clip(distance + n_buckets, 0, 2 * n_buckets - 1)


def _ceiled(distance: Int64, n_buckets: int, furthest: int) -> Int64:
    """Source: the authors' code of DeBERTa v2, `make_log_bucket_position`."""
    exact = n_buckets // 2
    away = np.maximum(np.abs(distance), exact)  # logarithms of the others are never used
    whole = np.log(np.float32((furthest - 1) / exact))
    logarithm = np.log(away.astype(np.float32) / np.float32(exact)) / whole * np.float32(exact - 1)
    beyond = np.sign(distance) * (np.ceil(logarithm).astype(np.int64) + exact)
    return _clipped(np.where(np.abs(distance) <= exact, distance, beyond), n_buckets, furthest)


def _floored(distance: Int64, n_buckets: int, furthest: int) -> Int64:
    """Source: Raffel et al. 2019 (T5), section 2.1, and its code; MPNet took it over."""
    one_way = n_buckets // 2
    exact = one_way // 2
    away = np.maximum(np.abs(distance), exact).astype(np.float32)
    whole = np.float32(log(furthest / exact))
    logarithm = np.log(away / np.float32(exact)) / whole * np.float32(one_way - exact)
    beyond = np.minimum(logarithm.astype(np.int64) + exact, one_way - 1)
    return np.where(distance < 0, one_way, 0) + np.where(np.abs(distance) < exact, np.abs(distance), beyond)


RULES = {"clipped": _clipped, "ceiled": _ceiled, "floored": _floored}
