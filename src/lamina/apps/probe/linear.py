"""The linear probe: a regularised linear model fitted on some parts of the data, for many choices of parts at once.

Comes in: features, targets, `Parts`. Goes out: for each held part, scores by a probe that never saw it.

Classes get a softmax (multinomial logistic regression), numbers least squares, both with a penalty on the weights'
squares; how strong, is chosen inside, by the loss on inner parts, from the strongest downward until it rises. Vectors
are standardised by the rows that a fit sees, and only these. Nothing is copied for that: the mean and scale of each fit
go into its weights, so one matrix product serves all fits. Shapes: N rows, D width, C classes (numbers: 1), F fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.apps.folds import Parts
from lamina.apps.probe.descent import Float32, Float64, Int64, minimise
from lamina.apps.probe.features import Features, Layout

Unseen = frozenset[int]

STRENGTHS = tuple(10.0 ** (-k / 2) for k in range(10))  # of the penalty, a row: 1, 0.32 ... 3e-5
# How far above its minimum the loss may stay, of what it is where nothing is known: to choose, and to predict.
# Banking77 at layer 3 scores 0.8943 fitted to 1e-5 in 8.1 s, 0.8942 so in 3.8 s; with 1e-3 to choose, warm starts lag
# behind the path, weaker penalties are chosen, and it scores 0.8901.
ROUGH, FINE = 2e-4, 1e-4
MAX_STEPS = 60
CELLS = 1 << 18  # scores computed at once: 1 MB, which stays in the cache


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What is to be predicted.

    values     [N]: classes as numbers 0 .. C-1 (int64), or numbers (float32).
    n_classes  C, or 0 for numbers.
    """

    values: npt.NDArray[Any]
    n_classes: int = 0

    @property
    def width(self) -> int:
        return self.n_classes or 1

    @property
    def curvature(self) -> float:
        """The loss's second derivative where nothing is known yet."""
        return 1 / self.n_classes if self.n_classes else 1.0

    @property
    def ignorance(self) -> float:
        """The loss of a row where nothing is known."""
        return float(np.log(self.n_classes)) if self.n_classes else 0.5

    def loss(self, scores: Float32, rows: slice) -> Float64:
        """The loss [F], summed over some rows, of scores [F, C, rows], which become its derivatives."""
        values = self.values[rows]
        if not self.n_classes:
            scores -= values
            squares: Float64 = np.einsum("fcn,fcn->f", scores, scores, dtype=np.float64) / 2
            return squares
        place = np.arange(values.size)
        scores -= scores.max(axis=1, keepdims=True)
        right = scores[:, values, place].sum(axis=1, dtype=np.float64)
        np.exp(scores, out=scores)
        total = scores.sum(axis=1)
        scores /= total[:, None]
        scores[:, values, place] -= 1
        loss: Float64 = np.log(total).sum(axis=1, dtype=np.float64) - right
        return loss


