"""A `Transform`: what is done to vectors after extraction.

Comes in: the vectors of one column, block by block. Goes out: a mean and a basis, which `apply` uses on any vectors of
the same model and column, such as those of a query. Everything is computed in float64, in the memory of a block and of
[D, D]. How it is stored is not known here. Shapes: U rows, D width of the vectors, d of those that come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.embeddings import Vectors, unit_length
from lamina.errors import DatasetError, SpecError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

BLOCK_ROWS = 4096  # turned into float64 at once

# A direction is data where its variance is above both: 1e-10 of the strongest one's (beyond, a float32 basis leaks more
# of the strongest into it than it holds), and this many times what rounding to the stored type alone makes. Every
# BERT's layer norm leaves one direction without variance; stored as float16 it measures 0.6 times the
# rounding, the next weakest one 1e5 times.
WEAKEST = 1e-10
ROUNDINGS = 4.0


@dataclass(frozen=True, slots=True)
class Options:
    """What a transform does, in this order.

    centre     subtract the mean.
    remove     take out this many of the strongest principal components (all-but-the-top: Mu and Viswanath 2018).
    whiten     turn to the principal directions that are left and scale each to unit variance (Su et al. 2021).
    dims       keep so many numbers: of the strongest directions left, where components are removed or whitened;
               otherwise the first ones of each vector (Matryoshka: Kusupati et al. 2022). None: all.
    normalize  scale each vector to unit length.
    """

    centre: bool = True
    whiten: bool = False
    remove: int = 0
    dims: int | None = None
    normalize: bool = False

    def __post_init__(self) -> None:
        for name in ("centre", "whiten", "normalize"):
            if not isinstance(getattr(self, name), bool):
                raise SpecError(f"{name} must be True or False, not {getattr(self, name)!r}")
        for name, least in (("remove", 0), ("dims", 1)):
            value = getattr(self, name)
            if not (name == "dims" and value is None) and (
                not isinstance(value, int) or isinstance(value, bool) or value < least
            ):
                raise SpecError(f"{name} must be a whole number of at least {least}, not {value!r}")

    @property
    def is_principal(self) -> bool:
        """Whether principal components are needed."""
        return self.whiten or self.remove > 0

    def n_directions(self, width: int) -> int:
        """How many principal directions are needed of vectors [U, `width`]. Raises SpecError where that cannot be."""
        if self.remove >= width:
            raise SpecError(f"remove is {self.remove:,}, but the vectors have {width:,} numbers: nothing would be left")
        if self.dims is not None and self.dims > width - self.remove:
            raise SpecError(
                f"dims is {self.dims:,}, but the vectors have {width:,} numbers"
                + (f", of which {self.remove:,} directions are removed" if self.remove else "")
            )
        if not self.is_principal:
            return 0
        return self.remove + (self.dims or (width - self.remove if self.whiten else 0))


@dataclass(frozen=True, slots=True, eq=False)
class Transform:
    """A fitted transform of one column: `(vectors - mean) @ basis`, then unit length where `options.normalize`.

    n_rows  how many rows it was fitted on, those without tokens (NaN) left out.
    mean    float32 [D]; zeros where the vectors are not centred.
    basis   float32 [D, d]; None: the first `options.dims` numbers as they are.
    """

    options: Options
    n_rows: int
    mean: Float32
    basis: Float32 | None

    def __post_init__(self) -> None:
        n_taken = self.mean.size if self.basis is None else len(self.basis)
        if n_taken != self.mean.size or not 1 <= self.width <= self.mean.size:
            raise ValueError(f"a mean of {self.mean.size}, a basis from {n_taken} to {self.width}")

    @classmethod
    def fit(
        cls,
        vectors: Vectors,
        *,
        centre: bool = True,
        whiten: bool = False,
        remove: int = 0,
        dims: int | None = None,
        normalize: bool = False,
    ) -> Transform:
        """Fit on vectors [U, D]; the options are those of `Options`. Rows of NaN are left out.

        Raises SpecError where the vectors have too few numbers or span too few directions, DatasetError where there
        are too few rows or they hold infinite values.
        """
        options = Options(centre=centre, whiten=whiten, remove=remove, dims=dims, normalize=normalize)
        return fit_columns({"vectors": [vectors]}, options, width=vectors.shape[1])["vectors"]

    def __repr__(self) -> str:
        return f"Transform({self.mean.size} → {self.width}, fitted on {self.n_rows:,} rows; {self.options})"

    @property
    def width(self) -> int:
        """d of the vectors that come out."""
        return self.basis.shape[1] if self.basis is not None else self.options.dims or self.mean.size

    def apply(self, vectors: Vectors) -> Float32:
        """The vectors [U, D] transformed, float32 [U, d]; NaN stays NaN. Raises SpecError for another width."""
        if vectors.ndim != 2 or vectors.shape[1] != self.mean.size:
            raise SpecError(f"the transform takes vectors [U, {self.mean.size}], not {list(vectors.shape)}")
        result = np.empty((len(vectors), self.width), np.float32)
        basis = None if self.basis is None else self.basis.astype(np.float64)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = vectors[start : start + BLOCK_ROWS].astype(np.float64) - self.mean
            result[start : start + BLOCK_ROWS] = block[:, : self.width] if basis is None else block @ basis
        return unit_length(result) if self.options.normalize else result


def fit_columns(columns: Mapping[str, Iterable[Vectors]], options: Options, *, width: int) -> dict[str, Transform]:
    """A transform for each column of vectors [U, `width`], given as blocks of rows that are read once and not kept.

    Raises SpecError, naming every column, where some span too few directions for what is asked.
    """
    needed = options.n_directions(width)
    fitted: dict[str, Transform] = {}
    ranks: dict[str, int] = {}
    for name, blocks in columns.items():
        moments = _moments(blocks, name, width, with_scatter=needed > 0)
        if moments.n_rows < (2 if needed else 1):
            raise DatasetError(
                f"{name} has {moments.n_rows} rows with a vector: too few to fit a transform on, which takes "
                f"{2 if needed else 1} at least"
            )
        basis = None
        if needed:
            variances, directions, rank = _principal(moments)
            if rank < needed:
                ranks[name] = rank
                continue
            basis = _basis(variances, directions, options)
        mean = moments.mean if options.centre else np.zeros(width)
        fitted[name] = Transform(options, moments.n_rows, mean.astype(np.float32), basis)
    if ranks:
        raise SpecError(_too_few_directions(ranks, needed, options))
    return fitted


@dataclass(slots=True)
class _Moments:
    """The first and second moments of rows. `eps` is the resolution of the type that they came in."""

    n_rows: int
    mean: Float64  # [D]
    scatter: Float64  # [D, D], the sum of the products of deviations from the mean
    eps: float


def _moments(blocks: Iterable[Vectors], name: str, width: int, *, with_scatter: bool) -> _Moments:
    """Block by block, each added to those before it by the update of Chan, Golub and LeVeque (1983), which does not
    cancel where the mean is large."""
    total = _Moments(0, np.zeros(width), np.zeros((width, width) if with_scatter else (0, 0)), 0.0)
    for block in _small(blocks):
        total.eps = max(total.eps, float(np.finfo(block.dtype).eps))
        values = block[~np.isnan(block).any(axis=1)].astype(np.float64)  # [N, D]
        if not np.isfinite(values).all():
            raise DatasetError(f"{name} holds infinite values: no transform can be fitted on them")
        if not len(values):
            continue
        n_rows, mean = total.n_rows + len(values), values.mean(axis=0)
        shift = mean - total.mean
        if with_scatter:
            values -= mean
            total.scatter += values.T @ values + np.outer(shift, shift) * (total.n_rows * len(values) / n_rows)
        total.mean += shift * (len(values) / n_rows)
        total.n_rows = n_rows
    return total


def _small(blocks: Iterable[Vectors]) -> Iterator[Vectors]:
    """The blocks cut so small that each may be copied in float64."""
    for block in blocks:
        for start in range(0, len(block), BLOCK_ROWS):
            yield block[start : start + BLOCK_ROWS]


def _principal(moments: _Moments) -> tuple[Float64, Float64, int]:
    """The variances [D] and principal directions [D, D] as columns, strongest first, and how many are data.

    A direction's sign is such that its largest number (the first of them) is positive.
    """
    variances, directions = np.linalg.eigh(moments.scatter / (moments.n_rows - 1))
    variances, directions = variances[::-1], directions[:, ::-1]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.where(directions[largest, np.arange(len(largest))] < 0, -1.0, 1.0)
    # Rounding x to a type of resolution eps has at most the variance (eps x)² / 12.
    mean_squares = moments.mean**2 + np.diag(moments.scatter) / moments.n_rows
    rounding = moments.eps**2 / 12 * (mean_squares @ directions**2)
    is_data = variances > np.maximum(WEAKEST * max(variances[0], 0.0), ROUNDINGS * rounding)
    rank = len(is_data) if is_data.all() else int(is_data.argmin())
    return variances, directions, min(rank, moments.n_rows - 1)


def _basis(variances: Float64, directions: Float64, options: Options) -> Float32:
    """The basis [D, d] that removes, whitens and truncates."""
    if not options.whiten and options.dims is None:  # the vectors keep their coordinates
        removed = directions[:, : options.remove]
        return (np.eye(len(directions)) - removed @ removed.T).astype(np.float32)
    kept = slice(options.remove, None if options.dims is None else options.remove + options.dims)
    basis = directions[:, kept] / np.sqrt(variances[kept]) if options.whiten else directions[:, kept]
    return np.ascontiguousarray(basis, np.float32)


def _too_few_directions(ranks: Mapping[str, int], needed: int, options: Options) -> str:
    least = min(ranks.values())
    spans = ", ".join(f"{name} {rank:,}" for name, rank in ranks.items())
    if least > options.remove:
        advice = f"ask for dims={least - options.remove} or fewer"
    else:
        advice = f"remove fewer than {options.remove:,}, or fit on more rows"
    return (
        f"{needed:,} directions are needed, and the vectors span fewer: {spans}. (n rows span n - 1 at most, and layer "
        f"norm takes one away: in the directions beyond, nothing varies but rounding.) {advice[0].upper()}{advice[1:]}"
    )
