"""Proves that 8-bit products are those of the integers they say, and that the roundings are the best of those tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.engine.quantization import EXPONENTS, LEVELS, SENSITIVE, Calibration, Rounding, fit, integer_weight
from lamina.extraction.extractor import Extractor
from tests.samples import TEXTS, prose


def sample(seed: int, *, outlier: float) -> tuple[np.ndarray, np.ndarray]:
    """Places [64, 16] with one channel far out, and a matrix [8, 16]."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((64, 16)).astype(np.float32)
    x[:, 3] *= outlier
    return x, rng.standard_normal((8, 16)).astype(np.float32)


def fitted(x: np.ndarray, weight: np.ndarray) -> Rounding:
    return fit(x, x.min(axis=0), x.max(axis=0), [weight])


def test_a_rounding_has_so_many_values_and_zero_is_one_of_them() -> None:
    x, weight = sample(0, outlier=1.0)
    rounding = fitted(x, weight)
    line = np.linspace(rounding.low, rounding.high, 5000, dtype=np.float32)
    rounded = np.unique(rounding.apply(line[:, None] * rounding.smooth)[:, 0])
    assert len(rounded) == LEVELS
    assert np.abs(rounded).min() < 1e-6


def test_what_is_beyond_the_range_is_cut() -> None:
    rounding = Rounding(np.ones(1, np.float32), -1.0, 1.0, 0.0)
    np.testing.assert_allclose(rounding.apply(np.array([[-9.0], [9.0]], np.float32)), [[-1.0], [1.0]])


def test_integer_weights_are_within_half_a_step() -> None:
    _, weight = sample(1, outlier=1.0)
    smooth = np.linspace(0.5, 2, 16, dtype=np.float32)
    integers, scale = integer_weight(weight, smooth)
    assert integers.dtype == np.int8
    assert np.abs(integers).max() == 127
    assert (np.abs(integers * scale - weight * smooth) <= scale / 2 * 1.001).all()


def test_outliers_cost_little_once_smoothed() -> None:
    """Without smoothing the far channel takes nearly all steps for itself."""
    x, weight = sample(2, outlier=100.0)
    top = float(np.abs(x).max())
    weight_of_outlier = weight.copy()
    weight_of_outlier[:, 3] /= 100  # so that the product does not hang on the far channel alone
    exact = x @ weight_of_outlier.T
    plain = Rounding(np.ones(16, np.float32), -top, top, 0.0).apply(x) @ weight_of_outlier.T
    smoothed = fitted(x, weight_of_outlier).error
    assert smoothed < np.linalg.norm(plain - exact) / np.linalg.norm(exact) / 5


def test_the_stated_error_is_the_error() -> None:
    x, weight = sample(3, outlier=10.0)
    rounding = fitted(x, weight)
    integers, scale = integer_weight(weight, rounding.smooth)
    product = rounding.apply(x) @ (integers * scale).T
    exact = x @ weight.T
    assert rounding.error == pytest.approx(np.linalg.norm(product - exact) / np.linalg.norm(exact), rel=1e-3)
    assert len(EXPONENTS) > 1


def test_a_calibration_is_stored_whole() -> None:
    x, weight = sample(4, outlier=3.0)
    shared, other = fitted(x, weight), fitted(-x, weight)
    calibration = Calibration((shared, shared, other))
    again = Calibration.of_tensors(calibration.tensors())
    assert again.roundings[0] is again.roundings[1]
    assert again.roundings[2] is not again.roundings[1]
    assert again.sha256 == Calibration.of_tensors(again.tensors()).sha256
    np.testing.assert_array_equal(again.roundings[2].smooth, other.smooth)


def test_sensitive_matrices_are_told() -> None:
    assert Rounding(np.ones(1, np.float32), 0, 1, SENSITIVE * 2).is_sensitive
    assert not Rounding(np.ones(1, np.float32), 0, 1, SENSITIVE / 2).is_sensitive


def test_the_graph_and_its_slow_twin_agree(random_bert: Callable[..., Path]) -> None:
    folder = random_bert(hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96)
    texts = [*TEXTS[:6], prose(20)]
    fast, slow = (lamina.load(folder, engine=name, precision="int8") for name in ("openvino", "reference"))
    found, expected = fast.extract(texts), slow.extract(texts)
    exact = lamina.load(folder).extract(texts)
    for k in found.layers:
        off = relative(found.layer(k), expected.layer(k))
        assert off < 0.02, k  # the rest is computed in bfloat16 where that is native
        if k:
            assert relative(found.layer(k), exact.layer(k)) > 1e-5, k  # it does round


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_int8_stays_close_on_real_texts(minilm: Extractor) -> None:
    texts = [*TEXTS[:8], prose(30), prose(60)]
    expected, found = minilm.extract(texts), lamina.load("minilm", precision="int8").extract(texts)
    for k in expected.layers:
        a, b = found.layer(k), expected.layer(k)
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.mean() >= 0.995, k


def test_calibration_follows_the_texts_given(minilm: Extractor) -> None:
    texts = ["One text.", "Another text, somewhat longer than the first."]
    own = lamina.load("minilm", precision="int8", calibrate_on=["x"] * 3).extract(texts)
    builtin = lamina.load("minilm", precision="int8").extract(texts)
    assert not np.array_equal(own.layer(-1), builtin.layer(-1))


def test_no_texts_to_calibrate_on_is_an_error() -> None:
    with pytest.raises(lamina.LaminaError, match="calibrate_on"):
        lamina.load("minilm", precision="int8", calibrate_on=[])
    with pytest.raises(lamina.LaminaError, match="not one string"):
        lamina.load("minilm", precision="int8", calibrate_on="text")
