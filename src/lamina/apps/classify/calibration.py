"""Probabilities from scores, and how far they can be trusted.

Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks"): softmax(scores / T), one number T
found on examples that the classifier had not seen. It changes no prediction, and one number cannot be overfitted.
Shapes: U rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

BINS = 15  # as Guo et al. have it
LOWEST, HIGHEST = 1e-3, 1e4  # a temperature; naive Bayes of 384 numbers needs about 50
FLOOR = 1e-12  # a probability is not taken to be smaller, so that one row cannot make a log loss infinite


@dataclass(frozen=True, slots=True)
class Bin:
    """The predictions whose probability is above `low`, at most `high`: their mean probability, and how many are
    right."""

    low: float
    high: float
    n: int
    probability: float
    accuracy: float


def softmax(scores: Float64, temperature: float = 1.0) -> Float64:
    """[U, C] probabilities; a score of minus infinity gives 0."""
    scaled = scores / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf, where=np.isfinite(scaled)))
    probabilities: Float64 = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def fit_temperature(scores: Float64, classes: Int64) -> float:
    """The temperature at which the classes [U] are likeliest, of scores [U, C] of rows that were not learnt from."""
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(60):  # golden section: the log loss has one minimum in 1 / T, where it is convex
        third = (high - low) * 0.381966
        a, b = low + third, high - third
        if log_loss(softmax(scores, np.exp(a)), classes) < log_loss(softmax(scores, np.exp(b)), classes):
            high = b
        else:
            low = a
    return float(np.exp((low + high) / 2))


def log_loss(probabilities: Float64, classes: Int64) -> float:
    """The mean of -log of the right class's probability."""
    right = probabilities[np.arange(len(classes)), classes]
    return float(-np.log(np.clip(right, FLOOR, 1)).mean()) + 0.0  # never minus nought


def bins_of(probabilities: Float64, is_right: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """The predictions' probabilities [U] in equal bins, those that hold any."""
    which = np.clip(np.ceil(probabilities * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return tuple(
        Bin(
            k / BINS, (k + 1) / BINS, int(there.sum()), float(probabilities[there].mean()),
            float(is_right[there].mean())
        )
        for k in range(BINS)
        if (there := which == k).any()
    )  # fmt: skip


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """The expected calibration error: how far a bin's accuracy is from its mean probability, the mean over predictions
    (Guo et al. 2017, equation 3)."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.probability - one.accuracy) for one in bins) / total if total else 0.0
