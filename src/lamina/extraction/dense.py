"""The Dense modules of sentence-transformers, in numpy.

Rows are multiplied one at a time, each in a call of the same shape: the bits of a product of matrices depend on how
many rows it has. That costs little here: a row is multiplied with one matrix, and came through a whole encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, sqrt

import numpy as np

from lamina.engine.batch import Float32
from lamina.model.sentence import Dense
from lamina.model.sentence_keys import DenseActivation


def apply_dense(matrix: Float32, dense: Dense) -> Float32:
    """Rows [U, D_in] through a linear layer and its activation: [U, D_out]. A row of NaN stays one."""
    activate = ACTIVATE[dense.activation]
    result = np.empty((len(matrix), dense.weight.shape[0]), np.float32)
    row = np.empty(matrix.shape[1], np.float32)  # every row from the same place, whatever its alignment
    for place, given in enumerate(matrix):
        row[:] = given
        product = dense.weight @ row
        result[place] = activate(product if dense.bias is None else product + dense.bias)
    return result


def _gelu(x: Float32) -> Float32:
    """x Φ(x), exact as torch.nn.GELU is. Source: Hendrycks and Gimpel 2016."""
    phi = np.fromiter((0.5 * (1 + erf(z / sqrt(2))) for z in x.tolist()), np.float64, x.size)
    return (x * phi).astype(np.float32)


def _sigmoid(x: Float32) -> Float32:
    wide = np.tanh(x.astype(np.float64) / 2)  # never overflows
    return ((1 + wide) / 2).astype(np.float32)


ACTIVATE: dict[DenseActivation, Callable[[Float32], Float32]] = {
    "identity": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "sigmoid": _sigmoid,
}
