"""How well a search finds what was judged relevant: nDCG, recall and reciprocal rank.

Measures as in trec_eval (NIST): gains are the judgements themselves, discounted by log2(1 + rank); a query without any
relevant document is left out. Shapes: Q queries, k results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.apps.search.exact import Float64, Int64
from lamina.errors import SourceError, SpecError

Judged = Mapping[int, int]  # row -> how relevant it is; what is not judged, or judged 0, is not relevant


@dataclass(frozen=True, slots=True)
class Qrels:
    """Relevance judgements: query id -> document id -> how relevant it is."""

    of_query: Mapping[str, Mapping[str, int]]

    @classmethod
    def parse(cls, lines: Sequence[str], name: str) -> Qrels:
        """Lines of TREC: `QUERY 0 DOCUMENT RELEVANCE`. Raises SourceError with the line."""
        found: dict[str, dict[str, int]] = {}
        for number, line in enumerate(lines, start=1):
            values = line.split()
            if not values:
                continue
            try:
                query, _, document, relevance = values
                found.setdefault(query, {})[document] = int(relevance)
            except ValueError:
                raise SourceError(
                    f"{name}, line {number}: expected QUERY 0 DOCUMENT RELEVANCE, as in TREC's qrels, with a whole "
                    "number at the end"
                ) from None
        return cls(found)

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Qrels:
        """Pairs of a query's id and that of a document relevant to it."""
        found: dict[str, dict[str, int]] = {}
        for query, document in pairs:
            found.setdefault(query, {})[document] = 1
        return cls(found)

    def of_rows(self, queries: Sequence[str], documents: Sequence[str]) -> list[dict[int, int]]:
        """For each query the judgements by row. A document that is not there keeps its place among the relevant ones,
        under a number below 0: it can never be found.

        Raises SpecError where ids occur twice, no query has any judgement, or no judged document is there.
        """
        row_of = {document: row for row, document in enumerate(documents)}
        if len(row_of) < len(documents):
            twice = next(document for row, document in enumerate(documents) if row_of[document] != row)
            raise SpecError(f"two documents have the id {twice!r}: a document's id must be its own")
        judged = [
            {row_of.get(document, -1 - place): gain for place, (document, gain) in enumerate(self._of(query).items())}
            for query in queries
        ]
        if not any(judged):
            some = ", ".join(map(repr, list(self.of_query)[:3]))
            raise SpecError(f"no query has a judgement: the queries' ids are {queries[:3]!r}, the judgements' {some}")
        if all(row < 0 for of_query in judged for row in of_query):
            some = ", ".join(repr(document) for query in queries[:3] for document in list(self._of(query))[:1])
            raise SpecError(
                f"no document that was judged is there: the ids are {documents[:3]!r}, the judged ones {some}"
            )
        return judged

    def _of(self, query: str) -> Mapping[str, int]:
        return self.of_query.get(query, {})


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Means over the queries that have something to find.

    ndcg, recall  by cutoff, for instance at 10.
    mrr           of the reciprocal rank of the first relevant document; 0 where none is among the results.
    n_queries     how many have.
    """

    ndcg: Mapping[int, float]
    recall: Mapping[int, float]
    mrr: float
    n_queries: int

    def row(self) -> dict[str, float]:
        """As the fields of a table's row."""
        ndcg = {f"ndcg@{cutoff}": value for cutoff, value in self.ndcg.items()}
        return {"mrr": self.mrr, **ndcg, **{f"recall@{cutoff}": value for cutoff, value in self.recall.items()}}


def retrieval(rows: Int64, judged: Sequence[Judged], *, cutoffs: Sequence[int] = (10,)) -> Retrieval:
    """How well ranked rows [Q, k] (-1: no more) fit the judgements of their queries.

    Raises SpecError for a cutoff that is not from 1 to k, or where no query has anything to find.
    """
    for cutoff in cutoffs:
        if not 1 <= cutoff <= rows.shape[1]:
            raise SpecError(f"a cutoff must be from 1 to the {rows.shape[1]} results, not {cutoff}")
    asked = np.array(
        [query for query, of_query in enumerate(judged) if max(of_query.values(), default=0) > 0], np.int64
    )
    if not asked.size:
        raise SpecError("no query has a relevant document: there is nothing to measure")
    gains = np.stack([_gains(rows[query], judged[query]) for query in asked])  # [Q, k]
    ideals = np.stack([_ideal(judged[query], rows.shape[1]) for query in asked])
    n_relevant = np.array([sum(gain > 0 for gain in judged[query].values()) for query in asked])
    discounts = 1 / np.log2(np.arange(2, rows.shape[1] + 2))
    return Retrieval(
        ndcg={k: _mean((gains * discounts)[:, :k].sum(1) / (ideals * discounts)[:, :k].sum(1)) for k in cutoffs},
        recall={k: _mean((gains[:, :k] > 0).sum(1) / n_relevant) for k in cutoffs},
        mrr=_mean(np.where((gains > 0).any(1), 1 / (1 + (gains > 0).argmax(1)), 0.0)),
        n_queries=asked.size,
    )


def _gains(rows: Int64, judged: Judged) -> Float64:
    gains = np.zeros(rows.size)
    for row, gain in judged.items():
        if row >= 0:
            gains[rows == row] = max(gain, 0)
    return gains


def _ideal(judged: Judged, k: int) -> Float64:
    best = sorted((max(gain, 0) for gain in judged.values()), reverse=True)[:k]
    return np.array(best + [0] * (k - len(best)), np.float64)


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(np.mean(values))
