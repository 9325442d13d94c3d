"""Exact search: the k vectors with the largest scores, each score the same whatever it was computed with.

Two steps. A product of matrices in float32, as fast as the machine multiplies, leaves out what cannot be among the k;
its rounding is bounded, so nothing is left out wrongly. What stays is scored again in float64, row by row. So the rows,
their order and the bits of their scores depend neither on the number of queries nor on blocks, threads or the library
that multiplies, and equal scores stand by row number.

Shapes: Q queries, N vectors, D width, k results, P pairs of a query and a vector.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lamina.embeddings import Vectors, unit_length
from lamina.errors import SpecError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

Metric = Literal["cosine", "dot"]
METRICS = get_args(Metric)

QUERIES = 512  # multiplied at once
PRODUCTS = 1 << 20  # held at once by a thread, about, in float32
ROWS = (2048, 65536)  # least and most vectors multiplied at once: a single query wants long runs of memory
THREADS = 8  # at most: while one thread sifts its products, another's are multiplied
RESCORED = 256  # pairs scored in float64 at once: what stays in the cache
CANDIDATES = 1 << 21  # held at most: beyond it they are scored, and all but k a query are dropped


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best rows of each query, best first.

    rows    [Q, k]; -1 where there are fewer than k.
    scores  [Q, k] float64; NaN there.
    """

    rows: Int64
    scores: Float64

    def __len__(self) -> int:
        return len(self.rows)


def prepared(vectors: Float32, metric: Metric) -> Float32:
    """Vectors [N, D] as they are compared: of unit length for `cosine`. Raises SpecError for another metric."""
    check_metric(metric)
    return unit_length(vectors) if metric == "cosine" else vectors


def check_metric(metric: str) -> None:
    """Raises SpecError for a metric that is not known."""
    if metric not in METRICS:
        raise SpecError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")


def longest(vectors: Vectors) -> float:
    """The largest Euclidean length of vectors [N, D]; 0 of none."""
    squares = (np.einsum("nd,nd->n", block, block) for _, block in _blocks(vectors, None, ROWS[0]))
    return max((float(np.sqrt(of_block.max(initial=0.0))) for of_block in squares), default=0.0)


def nearest(queries: Float32, vectors: Vectors, k: int, *, bound: float, rows: Int64 | None = None) -> Found:
    """The k vectors whose products with each query are largest.

    queries, vectors  [Q, D] and [N, D], prepared; the vectors float32 or float16, perhaps memory-mapped.
    bound             no vector is longer: what `longest` gives.
    rows              only these, ascending; None: all.

    Raises SpecError for a k below 1, another width, or a query that is not finite.
    """
    _check(queries, vectors, k)
    n = len(vectors) if rows is None else rows.size
    found = Found(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan))

    def fill(low: int) -> None:
        some = slice(low, low + QUERIES)
        candidates = _candidates(queries[some], vectors, min(k, n), bound, rows)
        _put(found.rows[some], found.scores[some], *candidates)

    lows = range(0, len(queries) if n else 0, QUERIES)
    if len(lows) < 2:
        list(map(fill, lows))
    else:
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            list(pool.map(fill, lows))
    return found


def best_of(query: Int64, row: Int64, score: Float64, *, n_queries: int, k: int) -> Found:
    """The k best of scored pairs, for each query the largest scores first, equal ones by row number."""
    found = Found(np.full((n_queries, k), -1, np.int64), np.full((n_queries, k), np.nan))
    _put(found.rows, found.scores, query, row, score)
    return found


def pair_scores(queries: Float32, vectors: Vectors, query: Int64, row: Int64) -> Float64:
    """The product of each pair of a query and a vector, [P] float64, each by itself: always the same bits."""
    scores, wide = np.empty(query.size, np.float64), queries.astype(np.float64)
    for low in range(0, query.size, RESCORED):
        some = slice(low, low + RESCORED)
        products = vectors[row[some]].astype(np.float64)
        products *= wide[query[some]]
        scores[some] = products.sum(axis=1)
    return scores


def _check(queries: Float32, vectors: Vectors, k: int) -> None:
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise SpecError(f"k must be a whole number of at least 1, not {k!r}")
    if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise SpecError(f"queries must be [Q, {vectors.shape[1]}], as wide as the vectors, not {list(queries.shape)}")
    bad = np.flatnonzero(~np.isfinite(queries).all(axis=1))
    if bad.size:
        raise SpecError(f"query {bad[0]} has a vector that is not finite: it yields no token")


