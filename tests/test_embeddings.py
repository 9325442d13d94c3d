"""Proves that Embeddings hold a row per unit, and that their Arrow form gives every vector back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lamina.embeddings import Embeddings, concatenate, vector_columns, vector_matrix
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor


@pytest.fixture(scope="module")
def found(deep: Extractor) -> Embeddings:
    return deep.extract(["the river", "", "bank"], layers="0,12", special="exclude")


def test_rows_and_units_must_be_as_many(found: Embeddings) -> None:
    with pytest.raises(ValueError, match="column layer_0 has 2 rows for 3 units"):
        Embeddings(found.units, {"layer_0": np.zeros((2, 4), np.float32)}, 3)


def test_embeddings_say_what_they_hold(found: Embeddings) -> None:
    assert repr(found) == "Embeddings(3 units; layer_0 [3, 48], layer_12 [3, 48])"
    assert (len(found), found.layers, found.n_texts) == (3, (0, 12), 3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_table_gives_every_vector_back(found: Embeddings, dtype: Any) -> None:
    table = found.table(dtype)
    assert vector_columns(table.column_names) == ["layer_0", "layer_12"]
    for layer in found.layers:
        back = vector_matrix(table[f"layer_{layer}"])
        assert back.dtype == dtype
        assert np.array_equal(back, found.layer(layer).astype(dtype), equal_nan=True)


@pytest.mark.parametrize("dtype", ["int8", "float64", "half", None])
def test_a_table_of_a_type_that_is_not_stored_is_refused(found: Embeddings, dtype: Any) -> None:
    with pytest.raises(SpecError, match="dtype must be one of float16, float32"):
        found.table(dtype)


def test_a_matrix_is_read_from_several_chunks_and_slices(found: Embeddings) -> None:
    table = pa.concat_tables([found.table(), found.table().slice(1)])
    expected = np.concatenate([found.layer(12), found.layer(12)[1:]])
    assert np.array_equal(vector_matrix(table["layer_12"]), expected, equal_nan=True)
    assert vector_matrix(table.slice(0, 0)["layer_12"]).shape == (0, 48)


def test_parts_laid_end_to_end_keep_their_rows(found: Embeddings) -> None:
    twice = concatenate([found, found])
    assert twice.n_texts == 6
    assert np.array_equal(twice.layer(0), np.concatenate([found.layer(0)] * 2), equal_nan=True)


def test_names_that_look_like_vectors_are_told_from_those_that_are() -> None:
    names = ["text_id", "layer_0", "layer_12", "layer_", "layer_x", "input_layer_1", "combined", "layer"]
    assert vector_columns(names) == ["layer_0", "layer_12", "combined"]
