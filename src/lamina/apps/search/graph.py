"""Approximate search: a graph of neighbours (HNSW, Malkov and Yashunin 2020, by usearch) that proposes candidates.

What it proposes is scored again from the vectors themselves, so an approximate result has the exact scores and lacks
at most some rows. How many it lacks is measured against exact search when the graph is built, and the search is made as
wide as the recall that is asked for needs.

Shapes: Q queries, N vectors, D width, k results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lamina.apps.search.exact import Float32, Found, Int64, best_of, nearest, pair_scores
from lamina.embeddings import Vectors
from lamina.errors import MissingExtraError, SpecError

CONNECTIVITY, EXPANSION_ADD = 16, 128  # usearch's own defaults: neighbours kept, candidates looked at when one is added
WIDTHS = (64, 128, 256, 512, 1024, 2048)  # candidates looked at in a search, of which the least that serves is taken
SAMPLE = 500  # vectors that the recall is measured with
AT = 10  # neighbours of each
ADDED = 50_000  # vectors at once


@dataclass(frozen=True, slots=True)
class Measured:
    """How well a graph searches.

    width   candidates looked at in a search.
    recall  the share of the exact 10 nearest that it finds, over `sample` of its own vectors, themselves left out.
    """

    width: int
    recall: float
    sample: int


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """usearch's index over prepared vectors, whose keys are their places."""

    index: Any

    @classmethod
    def build(cls, vectors: Vectors) -> Graph:
        """A graph of prepared vectors [N, D]; the vectors in it are float16. Raises MissingExtraError."""
        index = _usearch().index.Index(
            ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD
        )
        for low in range(0, len(vectors), ADDED):
            block = np.asarray(vectors[low : low + ADDED], np.float32)
            index.add(np.arange(low, low + len(block)), block)
        return cls(index)

    @classmethod
    def view(cls, path: str, *, width: int) -> Graph:
        """A saved graph, memory-mapped. Raises MissingExtraError, ValueError for a file that is none."""
        try:
            index = _usearch().index.Index.restore(path, view=True)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
        if index is None:
            raise ValueError("it is no index of usearch")
        index.expansion_search = width
        return cls(index)

    def saved(self) -> bytes:
        """The graph as usearch writes it."""
        return bytes(self.index.save())

    def candidates(self, queries: Float32, count: int) -> tuple[Int64, Int64]:
        """Query and place of what the graph proposes, `count` for each query where there are so many."""
        found = self.index.search(queries, count)
        keys = np.atleast_2d(np.asarray(found.keys)).astype(np.int64)
        counts = np.atleast_1d(np.asarray(getattr(found, "counts", keys.shape[1])))  # one query alone has no counts
        real = np.arange(keys.shape[1]) < counts[:, None]
        query = np.broadcast_to(np.arange(len(keys))[:, None], keys.shape)
        return query[real], keys[real]

    def nearest(self, queries: Float32, vectors: Vectors, k: int) -> Found:
        """The best of what the graph proposes, with exact scores."""
        query, place = self.candidates(queries, max(1, min(2 * k, len(vectors))))  # its own order is that of float16
        return best_of(query, place, pair_scores(queries, vectors, query, place), n_queries=len(queries), k=k)

    def measure(self, vectors: Vectors, *, bound: float, recall: float) -> Measured:
        """The narrowest search whose recall is what is asked for. Raises SpecError where none is."""
        places = np.sort(np.random.default_rng(0).choice(len(vectors), min(SAMPLE, len(vectors)), replace=False))
        queries = np.asarray(vectors[places], np.float32)
        expected = nearest(queries, vectors, AT + 1, bound=bound).rows
        found = 0.0
        for width in WIDTHS:
            self.index.expansion_search = width
            found = _recall(self.nearest(queries, vectors, AT + 1).rows, expected, places)
            if found >= recall:
                return Measured(width, found, places.size)
        raise SpecError(
            f"the graph finds {found:.1%} of the {AT} nearest in its widest search ({WIDTHS[-1]:,} candidates), and "
            f"{recall:.1%} were asked for: these vectors have no neighbourhoods that a graph could follow. Keep "
            "method='exact', or ask for less recall"
        )


def usearch_version() -> str:
    """The version of usearch. Raises MissingExtraError."""
    return str(_usearch().__version__)


def _recall(found: Int64, expected: Int64, places: Int64) -> float:
    """The mean share of the expected neighbours [Q, k] that were found, each query's own place left out."""
    shares = []
    for got, wanted, place in zip(found, expected, places, strict=True):
        others = set(wanted[wanted >= 0].tolist()) - {int(place)}
        shares.append(len(others & set(got.tolist())) / len(others) if others else 1.0)
    return float(np.mean(shares)) if shares else 1.0


def _usearch() -> Any:
    try:
        import usearch
        import usearch.index
    except ImportError:
        raise MissingExtraError("approximate search needs usearch: pip install 'lamina[search]'") from None
    return usearch