def _candidates(
    queries: Float32, vectors: Vectors, k: int, bound: float, rows: Int64 | None
) -> tuple[Int64, Int64, Float64]:
    """Query, row and score of all pairs that may be among the k best of their query, and few others, [P] each.

    A product of float32 is off by γ·|q|·|v| at most, γ = D·u / (1 - D·u), u = 2⁻²⁴, in whatever order it is summed
    (Higham 2002, section 3.1). So if k products reach x, the k-th best score is at least x less that, and whatever is
    as good has a product of at least x less twice that.
    """
    unit = queries.shape[1] * 2.0**-24
    slack = 2.02 * unit / (1 - unit) * np.linalg.norm(queries.astype(np.float64), axis=1) * bound + 1e-30  # [Q]
    best = np.full((len(queries), k), -np.inf, np.float32)  # the k largest products so far, the least of them first
    held: list[tuple[Int64, Int64, Float32]] = []
    n_held = 0
    n_rows = min(max(PRODUCTS // len(queries), ROWS[0], k), max(ROWS[1], k))
    room = _Room.of(len(queries), min(n_rows, len(vectors)))
    for start, block in _blocks(vectors, rows, n_rows, k):
        products = room.products(queries, block)  # [Q, R]
        if not start:
            best = np.partition(products, products.shape[1] - k, axis=1)[:, -k:]
        query, place, value = room.at_least(products, best[:, 0] - slack)
        if start and query.size:
            best = _merged(best, query, value)
        held.append((query, start + place, value))
        n_held += query.size
        if n_held > CANDIDATES:
            held = [_thinned(held, best[:, 0] - slack, queries, vectors, k, rows)]
            n_held = held[0][0].size
    query, place, _ = _filtered(held, best[:, 0] - slack)
    row = place if rows is None else rows[place]
    return query, row, pair_scores(queries, vectors, query, row)


def _blocks(vectors: Vectors, rows: Int64 | None, n_rows: int, n_first: int = 0) -> Iterator[tuple[int, Float32]]:
    """The vectors, or those of some rows, in float32, block by block, with the place of each block's first one. The
    first block is small: all of its products are sorted, to know what the others must reach."""
    n = len(vectors) if rows is None else rows.size
    start, size = 0, min(n_rows, max(ROWS[0], n_first))
    while start < n:
        some = slice(start, start + size)
        yield start, np.asarray(vectors[some] if rows is None else vectors[rows[some]], np.float32)
        start, size = start + size, n_rows


@dataclass(frozen=True, slots=True, eq=False)
class _Room:
    """Memory for a block's products and what they are compared to, taken once: new memory a block cost 15 %."""

    numbers: Float32
    flags: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, n_queries: int, n_rows: int) -> _Room:
        return cls(np.empty(n_queries * n_rows, np.float32), np.empty(n_queries * n_rows, np.bool_))

    def products(self, queries: Float32, block: Float32) -> Float32:
        """[Q, R]. One or two queries by products with a vector, which read memory three times as fast as OpenBLAS's
        product of so narrow a matrix does."""
        out = self.numbers[: len(queries) * len(block)].reshape(len(queries), len(block))
        if len(queries) > 2:
            return np.matmul(queries, block.T, out=out)
        for query, row in zip(queries, out, strict=True):
            np.matmul(block, query, out=row)
        return out

    def at_least(self, products: Float32, least: Float64) -> tuple[Int64, Int64, Float32]:
        """Query, place and value of the products that reach `least` [Q]: few of many."""
        enough = self.flags[: products.size].reshape(products.shape)
        np.greater_equal(products, np.nextafter(least.astype(np.float32), -np.inf)[:, None], out=enough)
        flat = np.flatnonzero(enough)
        query, place = np.divmod(flat, products.shape[1])
        return query, place, products.reshape(-1)[flat]


def _merged(best: Float32, query: Int64, value: Float32) -> Float32:
    """The k largest of each query's k so far and its new values; `query` ascends."""
    k, counts = best.shape[1], np.bincount(query, minlength=len(best))
    firsts = np.cumsum(counts) - counts
    padded = np.full((len(best), k + counts.max()), -np.inf, np.float32)
    padded[:, :k] = best
    padded[query, k + np.arange(query.size) - firsts[query]] = value
    return np.partition(padded, padded.shape[1] - k, axis=1)[:, -k:]


def _filtered(held: list[tuple[Int64, Int64, Float32]], least: Float64) -> tuple[Int64, Int64, Float32]:
    query, place, value = (np.concatenate(parts) for parts in zip(*held, strict=True))
    stay = value >= least[query]
    return query[stay], place[stay], value[stay]


def _thinned(
    held: list[tuple[Int64, Int64, Float32]],
    least: Float64,
    queries: Float32,
    vectors: Vectors,
    k: int,
    rows: Int64 | None,
) -> tuple[Int64, Int64, Float32]:
    """The candidates without those that are none any more; where too many are as good (copies of one vector), only the
    k best of each query: whatever comes later stands behind them if it is as good, for its place is later."""
    query, place, value = _filtered(held, least)
    if query.size <= CANDIDATES // 2:
        return query, place, value
    scores = pair_scores(queries, vectors, query, place if rows is None else rows[place])
    order = np.lexsort((place, -scores, query))
    kept = np.sort(order[_rank(query[order]) < k])
    return query[kept], place[kept], value[kept]


def _rank(query: Int64) -> Int64:
    """How many of the same query stand before each, where equal ones stand together."""
    first = np.searchsorted(query, query, side="left")
    return np.arange(query.size) - first


def _put(rows: Int64, scores: Float64, query: Int64, row: Int64, score: Float64) -> None:
    """Put the best of the candidates into the results [Q, k]."""
    order = np.lexsort((row, -score, query))
    query, row, score = query[order], row[order], score[order]
    rank = _rank(query)
    best = rank < rows.shape[1]
    rows[query[best], rank[best]] = row[best]
    scores[query[best], rank[best]] = score[best]
