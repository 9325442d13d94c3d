"""Proves the oracle itself, piece by piece, against torch: its activations and its reductions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lamina.engine.batch import Rows
from lamina.engine.reference import ACTIVATE, reduce


def theirs(name: str) -> Callable[[np.ndarray], np.ndarray]:
    import torch
    from torch.nn import functional

    functions = {
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "relu": functional.relu,
        "silu": functional.silu,
        "tanh": functional.tanh,
    }
    return lambda x: np.asarray(functions[name](torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("name", list(ACTIVATE))
def test_activations_are_those_of_torch(name: str) -> None:
    x = np.linspace(-12, 12, 4001, dtype=np.float32).reshape(1, -1)
    found = ACTIVATE[name](x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, theirs(name)(x), rtol=1e-5, atol=1e-6)


def test_reductions_take_the_places_of_each_row() -> None:
    state = np.arange(12, dtype=np.float32).reshape(2, 3, 2)  # rows 0 1, 2 3, 4 5 and 6 7, 8 9, 10 11
    rows = Rows(np.array([0, 2, 4, 5, 5], np.int32), np.array([0, 2, 4], np.int32))
    assert rows.counts.tolist() == [2, 2, 1]
    assert reduce(state, rows, "sum").tolist() == [[4, 6], [18, 20], [10, 11]]
    assert reduce(state, rows, "max").tolist() == [[4, 5], [10, 11], [10, 11]]
    weighted = Rows(rows.index, rows.offsets, np.array([1, 0, 2, -1, 3], np.float32))
    assert reduce(state, weighted, "weighted").tolist() == [[0, 1], [6, 7], [30, 33]]
