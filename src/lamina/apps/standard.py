"""Standardised vectors: each number less its mean, over its deviation, as linear models want them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.errors import SpecError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Standard:
    """mean [D] and scale [D] of the vectors it was fitted on; a number that never changes has the scale 1."""

    mean: Float32
    scale: Float32

    @classmethod
    def of(cls, vectors: Float32) -> Standard:
        """Fitted on [U, D] vectors; rows of NaN (units without tokens) are left out. Raises SpecError without any, and
        for infinite ones."""
        held = vectors[~np.isnan(vectors[:, 0])]
        if not len(held):
            raise SpecError("no unit has a vector: are all texts empty?")
        mean = finite(held.mean(axis=0, dtype=np.float64))
        scale = held.std(axis=0, dtype=np.float64)
        scale[scale < 1e-12] = 1
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def apply(self, vectors: Float32) -> Float32:
        """Other vectors [U, D] likewise; a row of NaN becomes the mean, zeros. Raises SpecError for another width."""
        if vectors.shape[1] != len(self.mean):
            raise SpecError(f"these vectors have {vectors.shape[1]:,} numbers; {len(self.mean):,} were learnt from")
        result: Float32 = (vectors - self.mean) / self.scale
        result[np.isnan(vectors[:, 0])] = 0
        return result


def finite(mean: Float64) -> Float64:
    """The mean [D] of vectors that are to be learnt from. Raises SpecError where one of them is infinite."""
    if not np.isfinite(mean).all():
        raise SpecError(
            "the vectors hold infinite values, too large for float16 perhaps: extract with --dtype float32, or take "
            "another layer (`lamina show DATASET --health` counts them)"
        )
    return mean
