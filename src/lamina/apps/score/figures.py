"""Figures of many scores: their mean, and how well they agree with people's judgements, in any order of the pairs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lamina.errors import MissingExtraError, SpecError

Float64 = npt.NDArray[np.float64]

CORRELATIONS = ("pearson", "spearman", "kendall")


def mean_of(values: Float64) -> float:
    """The mean of those that are numbers, summed exactly, so that it does not depend on their order; NaN of none."""
    known = values[~np.isnan(values)]
    return math.fsum(known.tolist()) / known.size if known.size else math.nan


def correlations(scores: Float64, judged: Float64) -> dict[str, float]:
    """Pearson's r, Spearman's rho and Kendall's tau-b of scores [P] with judgements [P]; pairs that lack either are
    left out. NaN where either is constant.

    Raises SpecError for fewer than two pairs, MissingExtraError without scipy.
    """
    try:
        from scipy import stats
    except ImportError:
        raise MissingExtraError(
            "correlations need scipy, which comes with scikit-learn: pip install 'lamina[apps]'"
        ) from None
    known = ~np.isnan(scores) & ~np.isnan(judged)
    if known.sum() < 2:
        raise SpecError("correlations need two pairs at least that have a score and a judgement")
    order = np.lexsort((scores[known], judged[known]))
    a, b = scores[known][order], judged[known][order]
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return dict.fromkeys(CORRELATIONS, math.nan)
    found = (stats.pearsonr(a, b), stats.spearmanr(a, b), stats.kendalltau(a, b))
    return {name: float(result.statistic) for name, result in zip(CORRELATIONS, found, strict=True)}
