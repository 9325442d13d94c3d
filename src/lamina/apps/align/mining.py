"""Translations found among the sentences of two texts: bitext mining by margin.

Artetxe and Schwenk 2019, "Margin-based Parallel Corpus Mining with Multilingual Sentence Embeddings", section 3.1: the
cosine of two sentences is divided by the mean cosine of both with their k nearest neighbours on the other side (ratio
margin), so that sentences that resemble everything do not win. Candidates are each sentence's neighbours, both ways;
the best margin takes its two sentences, which no later pair can have (section 3.2, "max score").

Shapes: X source and Y target sentences, D width, k neighbours, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.apps.mix import Data, Float32, Layer, Mix, usable
from lamina.apps.search.exact import Found, nearest
from lamina.embeddings import unit_length
from lamina.errors import SpecError

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
NEIGHBOURS = 4  # Artetxe and Schwenk 2019, section 4


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """Pairs of sentences of which each side occurs once, and for every sentence its best partner.

    source, target  [P] the texts of each pair by number, the largest margin first.
    margin          [P] 1 is a pair no more alike than its neighbours.
    forward         [X] the target with the largest margin for each source, -1 where a sentence has no vector.
    backward        [Y] likewise for each target.
    plain           the same two by the cosine alone, without any margin.
    """

    layer: str
    source: Int64
    target: Int64
    margin: Float64
    forward: Int64
    backward: Int64
    plain: tuple[Int64, Int64]

    def __len__(self) -> int:
        return len(self.margin)

    def __repr__(self) -> str:
        return f"Mined({len(self):,} pairs at layer {self.layer})"

    def above(self, threshold: float) -> Mined:
        """Only the pairs with at least this margin."""
        n = int(np.count_nonzero(self.margin >= threshold))
        return Mined(
            self.layer, self.source[:n], self.target[:n], self.margin[:n], self.forward, self.backward, self.plain
        )


def mine(source: Data, target: Data, *, layer: Layer = -1, neighbours: int = NEIGHBOURS) -> Mined:
    """The pairs of sentences, one of each side, that may be translations.

    source, target  units of `text` or `sentence`, one for each sentence.
    layer           a layer or a mix.
    neighbours      k, of each sentence on the other side.

    Raises SpecError for a layer that is not held, no sentence with a vector, or neighbours below 1.
    """
    if neighbours < 1:
        raise SpecError(f"neighbours must be at least 1, not {neighbours}")
    mix = Mix.parse(layer)
    (rows, one), (columns, two) = (_usable(side, mix) for side in (source, target))
    ahead = nearest(one, two, min(neighbours, len(two)), bound=1.001)  # of unit length, but for rounding
    back = nearest(two, one, min(neighbours, len(one)), bound=1.001)
    left, right, cosine = _candidates(ahead, back)
    margin = ratio_margin(cosine, ahead.scores.mean(axis=1)[left], back.scores.mean(axis=1)[right])
    order = np.lexsort((right, left, -margin))
    left, right, margin = left[order], right[order], margin[order]
    kept = _each_once(left, right)
    forward = _spread(columns[_best(left, right)], rows, len(source))
    backward = _spread(rows[_best(right, left)], columns, len(target))
    plain = _spread(columns[ahead.rows[:, 0]], rows, len(source)), _spread(rows[back.rows[:, 0]], columns, len(target))
    return Mined(str(mix), rows[left[kept]], columns[right[kept]], margin[kept], forward, backward, plain)


def ratio_margin(cosine: Float64, forward: Float64, backward: Float64) -> Float64:
    """The cosine of pairs [P] over the mean of `forward` and `backward`, the mean cosines of their two sentences with
    their neighbours. A mean that is not positive says nothing of likeness: such a pair has margin 0."""
    around = (forward + backward) / 2
    return np.asarray(np.divide(cosine, around, out=np.zeros_like(cosine), where=around > 0), np.float64)


def parallel_scores(mined: Mined) -> dict[str, Any]:
    """The figures where text k of the source is translated by text k of the target.

    `forward`, `backward`: the share of sentences whose best partner is their translation, `plain_forward` and
    `plain_backward` by the cosine alone; `precision`, `recall` and `f1` of the mined pairs, at the margin that makes F1
    largest: `threshold`.

    Raises SpecError where the sides have not as many sentences.
    """
    n = len(mined.forward)
    if n != len(mined.backward):
        raise SpecError(f"{n:,} and {len(mined.backward):,} sentences are not parallel: they must be as many")
    right = np.cumsum(mined.source == mined.target)
    f1 = 2 * right / (np.arange(1, len(mined) + 1) + n)
    ends = np.append(mined.margin[1:] != mined.margin[:-1], True)  # equal margins stand or fall together
    best = int(np.where(ends, f1, -1.0).argmax())
    return {
        "forward": float((mined.forward == np.arange(n)).mean()),
        "backward": float((mined.backward == np.arange(n)).mean()),
        "plain_forward": float((mined.plain[0] == np.arange(n)).mean()),
        "plain_backward": float((mined.plain[1] == np.arange(n)).mean()),
        "precision": float(right[best] / (best + 1)),
        "recall": float(right[best] / n),
        "f1": float(f1[best]),
        "threshold": float(mined.margin[best]),
    }


def _usable(side: Data, mix: Mix) -> tuple[Int64, Float32]:
    """Which sentences have a vector, and these, of unit length."""
    vectors = mix.vectors(side)
    rows = np.flatnonzero(usable(side.units, vectors)) if len(vectors) else np.zeros(0, np.int64)
    if not rows.size:
        raise SpecError("none of the sentences of one side has a vector: there is nothing to pair")
    return rows, unit_length(vectors[rows])


def _candidates(ahead: Found, back: Found) -> tuple[Int64, Int64, Float64]:
    """Each pair of neighbours once: source, target and cosine."""
    x, k = ahead.rows.shape
    y, j = back.rows.shape
    left = np.concatenate([np.repeat(np.arange(x), k), back.rows.ravel()])
    right = np.concatenate([ahead.rows.ravel(), np.repeat(np.arange(y), j)])
    cosine = np.concatenate([ahead.scores.ravel(), back.scores.ravel()])
    _, first = np.unique(left * y + right, return_index=True)
    return left[first], right[first], cosine[first]


def _best(here: Int64, there: Int64) -> Int64:
    """The partner of each sentence; its best pair stands first, and each has one."""
    return there[np.unique(here, return_index=True)[1]]


def _spread(partners: Int64, rows: Int64, n: int) -> Int64:
    """[n] the partners of the sentences `rows`, -1 of the others."""
    found = np.full(n, -1, np.int64)
    found[rows] = partners
    return found


def _each_once(left: Int64, right: Int64) -> Int64:
    """The places of the pairs whose two sentences no pair before them took."""
    taken_left, taken_right, kept = set[int](), set[int](), []
    for place, (i, j) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        if i not in taken_left and j not in taken_right:
            taken_left.add(i)
            taken_right.add(j)
            kept.append(place)
    return np.array(kept, np.int64)
