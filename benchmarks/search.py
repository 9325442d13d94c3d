"""How fast exact search is, as a share of what this machine can do, and what approximate search finds.

    python benchmarks/search.py [--rows 100000] [--width 384] [--rounds 7] [--vectors FILE.npy] [--graph]

One query reads every vector once, so its limit is the memory: the rate at which all threads read an array of the same
size (a product of it with itself). Many queries at once are limited by the matrix product: NumPy's float32 product of
the same matrices, block by block into memory taken before, without looking at what comes out. Search and limit take
turns, and their best times are compared, so that a noisy machine hits both alike. Speed does not depend on the numbers:
they are random unless --vectors gives others. --graph builds usearch's graph over them too (minutes) and prints its
recall; random vectors have no neighbourhoods, so give real ones. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from lamina.apps.search.exact import QUERIES, longest, nearest, prepared
from lamina.apps.search.graph import Graph
from lamina.errors import SpecError

K = 10
COUNTS = (1, 2, 16, 512, 2048)  # queries at once
PRODUCTS = 1 << 20  # of the limit's blocks: what multiplies fastest of 2¹⁸ to 2²²


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--graph", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    made = np.load(options.vectors, allow_pickle=False)[: options.rows] if options.vectors else None
    vectors = rng.standard_normal((options.rows, options.width), np.float32) if made is None else made
    vectors = prepared(np.asarray(vectors, np.float32), "cosine")
    queries = vectors[rng.choice(len(vectors), max(COUNTS))] + 0.01 * rng.standard_normal(vectors.shape[1], np.float32)
    rows = [measured(vectors, prepared(queries[:n], "cosine"), options.rounds) for n in COUNTS]
    print(f"{len(vectors):,} vectors × {vectors.shape[1]}, float32, the {K} nearest; load {os.getloadavg()[0]:.1f}\n")
    print(f"{'queries':>8} {'ms':>9} {'queries/s':>10} {'GB/s':>7} {'GFLOP/s':>8} {'limit':>18} {'share':>6}")
    for row in rows:
        print(
            f"{row['queries']:>8,} {row['ms']:>9.2f} {row['queries_per_second']:>10,.0f} {row['gb_per_second']:>7.1f} "
            f"{row['gflops']:>8.0f} {row['limit']:>18} {row['share']:>6.0%}"
        )
    found: dict[str, Any] = {"rows": len(vectors), "width": vectors.shape[1], "k": K, "search": rows}
    if options.graph:
        found["graph"] = graph(vectors, prepared(queries[:512], "cosine"))
        print(f"\nusearch: {found['graph']}")
    print(json.dumps(found))


def measured(vectors: np.ndarray, queries: np.ndarray, rounds: int) -> dict[str, Any]:
    """Search and its limit in turn."""
    bound = longest(vectors)
    by_memory = len(queries) <= 2
    limit = reading(vectors, len(queries)) if by_memory else multiplying(vectors, queries)
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(seconds(limit))
        ours.append(seconds(lambda: nearest(queries, vectors, K, bound=bound)))
    best, n = min(ours), len(queries)
    return {
        "queries": n, "ms": best * 1e3, "queries_per_second": n / best,
        "gb_per_second": vectors.nbytes * (n if by_memory else 1) / best / 1e9,
        "gflops": 2 * n * vectors.size / best / 1e9,
        "limit": "reading memory" if by_memory else "matrix product", "share": min(theirs) / best,
    }  # fmt: skip


def reading(vectors: np.ndarray, times: int) -> Callable[[], object]:
    """Read all of the vectors with all threads, once for each query."""
    parts = np.array_split(vectors.reshape(-1), os.cpu_count() or 1)
    pool = ThreadPoolExecutor(len(parts))
    return lambda: [list(pool.map(lambda part: np.dot(part, part), parts)) for _ in range(times)]


def multiplying(vectors: np.ndarray, queries: np.ndarray) -> Callable[[], object]:
    """The products of all queries and all vectors, block by block, each over the last; the library's own threads."""
    n_queries = min(len(queries), QUERIES)
    n_rows = max(2048, PRODUCTS // n_queries)
    out = np.empty(n_queries * n_rows, np.float32)

    def run() -> None:
        for low in range(0, len(queries), n_queries):
            for start in range(0, len(vectors), n_rows):
                some, block = queries[low : low + n_queries], vectors[start : start + n_rows]
                np.matmul(some, block.T, out=out[: len(some) * len(block)].reshape(len(some), len(block)))

    return run


def graph(vectors: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    """usearch at the default setting: how long it takes to build, what it finds, how fast."""
    started = time.perf_counter()
    built = Graph.build(vectors)
    took = time.perf_counter() - started
    bound = longest(vectors)
    try:
        about = built.measure(vectors, bound=bound, recall=0.99)
    except SpecError as error:
        return {"build_seconds": took, "refused": str(error)}
    exact = nearest(queries, vectors, K, bound=bound).rows
    found = built.nearest(queries, vectors, K).rows
    recall = float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, exact, strict=True)]))
    took_to_search = seconds(lambda: built.nearest(queries, vectors, K))
    return {
        "build_seconds": took, "width": about.width, "recall_on_its_sample": about.recall,
        "recall_on_other_queries": recall, "queries_per_second": len(queries) / took_to_search,
    }  # fmt: skip


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
