"""Proves that a mix's word means what it says, of embeddings and of datasets, and refuses what is not held."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.mix import Mix, each_layer, usable, vectors_of
from lamina.embeddings import Embeddings
from lamina.errors import SpecError

LAYERS = {f"layer_{k}": np.arange(6, dtype=np.float32).reshape(3, 2) * 10**k for k in range(5)}
UNITS = pa.table({"status": ["ok", "empty", "ok"], "n_tokens": [2, 0, 1]})


@pytest.fixture
def data() -> Embeddings:
    return Embeddings(UNITS, LAYERS, n_texts=3)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (3, LAYERS["layer_3"]),
        ("3", LAYERS["layer_3"]),
        (-1, LAYERS["layer_4"]),
        ("mean:0,1", (LAYERS["layer_0"] + LAYERS["layer_1"]) / 2),
        ("sum:-2..-1", LAYERS["layer_3"] + LAYERS["layer_4"]),
        ("concat:0,2", np.concatenate([LAYERS["layer_0"], LAYERS["layer_2"]], axis=1)),
        ("0.5,2:1,2", 0.5 * LAYERS["layer_1"] + 2 * LAYERS["layer_2"]),
    ],
)
def test_words(data: Embeddings, word: int | str, expected: np.ndarray) -> None:
    found = vectors_of(data, word)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("word", ["4", "-1", "mean:-4..-1", "concat:1,2", "0.5,2.0:1,2", "combined"])
def test_words_print_as_they_parse(word: str) -> None:
    assert str(Mix.parse(word)) == word


@pytest.mark.parametrize("word", ["", "1,2", "-4..-1", "all", "median:1,2", "mean:", "mean:1;2", "mean:9", 9, "1:1,2"])
def test_what_means_nothing_is_refused(data: Embeddings, word: int | str) -> None:
    with pytest.raises(SpecError):
        vectors_of(data, word)


def test_combined_layers_are_one_mix() -> None:
    data = Embeddings(UNITS, {"combined": LAYERS["layer_2"]}, n_texts=3)
    for word in ("combined", -1):
        np.testing.assert_array_equal(vectors_of(data, word), LAYERS["layer_2"])
    assert [name for name, _ in each_layer(data)] == ["combined"]
    with pytest.raises(SpecError, match="combined"):
        vectors_of(data, 2)


def test_layer_0_alone() -> None:
    data = Embeddings(UNITS, {"layer_0": LAYERS["layer_0"]}, n_texts=3)
    np.testing.assert_array_equal(vectors_of(data, -1), LAYERS["layer_0"])


def test_units_that_say_nothing_are_left_out(data: Embeddings) -> None:
    vectors = LAYERS["layer_0"].copy()
    vectors[2] = np.nan
    assert usable(data.units, vectors).tolist() == [True, False, False]
