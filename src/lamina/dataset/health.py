"""The health of a dataset's vectors, a report a column: what is missing, how long vectors are, how they point, which
dimensions dominate, and how far they are from ones computed anew.

Each column is read once, block by block. No model is known here: who can compute vectors anew hands them in.
Shapes: U rows, D width, N sampled rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.dataset.reader import Dataset
from lamina.embeddings import Vectors
from lamina.errors import SpecError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

N_STRONGEST = 3


@dataclass(frozen=True, slots=True)
class Dimension:
    """One of D: its number, and its share of the mean squared norm."""

    index: int
    share: float


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the stored vectors of some rows are from vectors computed anew in float32.

    A vector that only one side has counts as cosine 0 and error 1; rows that neither has are left out of `n_rows`.

    worst_error  the largest of |stored - new| / |new|.
    """

    n_rows: int
    worst_cosine: float
    median_cosine: float
    worst_error: float


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """One vector column. Norms and shares are over all finite rows; None where there are none.

    n_nan_rows  rows without a vector (units without tokens).
    n_infinite  numbers that are infinite.
    anisotropy  the mean cosine of two different rows, over all pairs of the sampled ones (Ethayarajh 2019): 0 where
                vectors point everywhere, 1 where all point the same way. None where fewer than two have a direction.
    strongest   the dimensions with the largest shares of the mean squared norm: 1 / D each where none is rogue
                (Timkey and van Schijndel 2021).
    """

    column: str
    n_rows: int
    n_nan_rows: int
    n_infinite: int
    norm_mean: float | None
    norm_min: float | None
    norm_max: float | None
    anisotropy: float | None
    strongest: tuple[Dimension, ...]
    drift: Drift | None


def health(
    dataset: Dataset,
    *,
    sample: int = 2000,
    seed: int = 0,
    drift: Mapping[str, Vectors] | None = None,
    drift_rows: Sequence[int] | None = None,
) -> list[LayerHealth]:
    """The health of each vector column, the same for the same `seed`.

    sample      how many rows, drawn at random, anisotropy is measured on.
    drift       for each column (or some), vectors [N, D] computed anew for the rows `drift_rows`, in that order.
    drift_rows  None: the sampled rows, which are `sampled_rows(len(dataset), sample=sample, seed=seed)`.

    Raises SpecError where `drift` does not fit, DatasetError where the dataset is damaged.
    """
    rows = sampled_rows(len(dataset), sample=sample, seed=seed)
    compared = rows if drift_rows is None else np.asarray(drift_rows, np.int64)
    for column, anew in (drift or {}).items():
        expected = (compared.size, dataset.manifest.width)
        if column not in dataset.manifest.vector_columns or anew.shape != expected:
            raise SpecError(
                f"drift holds {column!r} {list(anew.shape)}; expected {list(expected)} for one of "
                f"{', '.join(dataset.manifest.vector_columns)}"
            )
    if compared.size and not 0 <= compared.min() <= compared.max() < len(dataset):
        raise SpecError(
            f"drift_rows run from {compared.min()} to {compared.max()}; the rows are 0 to {len(dataset) - 1}"
        )
    return [
        _of_column(dataset, column, rows, compared, (drift or {}).get(column))
        for column in dataset.manifest.vector_columns
    ]


def sampled_rows(n_rows: int, *, sample: int, seed: int = 0) -> Int64:
    """Row numbers drawn at random without repetition, ascending: `sample` of them, or all where there are fewer."""
    if sample < 1:
        raise SpecError(f"sample must be at least 1, not {sample}")
    return np.sort(np.random.default_rng(seed).choice(n_rows, min(sample, n_rows), replace=False, shuffle=False))


def _of_column(dataset: Dataset, column: str, rows: Int64, compared: Int64, anew: Vectors | None) -> LayerHealth:
    n_nan_rows = n_infinite = n_finite = 0
    shortest, longest, sum_of_norms = np.inf, 0.0, 0.0
    squares = np.zeros(dataset.manifest.width)  # [D]
    wanted = np.union1d(rows, compared) if anew is not None else rows
    picked, first = [], 0
    for block in dataset.blocks(column):
        values = block.astype(np.float64)  # [N, D]
        low, high = np.searchsorted(wanted, (first, first + len(block)))
        picked.append(values[wanted[low:high] - first])
        first += len(block)
        n_nan_rows += int(np.isnan(values).any(axis=1).sum())
        n_infinite += int(np.isinf(values).sum())
        squared = values[np.isfinite(values).all(axis=1)] ** 2
        if len(squared):
            norms = np.sqrt(squared.sum(axis=1))
            n_finite += len(squared)
            shortest, longest = min(shortest, float(norms.min())), max(longest, float(norms.max()))
            sum_of_norms += float(norms.sum())
            squares += squared.sum(axis=0)
    held = np.concatenate(picked) if picked else np.empty((0, dataset.manifest.width))
    return LayerHealth(
        column=column,
        n_rows=len(dataset),
        n_nan_rows=n_nan_rows,
        n_infinite=n_infinite,
        norm_mean=sum_of_norms / n_finite if n_finite else None,
        norm_min=shortest if n_finite else None,
        norm_max=longest if n_finite else None,
        anisotropy=_anisotropy(held[np.searchsorted(wanted, rows)]),
        strongest=_strongest(squares),
        drift=None if anew is None else _drift(held[np.searchsorted(wanted, compared)], anew.astype(np.float64)),
    )


def _anisotropy(vectors: Float64) -> float | None:
    """The mean cosine over all pairs of different rows [N, D]: the squared length of the sum of the unit vectors holds
    every pair twice and each row with itself once."""
    vectors = vectors[np.isfinite(vectors).all(axis=1)]
    norms = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    units = vectors[norms[:, 0] > 0] / norms[norms[:, 0] > 0]
    n = len(units)
    if n < 2:
        return None
    return float(((units.sum(axis=0) ** 2).sum() - n) / (n * (n - 1)))


def _strongest(squares: Float64) -> tuple[Dimension, ...]:
    total = squares.sum()
    if not total > 0:
        return ()
    order = np.argsort(-squares, kind="stable")[:N_STRONGEST]
    return tuple(Dimension(int(index), float(squares[index] / total)) for index in order)


def _drift(stored: Float64, anew: Float64) -> Drift | None:
    """Of the same rows [N, D]; None where none can be compared."""
    there, here = np.isfinite(stored).all(axis=1), np.isfinite(anew).all(axis=1)
    both, either = there & here, there | here
    if not either.any():
        return None
    a, b = stored[both], anew[both]
    error, length = np.linalg.norm(a - b, axis=1), np.linalg.norm(b, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(error == 0, 1.0, np.clip((a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * length), -1, 1))
        relative = np.where(error == 0, 0.0, error / length)
    n_one_sided = int((either & ~both).sum())
    cosines = np.append(np.nan_to_num(cosine), np.zeros(n_one_sided))
    errors = np.append(np.nan_to_num(relative, posinf=1.0), np.ones(n_one_sided))
    return Drift(int(either.sum()), float(cosines.min()), float(np.median(cosines)), float(errors.max()))
