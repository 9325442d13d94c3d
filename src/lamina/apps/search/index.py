"""An index: vectors made ready for searching, exactly or by a graph.

Shapes: U units of the data, N vectors of the index, D width, Q queries, k results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lamina.apps.mix import Data, Layer, Mix, usable
from lamina.apps.search.exact import Float32, Found, Int64, Metric, check_queries, longest, nearest, prepared
from lamina.apps.search.graph import Graph
from lamina.embeddings import Vectors
from lamina.errors import SpecError

METHODS = ("exact", "usearch")

Bool = npt.NDArray[np.bool_]
Method = Literal["exact", "usearch"]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Vectors ready for searching.

    vectors  [N, D] prepared for the metric, float32 or float16, perhaps memory-mapped.
    rows     [N] the dataset's row of each, ascending; None: row i is vector i.
    bound    no vector is longer.
    graph    for approximate search; None: there is exact search only.
    """

    vectors: Vectors
    metric: Metric
    bound: float
    rows: Int64 | None = None
    graph: Graph | None = None

    @classmethod
    def of(cls, data: Data, layer: Layer = -1, *, metric: Metric = "cosine") -> Index:
        """An index in memory over `Embeddings` or a `Dataset`. Units that say nothing are left out."""
        vectors = Mix.parse(layer).vectors(data)
        keep = usable(data.units, vectors)
        made = prepared(vectors if keep.all() else vectors[keep], metric)
        return cls(made, metric, longest(made), None if keep.all() else np.flatnonzero(keep))

    def __len__(self) -> int:
        return len(self.vectors)

    def search(
        self, queries: Float32, *, k: int = 10, where: Bool | None = None, method: Method | None = None
    ) -> Found:
        """The k best rows of each query [Q, D].

        where   [U] which of the dataset's rows may be found; then the search is exact.
        method  None: by the graph where there is one.

        Raises SpecError for a method that the index has not, and what `nearest` raises.
        """
        if method == "usearch" and (self.graph is None or where is not None):
            raise SpecError(
                "this search has no graph" if where is None else "a filtered search is exact: leave method out"
            )
        check_queries(queries, self.vectors, k)
        ready = prepared(np.asarray(queries, np.float32), self.metric)
        if self.graph is not None and where is None and method != "exact":
            found = self.graph.nearest(ready, self.vectors, k)
        else:
            found = nearest(ready, self.vectors, k, bound=self.bound, rows=self._places(where))
        if self.rows is None:
            return found
        rows, there = np.full_like(found.rows, -1), found.rows >= 0
        rows[there] = self.rows[found.rows[there]]
        return Found(rows, found.scores)

    def _places(self, where: Bool | None) -> Int64 | None:
        """The vectors of the rows that may be found."""
        if where is None:
            return None
        return np.flatnonzero(where if self.rows is None else where[self.rows])
