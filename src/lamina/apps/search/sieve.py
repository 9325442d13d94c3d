"""What may be among the k best of each query, kept while blocks of products come in, from several threads.

Comes in: float32 products that are off by a known bound. Goes out: pairs of a query and a place among which the k best
of each query are, in whatever order the blocks came. Shapes: Q queries, R vectors of a block, k results, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Pairs = tuple[Int64, Int64, Float32]  # query, place, product

GROUP = 32  # queries compared with one number: three times as fast as each with its own
NEW = 2  # products a query, about, that come in before it is looked which are the best now


@dataclass(slots=True, eq=False)
class Sieve:
    """Pairs that may be among the k best; `Sieve.begun` makes one of the products with the first vectors.

    best   [Q, k] the k largest products so far, or some time ago, the least of them first.
    slack  [Q] how much smaller the product of a pair may be that is as good.
    score  the exact scores of pairs of a query and a place.
    limit  pairs held at most, about: beyond it they are scored, and all but k a query are dropped.
    least  [Q] what a product must reach; it grows.
    """

    best: Float32
    slack: Float64
    score: Callable[[Int64, Int64], Float64]
    limit: int
    least: Float32 = field(init=False)
    _held: list[Pairs] = field(default_factory=list)
    _new: list[Pairs] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def begun(
        cls, products: Float32, k: int, slack: Float64, *, score: Callable[[Int64, Int64], Float64], limit: int
    ) -> Sieve:
        """Of the products [Q, R] with the first vectors, at least k."""
        made = cls(np.partition(products, products.shape[1] - k, axis=1)[:, -k:], slack, score, limit)
        query, place = np.nonzero(products >= made.least[:, None])
        made._held.append((query, place, products[query, place]))
        return made

    def __post_init__(self) -> None:
        self._raise_least()

    def add(self, query: Int64, place: Int64, product: Float32) -> None:
        """Pairs of which no other call has said anything."""
        if not query.size:
            return
        with self._lock:
            self._new.append((query, place, product))
            if sum(part[0].size for part in self._new) >= NEW * len(self.best):
                self._take_in()

    def pairs(self) -> tuple[Int64, Int64]:
        """All pairs that may be among the k best, and few others."""
        query, place, _ = self._filtered([*self._held, *self._new])
        return query, place

    def _take_in(self) -> None:
        query, place, product = _joined(self._new)
        self.best = _merged(self.best, query, product)
        self._raise_least()
        self._held.append((query, place, product))
        self._new = []
        if sum(part[0].size for part in self._held) > self.limit:
            self._held = [self._thinned()]

    def _raise_least(self) -> None:
        least = (self.best[:, 0] - self.slack).astype(np.float32)
        self.least = np.nextafter(least, np.float32(-np.inf))

    def _filtered(self, held: list[Pairs]) -> Pairs:
        query, place, product = _joined(held)
        stay = product >= self.least[query]
        return query[stay], place[stay], product[stay]

    def _thinned(self) -> Pairs:
        """The pairs without those that are none any more; where too many are as good (copies of one vector), only the k
        best of each query by score and place: what is dropped stands behind k others, whatever still comes."""
        query, place, product = self._filtered(self._held)
        if query.size <= self.limit // 2:
            return query, place, product
        order = np.lexsort((place, -self.score(query, place), query))
        kept = order[rank_within(query[order]) < self.best.shape[1]]
        return query[kept], place[kept], product[kept]


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """A thread's memory for a block's products and their comparison, taken once: new memory a block cost 15 %."""

    numbers: Float32
    flags: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, n_queries: int, n_rows: int) -> Room:
        return cls(np.empty(n_queries * n_rows, np.float32), np.zeros(n_queries * n_rows + 7, np.bool_))

    def products(self, queries: Float32, block: Float32) -> Float32:
        """[Q, R]. One or two queries by products with a vector, which read memory three times as fast as OpenBLAS's
        product of so narrow a matrix does."""
        out = self.numbers[: len(queries) * len(block)].reshape(len(queries), len(block))
        if len(queries) > 2:
            return np.matmul(queries, block.T, out=out)
        for query, row in zip(queries, out, strict=True):
            np.matmul(block, query, out=row)
        return out

    def at_least(self, products: Float32, least: Float32) -> Pairs:
        """Query, place and value of the products that reach `least` [Q]: few of many. The queries stand in the order of
        what they want, or nearly, so that a group's least is near to that of each."""
        n, n_rows = products.size, products.shape[1]
        flags = self.flags[: n + -n % 8]
        flags[n:] = False
        enough = flags[:n].reshape(products.shape)
        lows = range(0, len(least), GROUP)
        for low, of_group in zip(lows, np.minimum.reduceat(least, lows), strict=True):
            some = slice(low, low + GROUP)
            np.greater_equal(products[some], of_group, out=enough[some])
        eights = flags.reshape(-1, 8)
        met = np.flatnonzero(flags.view(np.uint64).astype(np.bool_))  # eight at once: a third of the time
        which, place = np.nonzero(eights[met])
        flat = met[which] * 8 + place
        query, row = np.divmod(flat, n_rows)
        value = products.reshape(-1)[flat]
        stay = value >= least[query]
        return query[stay], row[stay], value[stay]


def rank_within(query: Int64) -> Int64:
    """How many of the same query stand before each, where equal ones stand together and ascend."""
    first = np.searchsorted(query, query, side="left")
    return np.arange(query.size) - first


def _joined(parts: list[Pairs]) -> Pairs:
    query, place, product = (np.concatenate(part) for part in zip(*parts, strict=True))
    return query, place, product


def _merged(best: Float32, query: Int64, product: Float32) -> Float32:
    """The k largest of each query's k so far and its new products."""
    order = np.argsort(query, kind="stable")
    query, k = query[order], best.shape[1]
    rank = rank_within(query)
    padded = np.full((len(best), k + int(rank.max()) + 1), -np.inf, np.float32)
    padded[:, :k] = best
    padded[query, k + rank] = product[order]
    return np.partition(padded, padded.shape[1] - k, axis=1)[:, -k:]
