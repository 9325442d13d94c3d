"""Proves that the probe is the one that anybody would write with scikit-learn, fold by fold, only faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

import lamina.apps.probe.linear as linear
from lamina.apps.folds import Parts, crossed
from lamina.apps.probe.baselines import Counts
from lamina.apps.probe.descent import minimise
from lamina.apps.probe.features import Dense, Layout
from lamina.apps.probe.linear import STRENGTHS, Fits, Targets, held_out
from tests.apps.probe.probing import one_hot, planted


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fitted to the end: what is compared is the problem, not how soon one stops."""
    monkeypatch.setattr(linear, "ROUGH", 1e-7)
    monkeypatch.setattr(linear, "FINE", 1e-7)
    monkeypatch.setattr(linear, "MAX_STEPS", 500)


def data(n: int, n_classes: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, Parts]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(n_classes, size=n)
    vectors = planted(one_hot(classes), strengths=(0.7,), width=9, seed=seed).layer(0)
    vectors[:, 3] = 5.0  # a constant column, as layer norms leave them
    return vectors, classes, crossed(classes, folds=4, seed=seed)


def probed(vectors: np.ndarray, targets: np.ndarray, n_classes: int, parts: Parts) -> linear.HeldOut:
    layout = Layout.of(parts)
    return held_out(Dense.of(vectors[layout.order].copy()), Targets(targets[layout.order], n_classes), layout, parts)


def slow_model(vectors: np.ndarray, values: np.ndarray, n_classes: int, strength: float) -> Any:
    """scikit-learn's model of the same penalised loss. With two classes it has one vector w where the softmax has w/2
    and -w/2, whose squares add up to half as much."""
    if not n_classes:
        return Ridge(alpha=strength * len(values)).fit(vectors, values)
    c = (2 if n_classes == 2 else 1) / (strength * len(values))
    return LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(vectors, values)


def slow_loss(model: Any, vectors: np.ndarray, values: np.ndarray, n_classes: int) -> float:
    if not n_classes:
        return float(((model.predict(vectors) - values) ** 2).mean() / 2)
    return float(log_loss(values, model.predict_proba(vectors), labels=range(n_classes)))


def slow_strengths(vectors: np.ndarray, values: np.ndarray, n_classes: int, parts: Parts) -> dict[int, float]:
    """Nested cross-validation, loop by loop."""
    best, chosen = dict.fromkeys(parts.held, np.inf), dict.fromkeys(parts.held, 0.0)
    for strength in STRENGTHS:
        rises = True
        for held in parts.held:
            losses = []
            for inner in range(parts.n):
                if inner != held:
                    seen, asked = ~np.isin(parts.of, [held, inner]), parts.of == inner
                    scale = StandardScaler().fit(vectors[seen])
                    model = slow_model(scale.transform(vectors[seen]), values[seen], n_classes, strength)
                    loss = slow_loss(model, scale.transform(vectors[asked]), values[asked], n_classes)
                    losses += [loss] * int(asked.sum())
            if np.mean(losses) < best[held]:
                best[held], chosen[held], rises = float(np.mean(losses)), strength, False
        if rises:
            break
    return chosen


@pytest.mark.parametrize("n_classes", [2, 5])
def test_classes_are_scored_as_by_scikit_learn_in_nested_cross_validation(n_classes: int) -> None:
    vectors, classes, parts = data(160, n_classes)
    found = probed(vectors, classes, n_classes, parts)
    assert found.strengths == slow_strengths(vectors, classes, n_classes, parts)
    for held, strength in found.strengths.items():
        seen, asked = parts.of != held, parts.of == held
        scale = StandardScaler().fit(vectors[seen])
        model = slow_model(scale.transform(vectors[seen]), classes[seen], n_classes, strength)
        shares = np.exp(found.scores[asked] - found.scores[asked].max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, model.predict_proba(scale.transform(vectors[asked])), atol=2e-3)


def test_numbers_are_predicted_as_by_ridge_regression() -> None:
    vectors, _, parts = data(160, 3)
    numbers = (vectors[:, 0] / vectors[:, 0].std() + np.random.default_rng(1).normal(size=160)).astype(np.float32)
    numbers = ((numbers - numbers.mean()) / numbers.std()).astype(np.float32)
    found = probed(vectors, numbers, 0, parts)
    assert found.strengths == slow_strengths(vectors, numbers, 0, parts)
    for held, strength in found.strengths.items():
        seen, asked = parts.of != held, parts.of == held
        scale = StandardScaler().fit(vectors[seen])
        model = slow_model(scale.transform(vectors[seen]), numbers[seen], 0, strength)
        np.testing.assert_allclose(found.scores[asked, 0], model.predict(scale.transform(vectors[asked])), atol=2e-3)


