"""Exact search: the k vectors with the largest scores, each score the same whatever it was computed with.

Two steps. A product of matrices in float32, as fast as the machine multiplies, leaves out what cannot be among the k;
its rounding is bounded, so nothing is left out wrongly. What stays is scored again in float64, row by row. So the rows,
their order and the bits of their scores depend neither on the number of queries nor on blocks, threads or the library
that multiplies, and equal scores stand by row number.

Shapes: Q queries, N vectors, D width, k results, P pairs of a query and a vector.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from lamina.apps.search.sieve import Room, Sieve, rank_within
from lamina.embeddings import Vectors, unit_length
from lamina.errors import SpecError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

Metric = Literal["cosine", "dot"]
METRICS = get_args(Metric)
T = TypeVar("T")

QUERIES = 512  # multiplied at once
PRODUCTS = 1 << 20  # held at once by a thread, about, in float32
ROWS = (512, 65536)  # least and most vectors multiplied at once: a single query wants long runs of memory
FIRST = 1024  # vectors, at least, whose products are all sorted, to know what the others must reach
THREADS = 8  # at most, each multiplying and sifting blocks of its own
LARGE = 1 << 30  # multiplications from which threads are worth starting: some 10 ms
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


def check_queries(queries: Float32, vectors: Vectors, k: int) -> None:
    """Raises SpecError for a k below 1, another width than the vectors', or a query that is not finite."""
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise SpecError(f"k must be a whole number of at least 1, not {k!r}")
    if queries.ndim != 2 or queries.shape[1] != vectors.shape[1]:
        raise SpecError(f"queries must be [Q, {vectors.shape[1]}], as wide as the vectors, not {list(queries.shape)}")
    bad = np.flatnonzero(~np.isfinite(queries).all(axis=1))
    if bad.size:
        raise SpecError(f"query {bad[0]} has a vector that is not finite: it yields no token")


def longest(vectors: Vectors) -> float:
    """The largest Euclidean length of vectors [N, D]; 0 of none."""
    blocks = (_block(vectors, None, start, FIRST) for start in range(0, len(vectors), FIRST))
    squares = (np.einsum("nd,nd->n", block, block) for block in blocks)
    return max((float(np.sqrt(of_block.max(initial=0.0))) for of_block in squares), default=0.0)


def nearest(queries: Float32, vectors: Vectors, k: int, *, bound: float, rows: Int64 | None = None) -> Found:
    """The k vectors whose products with each query are largest.

    queries, vectors  [Q, D] and [N, D], prepared; the vectors float32 or float16, perhaps memory-mapped.
    bound             no vector is longer: what `longest` gives.
    rows              only these, ascending; None: all.

    Raises SpecError for a k below 1, another width, or a query that is not finite.
    """
    check_queries(queries, vectors, k)
    n = len(vectors) if rows is None else rows.size
    found = Found(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan))
    with _workers(len(queries) * n * vectors.shape[1] if len(queries) > 2 else 0) as workers:
        for low in range(0, len(queries) if n else 0, QUERIES):
            some = slice(low, low + QUERIES)
            candidates = _candidates(queries[some], vectors, min(k, n), bound, rows, workers)
            _put(found.rows[some], found.scores[some], *candidates)
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


@dataclass(frozen=True, slots=True, eq=False)
class _Workers:
    """Threads to share work between; of one, the caller's own."""

    n: int
    pool: ThreadPoolExecutor | None

    def all(self, work: Callable[[int], T]) -> list[T]:
        """`work` with the numbers of all threads."""
        return [work(0)] if self.pool is None else list(self.pool.map(work, range(self.n)))


@contextmanager
def _workers(size: int) -> Iterator[_Workers]:
    """Threads for so many multiplications, the matrix library on one thread in each. Where it may not be told so there
    is one, in which it uses threads of its own: then the multiplying is shared, and the sifting is not.

    How many threads the library uses is set for the whole process, so only its main thread does that: two at once could
    leave it set.
    """
    n = min(THREADS, _n_cores())
    if size < LARGE or n < 2 or threading.current_thread() is not threading.main_thread():
        yield _Workers(1, None)
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield _Workers(1, None)
        return
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n) as pool:
        yield _Workers(n, pool)


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _candidates(
    queries: Float32, vectors: Vectors, k: int, bound: float, rows: Int64 | None, workers: _Workers
) -> tuple[Int64, Int64, Float64]:
    """Query, row and score of all pairs that may be among the k best of their query, and few others, [P] each.

    A product of float32 is off by γ·|q|·|v| at most, γ = D·u / (1 - D·u), u = 2⁻²⁴, in whatever order it is summed
    (Higham 2002, section 3.1). So if k products reach x, the k-th best score is at least x less that, and whatever is
    as good has a product of at least x less twice that.
    """
    unit = queries.shape[1] * 2.0**-24
    slack = 2.02 * unit / (1 - unit) * np.linalg.norm(queries.astype(np.float64), axis=1) * bound + 1e-30  # [Q]
    n = len(vectors) if rows is None else rows.size
    first, size = min(n, max(FIRST, k)), min(max(PRODUCTS // len(queries), ROWS[0]), ROWS[1])
    products = queries @ _block(vectors, rows, 0, first).T
    # In the order of what they want, so that queries beside each other can be compared with one number.
    order = np.argsort(np.partition(products, first - k, axis=1)[:, -k])
    queries = queries[order]

    def score(query: Int64, place: Int64) -> Float64:
        return pair_scores(queries, vectors, query, place if rows is None else rows[place])

    sieve = Sieve.begun(products[order], k, slack[order], score=score, limit=CANDIDATES)
    starts = deque(range(first, n, size))

    def sift(_: int) -> None:
        room = Room.of(len(queries), min(size, n))
        while True:
            try:
                start = starts.popleft()
            except IndexError:
                return
            found = room.products(queries, _block(vectors, rows, start, size))
            query, place, product = room.at_least(found, sieve.least)
            sieve.add(query, start + place, product)

    workers.all(sift)
    query, place = sieve.pairs()
    parts = np.array_split(np.arange(query.size), workers.n)
    scores = np.concatenate(workers.all(lambda i: score(query[parts[i]], place[parts[i]])))
    return order[query], place if rows is None else rows[place], scores


def _block(vectors: Vectors, rows: Int64 | None, start: int, size: int) -> Float32:
    """Some vectors, or those of some rows, in float32."""
    some = slice(start, start + size)
    return np.asarray(vectors[some] if rows is None else vectors[rows[some]], np.float32)


def _put(rows: Int64, scores: Float64, query: Int64, row: Int64, score: Float64) -> None:
    """Put the best of the candidates into the results [Q, k]."""
    order = np.lexsort((row, -score, query))
    query, row, score = query[order], row[order], score[order]
    rank = rank_within(query)
    best = rank < rows.shape[1]
    rows[query[best], rank[best]] = row[best]
    scores[query[best], rank[best]] = score[best]