class Fits:
    """F linear models over the same rows, each of which does not see some parts.

    A model is a row of unknowns [C * (D + 1)]: for each class the weights of the standardised columns, then the bias.

    targets  in the order of the layout.
    """

    def __init__(self, features: Features, targets: Targets, layout: Layout, unseen: Sequence[Unseen]) -> None:
        self.features, self.targets, self.layout = features, targets, layout
        parts = range(layout.n_parts)
        self.sees = np.array([[part not in one for part in parts] for one in unseen])  # [F, parts]
        scaling = [features.scaling([layout.fitted(p) for p in parts if p not in one]) for one in unseen]
        self.shift, self.factor = (np.stack([pair[k] for pair in scaling]) for k in (0, 1))  # [F, D]
        self.n_rows = np.maximum(1, (self.sees * layout.n_fitted).sum(axis=1)).astype(np.float32)  # [F]
        self.shape = (targets.width, features.matrix.shape[1] + 1)

    def start(self) -> Float32:
        """Models that know nothing [F, C * (D + 1)]."""
        return np.zeros((len(self.sees), self.shape[0] * self.shape[1]), np.float32)

    def fit(self, start: Float32, *, strength: float, tolerance: float) -> Float32:
        """The models that minimise the mean loss of what each sees and strength / 2 times its squared weights, up to
        `tolerance` of the loss of knowing nothing."""
        curvature = self.targets.curvature
        inverse = self.features.inverse(curvature, strength)

        def precondition(gradient: Float32) -> Float32:
            unknowns = gradient.reshape(-1, self.shape[1])
            found = np.empty_like(unknowns)
            found[:, :-1] = inverse(unknowns[:, :-1])
            found[:, -1] = unknowns[:, -1] / curvature
            return found.reshape(gradient.shape)

        def evaluate(which: Int64, models: Float32) -> tuple[Float64, Float32]:
            return self.loss(which, models, strength)

        enough = tolerance * self.targets.ignorance
        return minimise(evaluate, precondition, start, tolerance=enough, max_steps=MAX_STEPS)

    def scores(self, model: Float32, fit: int, rows: slice) -> Float32:
        """What one model, that of a fit, says of some rows [C, rows]."""
        weights, bias = self._applied(np.array([fit]), model[None])
        found: Float32 = weights[0] @ self.features.matrix[rows].T + bias[0][:, None]
        return found

    def weights(self, model: Float32, fit: int) -> Float32:
        """What one model multiplies the features' columns by [C, D]."""
        found: Float32 = self._applied(np.array([fit]), model[None])[0][0]
        return found

    def loss(self, which: Int64, models: Float32, strength: float) -> tuple[Float64, Float32]:
        """The penalised mean loss of some fits' models, [F] and its gradient [F, C * (D + 1)]."""
        weights, bias = self._applied(which, models)
        value, slope, total = np.zeros(len(which)), np.zeros_like(weights), np.zeros_like(bias)
        for part in range(self.layout.n_parts):
            on = np.flatnonzero(self.sees[which, part])
            flat, offset = weights[on].reshape(-1, weights.shape[2]), bias[on][:, :, None]
            for rows in _blocks(self.layout.fitted(part), len(flat)) if on.size else ():
                matrix = self.features.matrix[rows]
                scores = np.ascontiguousarray(flat @ matrix.T).reshape(on.size, self.shape[0], -1)
                scores += offset
                value[on] += self.targets.loss(scores, rows)
                total[on] += scores.sum(axis=2)
                slope[on] += (scores.reshape(len(flat), -1) @ matrix).reshape(on.size, self.shape[0], -1)
        return self._penalised(which, models, strength, (value, slope, total))

    def _applied(self, which: Int64, models: Float32) -> tuple[Float32, Float32]:
        """Weights [F, C, D] and biases [F, C] for columns as they are, not standardised."""
        unknowns = models.reshape(len(which), *self.shape)
        weights = unknowns[:, :, :-1] * self.factor[which, None]
        return weights, unknowns[:, :, -1] - np.einsum("fcd,fd->fc", weights, self.shift[which])

    def _penalised(
        self, which: Int64, models: Float32, strength: float, sums: tuple[Float64, Float32, Float32]
    ) -> tuple[Float64, Float32]:
        value, slope, total = sums
        unknowns = models.reshape(len(which), *self.shape)
        gradient = np.empty_like(unknowns)
        gradient[:, :, :-1] = (slope - total[:, :, None] * self.shift[which, None]) * self.factor[which, None]
        gradient[:, :, -1] = total
        gradient /= self.n_rows[which, None, None]
        weights = unknowns[:, :, :-1]
        gradient[:, :, :-1] += np.float32(strength) * weights
        penalty = strength / 2 * np.einsum("fcd,fcd->f", weights, weights, dtype=np.float64)
        return value / self.n_rows[which] + penalty, gradient.reshape(models.shape)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What probes say of rows that they never saw.

    scores     [N, C], a class's log-odds or the number, in the order of the input; NaN for rows that are not held.
    strengths  of the penalty chosen for each held part.
    """

    scores: Float32
    strengths: dict[int, float]


def held_out(features: Features, targets: Targets, layout: Layout, parts: Parts) -> HeldOut:
    """Score every held part by a probe that never saw it, its regularisation chosen on what it saw.

    features, targets  in the order of the layout.
    """
    choice = _Choice(features, targets, layout, parts)
    fits = Fits(features, targets, layout, [parts.unseen(part) for part in parts.held])
    models = fits.start()
    for strength in sorted(set(choice.strengths.values()), reverse=True):
        these = [k for k, part in enumerate(parts.held) if choice.strengths[part] == strength]
        some = Fits(features, targets, layout, [parts.unseen(parts.held[k]) for k in these])
        start = np.stack([choice.models[parts.held[k]] for k in these])
        models[these] = some.fit(start, strength=strength, tolerance=FINE)
    scores = np.full((layout.order.size, targets.width), np.nan, np.float32)
    for k, part in enumerate(parts.held):
        rows = layout.rows(part)
        scores[layout.order[rows]] = fits.scores(models[k], k, rows).T
    return HeldOut(scores, choice.strengths)


class _Choice:
    """How strongly each held part's probe is regularised, and models from which its fit starts."""

    def __init__(self, features: Features, targets: Targets, layout: Layout, parts: Parts) -> None:
        inner = {
            held: [parts.unseen(held) | {part} for part in parts.inner(held, layout.n_fitted)] for held in parts.held
        }
        unseen = list(dict.fromkeys(one for ones in inner.values() for one in ones))
        self.strengths = dict.fromkeys(parts.held, STRENGTHS[0])
        self.models: dict[int, Float32] = {}
        fits = Fits(features, targets, layout, unseen)
        # A fit that leaves out parts 1 and 2 says something to both of them, whichever asked for it.
        checks = {held: [(k, next(iter(one - parts.unseen(held)))) for k, one in enumerate(unseen)
                         if parts.unseen(held) < one] for held in parts.held}  # fmt: skip
        best, models = dict.fromkeys(parts.held, np.inf), fits.start()
        for strength in STRENGTHS:
            models = fits.fit(models, strength=strength, tolerance=ROUGH)
            losses = {held: _mean_loss(fits, models, some) for held, some in checks.items()}
            better = [held for held, loss in losses.items() if loss < best[held]]
            for held in better:
                best[held], self.strengths[held] = losses[held], strength
                self.models[held] = models[[k for k, _ in checks[held]]].mean(axis=0)
            if not better:
                break


def _mean_loss(fits: Fits, models: Float32, checks: Sequence[tuple[int, int]]) -> float:
    """The mean loss of the models of some fits, each on a part that it has not seen."""
    total, n_rows = 0.0, 0
    for fit, part in checks:
        rows = fits.layout.fitted(part)
        total += float(fits.targets.loss(fits.scores(models[fit], fit, rows)[None].copy(), rows)[0])
        n_rows += rows.stop - rows.start
    return total / n_rows if n_rows else 0.0


def _blocks(rows: slice, width: int) -> Iterator[slice]:
    """Rows, cut so that a score of each for `width` classes stays in the cache."""
    n = min(4096, max(128, CELLS // width))
    edges = [*range(rows.start, rows.stop, n), rows.stop]
    return (slice(start, stop) for start, stop in pairwise(edges))
