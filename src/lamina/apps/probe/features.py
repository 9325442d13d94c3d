"""What a linear probe looks at: rows that lie part by part and can be standardised by any of the parts.

Two kinds: `Dense`, a layer's vectors, standardised by mean and deviation; `Counts`, words in texts, weighted by rarity.
Shapes: N rows, D columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lamina.apps.folds import Parts
from lamina.apps.probe.descent import Float32, Int64, Precondition
from lamina.apps.standard import finite

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The order in which rows lie: part by part, and in each part those first that may be fitted on.

    order     [N] which row of the input lies here.
    starts    [parts + 1] where each part begins; the last: N.
    n_fitted  [parts] how many of its rows may be fitted on.
    """

    order: Int64
    starts: Int64
    n_fitted: Int64

    @classmethod
    def of(cls, parts: Parts, may_fit: Bool | None = None) -> Layout:
        """The layout of some parts; `may_fit` [N] leaves rows out of every fit, None: none."""
        fits = np.ones(parts.of.size, bool) if may_fit is None else may_fit
        n_rows, n_fitted = (np.bincount(parts.of[chosen], minlength=parts.n) for chosen in (slice(None), fits))
        return cls(np.lexsort((~fits, parts.of)), np.concatenate(([0], np.cumsum(n_rows))), n_fitted)

    @property
    def n_parts(self) -> int:
        return self.n_fitted.size

    def rows(self, part: int) -> slice:
        """Where a part lies."""
        return slice(int(self.starts[part]), int(self.starts[part + 1]))

    def fitted(self, part: int) -> slice:
        """Where those of its rows lie that may be fitted on."""
        return slice(int(self.starts[part]), int(self.starts[part] + self.n_fitted[part]))


class Features(Protocol):
    """Rows in the order of a layout. `matrix` [N, D] is dense or sparse, in float32."""

    @property
    def matrix(self) -> Any: ...

    def scaling(self, seen: Sequence[slice]) -> tuple[Float32, Float32]:
        """What is subtracted from each column and what it is then multiplied by [D], as the rows seen say."""

    def inverse(self, curvature: float, strength: float) -> Precondition:
        """A function: gradients [F, D] times about the inverse of the loss's Hessian."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Vectors, each column standardised.

    gram    [D, D] of all rows, a row: what the Hessian of every fit is close to.
    factor  [D] what the columns were multiplied by.
    """

    matrix: Float32
    gram: Float32
    factor: Float32

    @classmethod
    def of(cls, vectors: Float32) -> Dense:
        """Features of vectors [N, D], which are overwritten.

        They are centred and scaled over all rows first. That tells no probe anything: each one's own standardisation
        undoes it. It makes float32 sums exact enough where a mean is large beside its deviation. Raises SpecError for
        infinite ones.
        """
        vectors -= finite(vectors.mean(axis=0, dtype=np.float64)).astype(np.float32)
        factor = _inverse_deviation(np.einsum("nd,nd->d", vectors, vectors, dtype=np.float64) / len(vectors))
        vectors *= factor
        gram = vectors.T @ vectors
        gram /= len(vectors)
        return cls(vectors, gram, factor)

    def scaling(self, seen: Sequence[slice]) -> tuple[Float32, Float32]:
        n = max(1, sum(rows.stop - rows.start for rows in seen))
        mean = sum(self.matrix[rows].sum(axis=0, dtype=np.float64) for rows in seen) / n
        squares = sum(np.einsum("nd,nd->d", (m := self.matrix[rows]), m, dtype=np.float64) for rows in seen) / n
        return mean.astype(np.float32), _inverse_deviation(squares - mean**2)

    def inverse(self, curvature: float, strength: float) -> Precondition:
        from scipy.linalg import cho_factor, cho_solve

        hessian = np.float32(curvature) * self.gram
        hessian[np.diag_indices_from(hessian)] += np.float32(strength)
        factor = cho_factor(hessian, overwrite_a=True, check_finite=False)
        return lambda gradients: cho_solve(factor, gradients.T, check_finite=False).T


def _inverse_deviation(variance: npt.NDArray[np.float64]) -> Float32:
    """1 / the deviation of each column; 1 for one that is constant, as layer norms leave one or two."""
    deviation = np.sqrt(np.maximum(variance, 0))
    return np.divide(1, deviation, out=np.ones_like(deviation), where=deviation > 1e-5).astype(np.float32)
