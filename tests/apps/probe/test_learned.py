"""Proves that the learned mix finds the layers that hold the label, as well as learning everything at once does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

import lamina.apps.probe.learned as learned
from lamina.apps.folds import crossed
from lamina.apps.mix import Mix
from lamina.apps.probe.features import Layout
from lamina.apps.probe.learned import learn
from lamina.apps.probe.linear import Targets
from lamina.embeddings import Embeddings
from tests.apps.probe.probing import one_hot, planted


def learnt(data: Embeddings, classes: np.ndarray, n_classes: int, *, seed: int = 0) -> tuple[learned.Learned, Layout]:
    parts = crossed(classes, folds=4, seed=seed)
    layout = Layout.of(parts)
    read = lambda number: Mix(str(number)).vectors(data, layout.order)  # noqa: E731
    return learn(read, data.layers, Targets(classes[layout.order], n_classes), layout, parts), layout


def test_the_layer_that_holds_the_label_gets_the_largest_share() -> None:
    classes = np.random.default_rng(0).integers(3, size=400)
    found, _ = learnt(planted(one_hot(classes), strengths=(0, 0, 1.5, 0)), classes, 3)
    assert np.argmax(found.shares) == 2
    assert found.shares[2] > 0.5
    assert sum(found.shares) == pytest.approx(1)
    assert (found.held.scores.argmax(axis=1) == classes).mean() > 0.8


def test_weights_undo_the_layers_own_scales() -> None:
    """A layer a thousand times as large counts no more, and the mix's word says what its vectors are multiplied by."""
    classes = np.random.default_rng(0).integers(2, size=300)
    data = planted(one_hot(classes), strengths=(0.8, 0.8))
    larger = Embeddings(data.units, {**data.columns, "layer_1": data.columns["layer_1"] * 1000}, data.n_texts)
    (plain, _), (other, _) = learnt(data, classes, 2), learnt(larger, classes, 2)
    np.testing.assert_allclose(other.shares, plain.shares, atol=0.02)
    assert other.weights[1] == pytest.approx(plain.weights[1] / 1000, rel=0.05)


def test_taking_turns_finds_what_learning_everything_at_once_finds() -> None:
    """The slow twin: weights, biases and shares in one vector, minimised by scipy on the rows that one probe sees."""
    classes = np.random.default_rng(1).integers(2, size=200)
    data = planted(one_hot(classes), strengths=(0.5, 0.1, 0.9), width=5, seed=1)
    found, _ = learnt(data, classes, 2)
    layers = np.stack([data.layer(k).astype(np.float64) for k in range(3)])
    layers /= np.sqrt(layers.var(axis=1).mean(axis=1))[:, None, None]
    strength = float(np.exp(np.mean(np.log(list(found.held.strengths.values())))))

    def loss(unknowns: np.ndarray, shares: np.ndarray | None = None) -> float:
        share = softmax(unknowns[:3]) if shares is None else shares
        mixed = np.tensordot(share, layers, axes=1)
        mixed = (mixed - mixed.mean(axis=0)) / mixed.std(axis=0)
        weights, bias = unknowns[3:13].reshape(2, 5), unknowns[13:15]
        said = log_softmax(mixed @ weights.T + bias, axis=1)[np.arange(200), classes]
        return float(-said.mean() + strength / 2 * (weights**2).sum())

    at_once = minimize(loss, np.zeros(15), method="BFGS", options={"maxiter": 400})
    uniform = minimize(lambda x: loss(x, np.full(3, 1 / 3)), np.zeros(15), method="BFGS", options={"maxiter": 400})
    in_turn = minimize(lambda x: loss(x, np.array(found.shares)), np.zeros(15), method="BFGS", options={"maxiter": 400})
    assert in_turn.fun <= at_once.fun + 0.25 * (uniform.fun - at_once.fun)


def test_a_held_part_has_no_part_in_the_weights_that_score_it() -> None:
    classes = np.random.default_rng(0).integers(2, size=200)
    data = planted(one_hot(classes), strengths=(0.6, 0.2))
    drawn = np.random.default_rng(5).permutation(classes)
    found, _ = learnt(data, drawn, 2)
    assert abs((found.held.scores.argmax(axis=1) == drawn).mean() - 0.5) < 0.12
