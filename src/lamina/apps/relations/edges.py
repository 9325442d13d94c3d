"""Edges between entities: the nearest by their vectors, and those that stand in one sentence.

Shapes: E entities, D width, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Literal

import numpy as np

from lamina.apps.ranges import Float64, Int64
from lamina.apps.relations.entities import Entities
from lamina.apps.search.exact import longest, nearest, prepared
from lamina.errors import SpecError

AT_ONCE = 4096  # entities whose neighbours are looked for at once


@dataclass(frozen=True, slots=True)
class Edge:
    """A link between two entities, `source` the smaller number; it has no direction.

    kind    `similar`: near by their vectors at `layer`, `weight` their cosine.
            `together`: in `count` sentences, `weight` their pointwise mutual information in bits.
    """

    source: int
    target: int
    kind: Literal["similar", "together"]
    weight: float
    layer: str | None = None
    count: int | None = None


def neighbours(found: Entities, layer: str, *, k: int = 5, threshold: float = -1.0, centre: bool = False) -> list[Edge]:
    """An edge between each entity and its k nearest others, by exact search; one where both are near to each other.

    threshold  only cosines of at least this.
    centre     of vectors less their mean over the entities: what they have in common then makes nothing alike.

    Raises SpecError for a layer that was not gathered, or a k below 1.
    """
    query, row, score = _nearest(found, layer, k, centre)
    best: dict[tuple[int, int], float] = {}
    for a, b, value in zip(query.tolist(), row.tolist(), score.tolist(), strict=True):
        if value >= threshold:
            best[min(a, b), max(a, b)] = value
    return [Edge(a, b, "similar", value, layer=layer) for (a, b), value in sorted(best.items())]


def together(found: Entities, *, min_count: int = 1) -> list[Edge]:
    """An edge between two entities that stand in at least `min_count` sentences together.

    Its weight is log2(n(a, b) * n / (n(a) * n(b))), n counting sentences (Church and Hanks 1990): 0 where they stand
    together as often as chance has it.
    """
    edges = []
    for (a, b), n in sorted(found.pairs.items()):
        if n >= min_count:
            alone = found.entities[a].n_sentences * found.entities[b].n_sentences
            edges.append(Edge(a, b, "together", log2(n * found.n_sentences / alone), count=n))
    return edges


def same_kind(found: Entities, layer: str, *, centre: bool = False) -> tuple[float, float]:
    """The share of entities whose nearest other one is of their kind, and what chance would give. NaN where there are
    fewer than two entities with vectors."""
    query, row, _ = _nearest(found, layer, 1, centre)
    if not query.size:
        return float("nan"), float("nan")
    kinds, kind = np.unique([one.kind for one in found.entities], return_inverse=True)
    counts = np.bincount(kind[query], minlength=len(kinds))
    chance = float((counts * (counts - 1)).sum() / (query.size * (query.size - 1)))
    return float((kind[query] == kind[row]).mean()), chance


def _nearest(found: Entities, layer: str, k: int, centre: bool) -> tuple[Int64, Int64, Float64]:
    """Entity, other entity and cosine of each one's k nearest others, in the order of the entities."""
    if layer not in found.vectors:
        raise SpecError(f"layer {layer!r} was not gathered: there are {', '.join(found.vectors) or 'none'}")
    if k < 1:
        raise SpecError(f"k must be at least 1, not {k}")
    vectors = found.vectors[layer]
    rows = np.flatnonzero(~np.isnan(vectors).any(axis=1))
    if rows.size < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    held = vectors[rows] - vectors[rows].mean(axis=0) if centre else vectors[rows]
    ready = prepared(held.astype(np.float32), "cosine")
    bound, parts = longest(ready), []
    for low in range(0, rows.size, AT_ONCE):
        some = nearest(ready[low : low + AT_ONCE], ready, min(k + 1, rows.size), bound=bound)
        query, rank = np.nonzero(some.rows >= 0)
        row, score = some.rows[query, rank], some.scores[query, rank]
        other = row != query + low
        query, row, score = query[other], row[other], score[other]
        place = np.arange(query.size) - np.searchsorted(query, query)
        parts.append((query[place < k] + low, row[place < k], score[place < k]))
    query, row, score = (np.concatenate(part) for part in zip(*parts, strict=True))
    return rows[query], rows[row], score
