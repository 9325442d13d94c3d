"""Proves that layers are combined and scaled as plain numpy would combine and scale them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor
from tests.samples import SCRIPTS, prose

SAMPLE = [SCRIPTS["english"], "a", prose(12), SCRIPTS["russian"]]
LAYERS = [9, 0, 4]


@pytest.fixture(scope="module")
def matrices(deep: Extractor) -> list[np.ndarray]:
    found = deep.extract(SAMPLE, layers=LAYERS)
    return [found.layer(layer).astype(np.float64) for layer in LAYERS]


@pytest.mark.parametrize(
    ("combine", "weights"),
    [
        ("sum", [1, 1, 1]),
        ("mean", [1 / 3, 1 / 3, 1 / 3]),
        ([0.5, -2, 0.25], [0.5, -2, 0.25]),
        ("0.5,-2,0.25", [0.5, -2, 0.25]),
        ((1, 0, 0), [1, 0, 0]),
    ],
    ids=str,
)
def test_layers_are_summed_by_weight_in_the_order_asked_for(
    deep: Extractor, matrices: list[np.ndarray], combine: Any, weights: list[float]
) -> None:
    found = deep.extract(SAMPLE, layers=LAYERS, combine=combine)
    expected = sum(weight * matrix for weight, matrix in zip(weights, matrices, strict=True))
    np.testing.assert_allclose(found.combined, expected, rtol=1e-5, atol=1e-5)
    assert found.combined.dtype == np.float32
    assert (list(found.columns), found.layers) == (["combined"], ())


def test_concatenated_layers_stand_side_by_side_in_the_order_asked_for(
    deep: Extractor, matrices: list[np.ndarray]
) -> None:
    found = deep.extract(SAMPLE, layers=LAYERS, combine="concat")
    assert np.array_equal(found.combined, np.concatenate(matrices, axis=1).astype(np.float32))


def test_layers_come_in_the_order_asked_for(deep: Extractor, matrices: list[np.ndarray]) -> None:
    found = deep.extract(SAMPLE, layers=LAYERS)
    assert found.layers == (9, 0, 4)
    assert list(found.columns) == ["layer_9", "layer_0", "layer_4"]
    alone = deep.extract(SAMPLE, layers=9)
    assert np.array_equal(found.layer(9), alone.layer(9))


def test_layers_are_combined_after_pooling(deep: Extractor) -> None:
    apart = deep.extract(SAMPLE, layers=LAYERS, pool="max")
    together = deep.extract(SAMPLE, layers=LAYERS, pool="max", combine="sum")
    np.testing.assert_allclose(together.combined, sum(apart.layer(k) for k in LAYERS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("combine", ["none", "mean", "concat"])
@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_normalized_vectors_have_unit_length_and_the_same_direction(deep: Extractor, combine: Any, unit: Any) -> None:
    options: dict[str, Any] = {"layers": LAYERS, "combine": combine, "unit": unit}
    plain, scaled = (deep.extract(SAMPLE, normalize=flag, **options) for flag in (False, True))
    for name in plain.columns:
        length = np.linalg.norm(plain.columns[name].astype(np.float64), axis=1, keepdims=True)
        np.testing.assert_allclose(scaled.columns[name], plain.columns[name] / length, rtol=1e-5, atol=1e-6)


def test_combined_layers_are_scaled_after_they_are_combined(deep: Extractor) -> None:
    found = deep.extract(SAMPLE, layers=LAYERS, combine="sum", normalize=True)
    np.testing.assert_allclose(np.linalg.norm(found.combined, axis=1), 1, rtol=1e-5)


def test_a_layer_that_was_not_asked_for_is_not_there(deep: Extractor) -> None:
    found = deep.extract(SAMPLE, layers=LAYERS)
    assert np.array_equal(found.layer(-1), found.layer(9))  # the highest one held
    with pytest.raises(SpecError, match="'layer_5' is not here: these embeddings hold layers 9, 0, 4"):
        found.layer(5)
    with pytest.raises(SpecError, match="'combined' is not here"):
        _ = found.combined
    with pytest.raises(SpecError, match=r"'layer_9' is not here: .*combined"):
        deep.extract(SAMPLE, layers=LAYERS, combine="sum").layer(9)
