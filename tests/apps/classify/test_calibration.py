"""Proves that a temperature is the best one there is and makes probabilities that can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.apps.classify.calibration import BINS, Bin, bins_of, calibration_error, fit_temperature, log_loss, softmax


def drawn(temperature: float, n: int = 20000) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and classes drawn as likely as the scores over a temperature say."""
    draw = np.random.default_rng(1)
    scores = draw.normal(size=(n, 3)) * 4
    chances = np.cumsum(softmax(scores, temperature), axis=1)
    return scores, (draw.random((n, 1)) > chances).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.05, 1.0, 30.0])
def test_the_temperature_is_found_and_its_probabilities_hold(temperature: float) -> None:
    scores, classes = drawn(temperature)
    found = fit_temperature(scores, classes)
    assert found == pytest.approx(temperature, rel=0.15)
    least = log_loss(softmax(scores, found), classes)
    for other in np.geomspace(found / 10, found * 10, 41):
        assert least <= log_loss(softmax(scores, other), classes) + 1e-9
    likely = softmax(scores, found)
    assert calibration_error(bins_of(likely.max(axis=1), likely.argmax(axis=1) == classes)) < 0.02
    wrong = softmax(scores, found / 5)
    if temperature >= 1:
        assert calibration_error(bins_of(wrong.max(axis=1), wrong.argmax(axis=1) == classes)) > 0.1


def test_a_class_out_of_reach_has_no_probability() -> None:
    scores = np.array([[0.0, -np.inf, 0.0], [-np.inf, 5.0, -np.inf]])
    np.testing.assert_allclose(softmax(scores), [[0.5, 0, 0.5], [0, 1, 0]])
    np.testing.assert_allclose(softmax(np.array([[1e6, -1e6]])), [[1, 0]])
    assert softmax(np.empty((0, 2))).shape == (0, 2)


def test_bins_and_their_error_by_hand() -> None:
    likely = np.array([1.0, 1.0, 0.6, 0.6, 0.0])
    right = np.array([True, False, True, True, False])
    assert bins_of(likely, right) == (
        Bin(0.0, 1 / BINS, 1, 0.0, 0.0),
        Bin(8 / BINS, 9 / BINS, 2, 0.6, 1.0),
        Bin(14 / BINS, 1.0, 2, 1.0, 0.5),
    )
    assert calibration_error(bins_of(likely, right)) == pytest.approx((2 * 0.4 + 2 * 0.5) / 5)
    assert calibration_error(()) == 0
    assert log_loss(np.array([[0.0, 1.0]]), np.array([0])) < 30
