"""The learned mix: a weighted mean of all layers whose weights are learnt together with the probe (Peters et al. 2018).

The weights are a softmax, one number a layer; the layers are brought to one scale first, so that a weight says how much
a layer counts. The loss is minimised over the probe and over the weights in turn, since either is easy without the
other, and then no more than two layers are in memory at a time. Each held part has weights of its own, which never saw
it. Shapes: N rows, L layers, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lamina.apps.folds import Parts
from lamina.apps.probe.descent import Float32, Float64
from lamina.apps.probe.features import Dense, Layout
from lamina.apps.probe.linear import FINE, Fits, HeldOut, Targets, Unseen, held_out

Read = Callable[
    [int], Float32
]  # a layer's number -> its vectors [N, D], in the order of the layout; may be overwritten

ROUNDS = 4  # of probe and weights in turn
RESTRAINT = 1e-3  # of the squares of the softmax's logits, which keeps layers from being shut out (Peters et al. 2018)
BOUNDS = (-15.0, 15.0), (-3.0, 3.0)  # of a logit, and of the logarithm of the common factor: so that nothing overflows


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A learned mix.

    held     scores of the held parts.
    weights  what each layer's vectors, as they are, are multiplied by [L], learnt on all parts but those never seen.
    shares   the softmax weights [L], which add up to 1.
    """

    held: HeldOut
    weights: tuple[float, ...]
    shares: tuple[float, ...]


def learn(read: Read, layers: Sequence[int], targets: Targets, layout: Layout, parts: Parts) -> Learned:
    """Learn the mix of some layers, for each held part without it, and once for all of them.

    targets  in the order of the layout.
    """
    scales = np.array([1 / _deviation(read(number)) for number in layers])  # [L]
    mixer = _Mixer(read, tuple(layers), scales, targets, layout)
    uniform = np.full(len(layers), 1 / len(layers))
    first = held_out(Dense.of(mixer.mixed(uniform)), targets, layout, parts)
    scores = np.full_like(first.scores, np.nan)
    for part in parts.held:
        shares, fits, model = mixer.learnt(parts.unseen(part), first.strengths[part])
        rows = layout.rows(part)
        scores[layout.order[rows]] = fits.scores(model, 0, rows).T
    strength = float(np.exp(np.mean(np.log(list(first.strengths.values())))))
    shares, _, _ = mixer.learnt(frozenset(parts.never), strength)
    return Learned(HeldOut(scores, first.strengths), tuple((shares * scales).tolist()), tuple(shares.tolist()))


@dataclass(frozen=True, slots=True, eq=False)
class _Mixer:
    read: Read
    layers: tuple[int, ...]
    scales: Float64
    targets: Targets
    layout: Layout

    def mixed(self, shares: Float64) -> Float32:
        """The weighted mean of the layers [N, D]."""
        total: Float32 | None = None
        for number, weight in zip(self.layers, shares * self.scales, strict=True):
            vectors = self.read(number)
            vectors *= np.float32(weight)
            total = vectors if total is None else np.add(total, vectors, out=total)
        assert total is not None
        return total

    def learnt(self, unseen: Unseen, strength: float) -> tuple[Float64, Fits, Float32]:
        """The shares of the layers [L] and the probe of their mix, learnt together on what is seen."""
        shares = np.full(len(self.layers), 1 / len(self.layers))
        model: Float32 | None = None
        for turn in range(ROUNDS + 1):
            dense = Dense.of(self.mixed(shares))
            fits = Fits(dense, self.targets, self.layout, [unseen])
            start = fits.start() if model is None else model[None]
            model = fits.fit(start, strength=strength, tolerance=FINE)[0]
            if turn < ROUNDS:
                shares = self._shares(fits, model, dense, unseen, shares)
        assert model is not None
        return shares, fits, model

    def _shares(self, fits: Fits, model: Float32, dense: Dense, unseen: Unseen, shares: Float64) -> Float64:
        """The shares that suit a probe best, its weights staying as they are but for one factor and their biases."""
        from scipy.optimize import minimize

        said = self._said(fits.weights(model, 0) * dense.factor)
        seen = [self.layout.fitted(part) for part in range(self.layout.n_parts) if part not in unseen]
        n_layers, n_seen = len(self.layers), sum(rows.stop - rows.start for rows in seen)
        centre = np.concatenate([said[:, :, rows] for rows in seen], axis=2).mean(axis=2, keepdims=True)
        said -= centre  # [L, C, N]; the biases take it back

        def loss(unknowns: Float64) -> tuple[float, Float64]:
            logits, factor, bias = unknowns[:n_layers], np.exp(unknowns[n_layers]), unknowns[n_layers + 1 :]
            share = _softmax(logits)
            value, by_layer, by_class = 0.0, np.zeros(n_layers), np.zeros(len(bias))
            for rows in seen:
                scores = np.tensordot((factor * share).astype(np.float32), said[:, :, rows], axes=1)
                scores += bias[:, None].astype(np.float32)
                value += float(self.targets.loss(scores[None], rows)[0])
                by_layer += np.einsum("lcn,cn->l", said[:, :, rows], scores, dtype=np.float64)
                by_class += scores.sum(axis=1)
            by_share = factor * by_layer
            gradient = np.concatenate([share * (by_share - share @ by_share), [share @ by_share], by_class]) / n_seen
            gradient[:n_layers] += 2 * RESTRAINT * logits
            return value / n_seen + RESTRAINT * float(logits @ logits), gradient

        logits = np.log(shares) - np.log(shares).mean()
        start = np.concatenate([logits, [0.0], np.tensordot(shares, centre[:, :, 0], axes=1)])
        bounds = [BOUNDS[0]] * n_layers + [BOUNDS[1]] + [(None, None)] * (len(start) - n_layers - 1)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 50})
        return _softmax(found.x[:n_layers])

    def _said(self, weights: Float32) -> Float32:
        """What weights [C, D] say of every row by each layer alone [L, C, N]."""
        said = [
            np.float32(scale) * (weights @ self.read(number).T)
            for number, scale in zip(self.layers, self.scales, strict=True)
        ]
        return np.stack(said)


def _softmax(logits: Float64) -> Float64:
    raised = np.exp(logits - logits.max())
    shares: Float64 = raised / raised.sum()
    return shares


def _deviation(vectors: Float32) -> float:
    """The root of the mean variance of the columns."""
    return float(np.sqrt(vectors.var(axis=0, dtype=np.float64).mean())) or 1.0
