"""Proves that what is kept of each classifier gives scikit-learn's own predictions, and that damage is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import LinearSVC

from lamina.apps.classify.calibration import softmax
from lamina.apps.classify.kinds import KINDS, NEIGHBOURS, TREES, forest_shares
from lamina.errors import TrainedError

D = 7


def data(n_classes: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors, their classes, and other vectors."""
    draw = np.random.default_rng(n_classes)
    classes = np.concatenate([np.arange(n_classes), draw.integers(n_classes, size=n - n_classes)])
    centres = draw.normal(size=(n_classes, D))
    vectors = (centres[classes] + draw.normal(size=(n, D))).astype(np.float32)
    return vectors, classes, draw.normal(size=(100, D)).astype(np.float32) * 2


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_logistic_and_bayes_give_scikit_learns_probabilities(n_classes: int) -> None:
    vectors, classes, others = data(n_classes)
    for kind, twin in (("logistic", LogisticRegression(C=0.1, max_iter=1000)), ("bayes", GaussianNB())):
        tensors = KINDS[kind].fit(vectors, classes, 0.1)
        KINDS[kind].check(tensors, D, n_classes)
        expected = twin.fit(vectors, classes).predict_proba(others)
        np.testing.assert_allclose(softmax(KINDS[kind].scores(tensors, others)), expected, atol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("kind", "twin"), [("svm", LinearSVC(C=0.1, dual=False)), ("centroid", NearestCentroid())], ids=["svm", "centroid"]
)
def test_svm_and_centroid_choose_as_scikit_learn_does(kind: str, twin: Any, n_classes: int) -> None:
    vectors, classes, others = data(n_classes)
    tensors = KINDS[kind].fit(vectors, classes, 0.1)
    KINDS[kind].check(tensors, D, n_classes)
    scores = KINDS[kind].scores(tensors, others)
    np.testing.assert_array_equal(scores.argmax(axis=1), twin.fit(vectors, classes).predict(others))
    if kind == "svm" and n_classes > 2:
        np.testing.assert_allclose(scores, twin.decision_function(others), rtol=1e-6)


def test_neighbours_vote_as_scikit_learns_do(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, classes, others = data(4)
    tensors = KINDS["knn"].fit(vectors, classes, 1.0)
    twin = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(vectors, classes)
    votes = np.exp(KINDS["knn"].scores(tensors, others)) * (NEIGHBOURS + 1) - 1 / 4
    np.testing.assert_allclose(votes / NEIGHBOURS, twin.predict_proba(others), atol=1e-9)
    monkeypatch.setattr("lamina.apps.classify.kinds.BLOCK", 7)
    scores = np.log((votes + 1 / 4) / (NEIGHBOURS + 1))
    np.testing.assert_allclose(KINDS["knn"].scores(tensors, others), scores, atol=1e-9)
    few = KINDS["knn"].fit(vectors[:5], np.array([0, 1, 1, 1, 0]), 1.0)  # fewer than neighbours are asked for
    np.testing.assert_allclose(np.exp(KINDS["knn"].scores(few, others))[:, 1], (3 + 0.5) / 6)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_trees_share_out_as_scikit_learns_do(n_classes: int) -> None:
    vectors, classes, others = data(n_classes)
    vectors = np.round(vectors, 1)  # equal numbers: some leaves stay mixed, and some fall on thresholds
    vectors[:30] = vectors[0]
    tensors = KINDS["forest"].fit(vectors, classes, 1.0)
    KINDS["forest"].check(tensors, D, n_classes)
    assert (tensors["counts"] > 1).any()
    twin = RandomForestClassifier(TREES, random_state=0).fit(vectors, classes)
    for rows in (others, vectors):
        np.testing.assert_allclose(forest_shares(tensors, rows), twin.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_scored_one_by_one(kind: str) -> None:
    vectors, classes, others = data(3, n=60)
    tensors = KINDS[kind].fit(vectors, classes, KINDS[kind].strengths[0])
    whole = KINDS[kind].scores(tensors, others)
    alone = np.concatenate([KINDS[kind].scores(tensors, others[k : k + 1]) for k in range(len(others))])
    np.testing.assert_allclose(whole, alone, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_that_do_not_fit_are_refused(kind: str) -> None:
    vectors, classes, _ = data(3, n=60)
    tensors = KINDS[kind].fit(vectors, classes, KINDS[kind].strengths[0])
    check = KINDS[kind].check
    check(tensors, D, 3)
    for name in tensors:
        with pytest.raises(TrainedError):
            check({key: value for key, value in tensors.items() if key != name}, D, 3)
        with pytest.raises(TrainedError):
            check({**tensors, name: tensors[name][..., None]}, D, 3)
        if tensors[name].dtype.kind == "f":
            with pytest.raises(TrainedError):
                check({**tensors, name: np.full_like(tensors[name], np.nan)}, D, 3)
    with pytest.raises(TrainedError):
        check(tensors, D, 4)
    if kind != "forest":
        with pytest.raises(TrainedError):
            check(tensors, D + 1, 3)


def test_trees_that_go_round_in_circles_are_refused() -> None:
    vectors, classes, _ = data(3, n=60)
    tensors = KINDS["forest"].fit(vectors, classes, 1.0)
    for name, value in (("left", 0), ("right", -1), ("left", 10**9), ("feature", D), ("classes", 3), ("roots", -1)):
        broken = {**tensors, name: tensors[name].copy()}
        broken[name][-1] = value
        with pytest.raises(TrainedError):
            KINDS["forest"].check(broken, D, 3)
