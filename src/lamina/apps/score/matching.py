"""Scores of a text against references, token by token: precision, recall and F1 of greedy matching.

Zhang et al. 2020, "BERTScore", section 3: each token of one text is matched with the most similar token of the other,
by cosine; the mean over the candidate's tokens is precision, over the reference's recall. As in the authors' own
program, special tokens may be matched but weigh nothing, and a text without an ordinary token scores 0. Unlike
there, padding takes no part: no pair's score depends on any other pair (docs/score.md).

Comes in: embeddings of unit `token`. Shapes: P pairs, T tokens of a text, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt

from lamina.apps.mix import Mix
from lamina.embeddings import Embeddings, unit_length
from lamina.errors import SpecError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

NAMES = ("precision", "recall", "f1", "cosine")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """P pairs at one layer, [P] each; NaN where all tokens of a text weigh nothing.

    precision, recall, f1  of the best reference, each by itself.
    cosine                 of the means over all tokens of both texts, for comparison.
    """

    precision: Float64
    recall: Float64
    f1: Float64
    cosine: Float64

    def __len__(self) -> int:
        return len(self.f1)


@dataclass(frozen=True, slots=True, eq=False)
class _TokenText:
    """The tokens of one text: vectors of unit length [T, D] and their mean [D] for each mix, weights [T]."""

    vectors: list[Float32]
    means: list[Float64]
    weights: Float64
    is_empty: bool


def score_pairs(
    parts: Iterable[Embeddings], mixes: Sequence[Mix], *, n_references: int = 1, weights: Float64 | None = None
) -> dict[str, Scores]:
    """The scores of each pair at each mix, by the mix's word.

    parts         embeddings of unit `token`, special tokens included, part by part: each candidate followed by its
                  `n_references` references.
    weights       [V] what each token id weighs, for instance `idf_weights`; None: all the same.

    Raises SpecError for embeddings of another unit, or texts that make no whole number of pairs.
    """
    size = 1 + n_references
    n_texts = 0
    found: dict[int, Float64] = {}

    def counted() -> Iterator[Embeddings]:
        nonlocal n_texts
        for part in parts:
            n_texts += part.n_texts
            yield part

    texts = _texts(counted(), mixes, weights)
    for pair, group in groupby(texts, key=lambda item: item[0] // size):
        held = {number % size: text for number, text in group}
        scored = [_greedy(held[0], held[place]) for place in range(1, size) if place in held and 0 in held]
        if scored:
            found[pair] = np.fmax.reduce(scored)
    if n_texts % size:
        raise SpecError(f"{n_texts} texts are no whole number of candidates with {n_references} references each")
    table = np.zeros((n_texts // size, len(mixes), len(NAMES)))
    for pair, scores in found.items():
        table[pair] = scores
    return {str(mix): Scores(*np.ascontiguousarray(table[:, place].T)) for place, mix in enumerate(mixes)}


def idf_weights(n_texts: int, counts: npt.NDArray[np.int64]) -> Float64:
    """log((N + 1) / (n + 1)) for each token id, [V], of the references: in how many of `n_texts` each occurs. What
    occurs in all of them, special tokens too, weighs nothing."""
    weights: Float64 = np.log((n_texts + 1) / (counts + 1))
    return weights


def _texts(
    parts: Iterable[Embeddings], mixes: Sequence[Mix], weights: Float64 | None
) -> Iterator[tuple[int, _TokenText]]:
    """Each text that has a token, with its number; one that is long may come in several parts."""
    open_number, open_pieces = -1, list[_Piece]()
    for part in parts:
        for number, piece in _pieces(part, mixes, weights):
            if number != open_number and open_pieces:
                yield open_number, _whole(open_pieces)
                open_pieces = []
            open_number = number
            open_pieces.append(piece)
    if open_pieces:
        yield open_number, _whole(open_pieces)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Tokens of one text: vectors as they are and of unit length [T, D] for each mix, weights [T], special or not."""

    raw: list[Float32]
    unit: list[Float32]
    weights: Float64
    special: npt.NDArray[np.bool_]


def _pieces(part: Embeddings, mixes: Sequence[Mix], weights: Float64 | None) -> Iterator[tuple[int, _Piece]]:
    if "token_id" not in part.units.column_names:
        raise SpecError("scores are made of tokens: extract with unit='token'")
    special = np.asarray(part.units.column("special"), np.bool_)
    ids = part.units.column("token_id").to_numpy()
    there = ids >= 0  # the tokenizer refused nothing of it, and nothing was cut off
    weight = np.where(special, 0.0, 1.0 if weights is None else weights[np.maximum(ids, 0)])
    raw = [mix.vectors(part) for mix in mixes]
    there &= ~np.isnan(raw[0][:, 0])
    unit = [unit_length(matrix) for matrix in raw]
    number = part.units.column("text_id").to_numpy()
    bounds = [0, *(np.flatnonzero(number[1:] != number[:-1]) + 1).tolist(), number.size] if number.size else [0]
    for low, high in pairwise(bounds):
        rows = low + np.flatnonzero(there[low:high])
        vectors = ([matrix[rows] for matrix in of] for of in (raw, unit))
        yield int(number[low]), _Piece(next(vectors), next(vectors), weight[rows], special[rows])


def _whole(pieces: list[_Piece]) -> _TokenText:
    raw, unit = (
        [np.concatenate(of_mix) for of_mix in zip(*(getattr(piece, name) for piece in pieces), strict=True)]
        for name in ("raw", "unit")
    )
    special = np.concatenate([piece.special for piece in pieces])
    weights = np.concatenate([piece.weights for piece in pieces])
    means = [matrix.astype(np.float64).sum(axis=0) for matrix in raw]  # a cosine asks for no divisor
    return _TokenText(unit, means, weights, bool(special.all()))


def _greedy(candidate: _TokenText, reference: _TokenText) -> Float64:
    """Precision, recall, F1 and cosine for each mix, [L, 4]."""
    scores = np.zeros((len(candidate.vectors), len(NAMES)))
    if candidate.is_empty or reference.is_empty:
        return scores
    for row, of_candidate, of_reference, a, b in zip(
        scores, candidate.vectors, reference.vectors, candidate.means, reference.means, strict=True
    ):
        similar = of_candidate @ of_reference.T
        precision = _weighted(similar.max(axis=1), candidate.weights)
        recall = _weighted(similar.max(axis=0), reference.weights)
        total = precision + recall
        f1 = 2 * precision * recall / total if total else 0.0
        row[:] = precision, recall, f1, (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    return scores


def _weighted(best: Float32, weights: Float64) -> float:
    total = weights.sum()
    return float((best * weights).sum() / total) if total else float("nan")
