"""What a probe must beat: the commonest label, the words alone, and its own memory.

Every baseline predicts the held parts from the others, as a probe does, and never sees a vector. Shapes: N units, T
different surfaces (types).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.apps.folds import Parts
from lamina.apps.probe.descent import Float32, Int64, Precondition
from lamina.apps.probe.features import Layout
from lamina.apps.probe.linear import Targets, held_out

Float64 = npt.NDArray[np.float64]
Values = npt.NDArray[Any]

# A letter of a script that puts no spaces between words, or a run of other letters and digits.
SPACELESS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai to Han
WORD = rf"[{SPACELESS}]|[^\W{SPACELESS}]+"
CELLS = 400_000  # weights of one model of words at most: the commonest words and pairs of words are kept


def types_of(surfaces: Sequence[str]) -> Int64:
    """[N] the number of each surface among the different ones, upper and lower case being one."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(surface.casefold(), len(number)) for surface in surfaces], np.int64)


def commonest(values: Values, n_classes: int, parts: Parts) -> Values:
    """[N] for each row of a held part, the commonest class of what its probe sees (the mean, of numbers)."""
    return of_type(np.zeros(values.size, np.int64), values, n_classes, parts)


def of_type(types: Int64, values: Values, n_classes: int, parts: Parts) -> Values:
    """[N] the commonest class of each type [N] (of numbers: the mean); of a type not seen, that of all rows seen."""
    predicted = np.zeros_like(values)
    for held in parts.held:
        seen = ~np.isin(parts.of, list(parts.unseen(held)))
        asked = parts.of == held
        predicted[asked] = _guesses(types, values, n_classes, seen)[types[asked]]
    return predicted


def control_values(types: Int64, values: Values, *, seed: int) -> Values:
    """[N] a label drawn for each type by lot, as often as each comes in the data (Hewitt and Liang 2019, section 2).

    Nothing about them can be known but by having seen the type: what a probe gets right here is its own memory.
    """
    drawn = np.random.default_rng(seed).choice(values, size=int(types.max()) + 1)
    return drawn[types]


def bag_of_words(texts: Sequence[str], targets: Targets, layout: Layout, parts: Parts) -> Float32 | None:
    """[N, C] scores of a linear model of which words and pairs of words a text holds (TF-IDF), regularised and held out
    as the probes are; None where no word comes twice.

    texts, and the scores   in the order of the input; `targets` in that of the layout.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    words = CountVectorizer(
        token_pattern=WORD, ngram_range=(1, 2), min_df=2, max_features=max(1000, CELLS // targets.width)
    )
    try:
        counts = words.fit_transform([texts[row] for row in layout.order.tolist()])
    except ValueError:  # no word is left
        return None
    return held_out(Counts.of(counts), targets, layout, parts).scores


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Words in texts, a row for each text: 1 + log(count), of unit length, times how rare a word is in the rows seen.

    matrix   [N, D] sparse, before rarity.
    squares  [D] the mean of its squares, times the squared rarity in all rows.
    """

    matrix: Any
    squares: Float32

    @classmethod
    def of(cls, counts: Any) -> Counts:
        """Features of word counts [N, D], sparse."""
        from scipy.sparse import csr_array, diags_array

        matrix = csr_array(counts, dtype=np.float32)
        matrix.data = 1 + np.log(matrix.data)
        length = np.sqrt(matrix.power(2).sum(axis=1))
        matrix = csr_array(diags_array(1 / np.maximum(length, 1e-9)) @ matrix, dtype=np.float32)
        rarity = _rarity(matrix, [slice(0, matrix.shape[0])])
        return cls(matrix, (matrix.power(2).mean(axis=0) * rarity**2).astype(np.float32))

    def scaling(self, seen: Sequence[slice]) -> tuple[Float32, Float32]:
        rarity = _rarity(self.matrix, seen)
        return np.zeros_like(rarity), rarity

    def inverse(self, curvature: float, strength: float) -> Precondition:
        hessian = np.float32(curvature) * self.squares + np.float32(strength)
        return lambda gradients: gradients / hessian


def _rarity(matrix: Any, seen: Sequence[slice]) -> Float32:
    """[D] the logarithm of how rare each word is in the rows seen, smoothed; 0 for one that is not there."""
    n_texts = np.zeros(matrix.shape[1])
    for rows in seen:
        n_texts += np.bincount(matrix[rows].indices, minlength=matrix.shape[1])
    n_seen = sum(rows.stop - rows.start for rows in seen)
    return np.where(n_texts > 0, np.log((1 + n_seen) / (1 + n_texts)) + 1, 0).astype(np.float32)


def _guesses(types: Int64, values: Values, n_classes: int, seen: npt.NDArray[np.bool_]) -> Values:
    """[T] what to say of each type, by the rows seen."""
    n_types = int(types.max()) + 1
    if not n_classes:
        n = np.bincount(types[seen], minlength=n_types)
        total = np.bincount(types[seen], values[seen], minlength=n_types)
        return np.where(n > 0, total / np.maximum(n, 1), values[seen].mean())
    pairs, count = np.unique(types[seen] * n_classes + values[seen], return_counts=True)
    found = np.full(n_types, np.bincount(values[seen], minlength=n_classes).argmax())
    rising = np.argsort(count, kind="stable")  # the commonest is written last
    found[pairs[rising] // n_classes] = pairs[rising] % n_classes
    return found