def test_a_probe_never_sees_what_it_is_scored_on() -> None:
    """Whatever stands in a held part, the models that predict it stay as they are; so do those that never see dev."""
    vectors, classes, parts = data(120, 3)
    before = probed(vectors, classes, 3, parts)
    for held in parts.held:
        other, asked = vectors.copy(), parts.of == held
        other[asked] = np.random.default_rng(7).normal(size=other[asked].shape) * 100
        wrong = np.where(asked, (classes + 1) % 3, classes)
        one = Parts(parts.of, (held,))
        first, second = probed(vectors, classes, 3, one), probed(other, wrong, 3, one)
        assert first.strengths[held] == second.strengths[held] == before.strengths[held]
        same = Layout.of(one)
        fits = [
            Fits(Dense.of(matrix[same.order].copy()), Targets(values[same.order], 3), same, [frozenset((held,))])
            for matrix, values in ((vectors, classes), (other, wrong))
        ]
        applied = []
        for fit, matrix in zip(fits, (vectors, other), strict=True):
            model = fit.fit(fit.start(), strength=0.1, tolerance=1e-7)[0]
            factor = fit.features.factor
            applied.append(matrix[~asked] @ (fit.weights(model, 0) * factor).T)
        np.testing.assert_allclose(*(part - part.mean(axis=0) for part in applied), atol=5e-3)


def test_rows_that_may_not_be_fitted_on_are_predicted_and_change_nothing() -> None:
    vectors, classes, parts = data(150, 3)
    may_fit = np.random.default_rng(0).random(150) < 0.6
    layout = Layout.of(parts, may_fit)
    assert sorted(layout.order.tolist()) == list(range(150))
    assert layout.n_fitted.sum() == may_fit.sum()
    wrong = np.where(may_fit, classes, (classes + 1) % 3)  # whoever looked at them would be misled
    scores = [
        held_out(Dense.of(vectors[layout.order].copy()), Targets(values[layout.order], 3), layout, parts).scores
        for values in (classes, wrong)
    ]
    np.testing.assert_array_equal(*scores)
    assert not np.isnan(scores[0]).any()
    few = Parts(parts.of[may_fit], parts.held)
    np.testing.assert_allclose(probed(vectors[may_fit], classes[may_fit], 3, few).scores, scores[0][may_fit], atol=0.03)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    vectors, classes, parts = data(60, 3)
    layout = Layout.of(parts)
    fits = Fits(
        Dense.of(vectors[layout.order].copy()),
        Targets(classes[layout.order], 3),
        layout,
        [frozenset((0,)), frozenset((1, 2))],
    )
    models = np.random.default_rng(0).normal(size=fits.start().shape).astype(np.float32) / 5
    _, gradient = fits.loss(np.arange(2), models, 0.1)
    for place in range(0, models.shape[1], 4):
        step = np.zeros_like(models)
        step[:, place] = 0.02
        up, down = (fits.loss(np.arange(2), models + sign * step, 0.1)[0] for sign in (1, -1))
        np.testing.assert_allclose((up - down) / 0.04, gradient[:, place], atol=2e-3)


def test_many_problems_side_by_side_are_each_solved_as_alone() -> None:
    """Against scipy, on convex functions of very different curvature."""
    rng = np.random.default_rng(0)
    scales = [np.diag(rng.uniform(0.05, 20, 6)) for _ in range(5)]
    centres = rng.normal(size=(5, 6))

    def value(k: int, x: np.ndarray) -> float:
        moved = x - centres[k]
        return float(moved @ scales[k] @ moved / 2 + np.log1p(np.exp(-x)).sum())

    def evaluate(which: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slopes = [scales[k] @ (row - centres[k]) - 1 / (1 + np.exp(row)) for k, row in zip(which, x, strict=True)]
        return np.array([value(k, row) for k, row in zip(which, x, strict=True)]), np.array(slopes, np.float32)

    start = np.zeros((5, 6), np.float32)
    found = minimise(evaluate, lambda gradient: gradient, start, tolerance=1e-8, max_steps=300)
    for k in range(5):
        twin = minimize(lambda x, k=k: value(k, x), np.zeros(6), method="BFGS", options={"gtol": 1e-8})
        assert value(k, found[k]) == pytest.approx(twin.fun, abs=1e-4)


def test_words_are_weighted_by_how_rare_they_are_in_what_is_seen() -> None:
    counts = np.array([[1, 2, 0], [1, 0, 0], [1, 0, 3], [1, 0, 1]], np.float32)
    features = Counts.of(counts)
    logs = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    np.testing.assert_allclose(features.matrix.toarray(), logs / np.linalg.norm(logs, axis=1, keepdims=True), rtol=1e-5)
    shift, rarity = features.scaling([slice(0, 2)])
    assert not shift.any()
    np.testing.assert_allclose(rarity, [np.log(3 / 3) + 1, np.log(3 / 2) + 1, 0], rtol=1e-6)
