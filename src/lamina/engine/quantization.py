"""Multiplying in 8 bits: how the numbers that enter a matrix, and the matrix, become integers.

Static and calibrated: ranges come from texts seen before (`lamina.engine.calibration`), so a text's bits do not depend
on its batch. Before rounding, each channel of the input is divided by a number of its own, which the matrix's column is
multiplied with: outliers of a few channels then cost the others no precision. Source: Xiao et al. 2022 (SmoothQuant),
equation 4, the exponent chosen for each input. Weights: symmetric, a scale for each row.
Shapes: N places, D the input's width, W the output's.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import Float32

LEVELS = 256
EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
SENSITIVE = 0.1  # a matrix whose product would be off by more than this (relative L2) stays in 16 bits
UNSIGNED = 0.3  # an input that reaches below zero by less than this share of its top has no integers for as much below
SMALLEST = 1e-5  # a channel that is always zero has a range too


@dataclass(frozen=True, slots=True)
class Rounding:
    """How one input becomes integers: x / smooth, LEVELS steps from low to high, what is beyond them cut.

    smooth  [D].
    error   the relative L2 error that it makes in the products it enters, on the texts it was fitted on.
    """

    smooth: Float32
    low: float
    high: float
    error: float

    @property
    def is_sensitive(self) -> bool:
        """Whether the matrices it enters should stay in 16 bits."""
        return self.error > SENSITIVE

    def apply(self, x: Float32) -> Float32:
        """The nearest of the LEVELS values of x / smooth, float32 [..., D]: the slow twin of the graph's rounding."""
        step = np.float32((self.high - self.low) / (LEVELS - 1))
        steps = np.round((np.clip(x / self.smooth, self.low, self.high) - np.float32(self.low)) / step)
        rounded: Float32 = steps.astype(np.float32) * step + np.float32(self.low)
        return rounded


@dataclass(frozen=True, slots=True)
class Calibration:
    """The roundings of a model: that of each matrix product over a batch, in the order of the forward pass.

    Products that share an input (query, key and value) share its rounding.
    """

    roundings: tuple[Rounding, ...]

    @property
    def sha256(self) -> str:
        """Of all numbers that decide a result."""
        digest = hashlib.sha256()
        for rounding in self.roundings:
            digest.update(rounding.smooth.tobytes())
            digest.update(np.array([rounding.low, rounding.high, rounding.is_sensitive]).tobytes())
        return digest.hexdigest()

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """As arrays by name, for a file."""
        shared: list[Rounding] = []
        which = []
        for rounding in self.roundings:
            if not shared or shared[-1] is not rounding:
                shared.append(rounding)
            which.append(len(shared) - 1)
        values = np.array([(one.low, one.high, one.error) for one in shared], np.float32)
        smooth = {f"smooth.{k}": one.smooth for k, one in enumerate(shared)}
        return {"which": np.array(which, np.float32), "values": values, **smooth}

    @classmethod
    def of_tensors(cls, tensors: dict[str, npt.NDArray[np.float32]]) -> Calibration:
        """The inverse of `tensors`. Raises KeyError or ValueError for arrays that are none."""
        shared = [Rounding(tensors[f"smooth.{k}"], *map(float, values)) for k, values in enumerate(tensors["values"])]
        return cls(tuple(shared[int(k)] for k in tensors["which"]))


def fit(sample: Float32, lowest: Float32, highest: Float32, weights: Sequence[Float32]) -> Rounding:
    """The best rounding of an input.

    sample           [N, D]; some of its places.
    lowest, highest  [D]; of all places seen.
    weights          the matrices [W, D] that it enters.
    """
    stacked = np.concatenate(weights)
    exact = sample @ stacked.T
    norm = float(np.linalg.norm(exact)) or 1.0
    tried = []
    for exponent in EXPONENTS:
        rounding = _with_exponent(exponent, lowest, highest, stacked)
        product = rounding.apply(sample) @ _rounded_weight(stacked * rounding.smooth).T
        tried.append(replace(rounding, error=float(np.linalg.norm(product - exact)) / norm))
    return min(tried, key=lambda rounding: rounding.error)


def integer_weight(weight: Float32, smooth: Float32) -> tuple[npt.NDArray[np.int8], Float32]:
    """A matrix [W, D] for a smoothed input, as integers -127 to 127 [W, D] and the scale of each row [W, 1]."""
    smoothed = weight * smooth
    scale = np.maximum(np.abs(smoothed).max(axis=1, keepdims=True), SMALLEST) / np.float32(127)
    return np.round(smoothed / scale).astype(np.int8), scale.astype(np.float32)


def same_input(inputs: Sequence[object]) -> list[list[int]]:
    """The numbers of the products, those that follow one another on the same input together."""
    groups = itertools.groupby(range(len(inputs)), key=lambda k: id(inputs[k]))
    return [list(numbers) for _, numbers in groups]


def _with_exponent(exponent: float, lowest: Float32, highest: Float32, weight: Float32) -> Rounding:
    of_input = np.maximum(np.maximum(-lowest, highest), SMALLEST)
    of_weight = np.maximum(np.abs(weight).max(axis=0), SMALLEST)
    smooth = (of_input**exponent / of_weight ** (1 - exponent)).astype(np.float32)
    low, high = min(float((lowest / smooth).min()), 0.0), max(float((highest / smooth).max()), SMALLEST)
    if -low > UNSIGNED * high:  # as many steps below zero as above, and zero one of them
        top = max(-low, high)
        low, high = -top * 128 / 127, top
    return Rounding(smooth, low, high, error=np.inf)


def _rounded_weight(smoothed: Float32) -> Float32:
    integers, scale = integer_weight(smoothed, np.ones(1, np.float32))
    return integers * scale
