"""The reference engine: the operations in plain numpy, one obvious line each. The oracle of every test; slow.

`precision="bfloat16"` rounds what a bfloat16 machine rounds (the inputs and the output of every multiplication of
matrices, and every state), so that its accuracy can be seen where no such machine is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from math import erf, sqrt

import numpy as np

from lamina.engine.batch import Batch, Float32, Int32, Precision, Program, Reduced, Reduction, Rows
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.operations import Activation, Index
from lamina.model.weights import Weights


class ReferenceEngine:
    """Runs the encoder in numpy, layer after layer, a batch at a time."""

    name = "reference"
    threads = 1

    def __init__(self, arch: Architecture, weights: Weights, *, precision: Precision = "float32") -> None:
        self.precision = precision
        self._arch, self._weights = arch, weights

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        for batch in batches:
            ops = NumpyOperations(self._weights, batch, self.precision)
            kept = {
                k: x
                for k, x in enumerate(islice(states(ops, self._arch), program.layers[-1] + 1))
                if k in program.layers
            }
            yield tuple(
                tuple(reduce(kept[k], rows, kind) for k in program.layers)
                for rows, kind in zip(batch.rows, program.reductions, strict=True)
            )


def reduce(state: Float32, rows: Rows, kind: Reduction) -> Float32:
    """Rows [U, D] of a state [B, S, D]."""
    flat = state.reshape(-1, state.shape[-1])
    taken = flat[rows.index]  # [N, D]
    if rows.weights is not None:
        taken = taken * rows.weights[:, None]
    ufunc = np.maximum if kind == "max" else np.add
    return np.stack([ufunc.reduce(of_row) for of_row in np.split(taken, rows.offsets[1:])])


@dataclass(frozen=True, slots=True)
class NumpyOperations:
    """The operations on one batch; a state is a float32 array [B, S, D]."""

    weights: Weights
    batch: Batch
    precision: Precision

    def embed(self, name: str, index: Index, rows: int, width: int) -> Float32:
        table = self.weights[f"{name}.weight"]  # [rows, width]
        assert table.shape == (rows, width)
        return self._rounded(table[self._places(index)])  # [B, S, width]

    def linear(self, x: Float32, name: str, width: int, activation: Activation | None = None) -> Float32:
        weight, bias = self._rounded(self.weights[f"{name}.weight"]), self.weights[f"{name}.bias"]
        assert weight.shape == (width, x.shape[-1])
        y = x @ weight.T + bias
        return self._rounded(ACTIVATE[activation](y) if activation else y)  # [B, S, width]

    def norm(self, x: Float32, name: str, eps: float) -> Float32:
        mean = x.mean(axis=-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
        y = (x - mean) / np.sqrt(variance + np.float32(eps))
        return self._rounded(y * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"])

    def add(self, x: Float32, y: Float32) -> Float32:
        return self._rounded(x + y)

    def attend(self, q: Float32, k: Float32, v: Float32, n_heads: int, scale: float) -> Float32:
        B, S, D = q.shape
        q, k, v = (x.reshape(B, S, n_heads, -1).transpose(0, 2, 1, 3) for x in (q, k, v))  # [B, H, S, K]
        scores = q @ k.swapaxes(-1, -2) * np.float32(scale)  # [B, H, S, S]
        padded = np.arange(S) >= self.batch.lengths[:, None]  # [B, S]
        scores = np.where(padded[:, None, None, :], np.float32(-np.inf), scores)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = self._rounded(weights / weights.sum(axis=-1, keepdims=True))
        return self._rounded((weights @ v).transpose(0, 2, 1, 3).reshape(B, S, D))

    def _places(self, index: Index) -> Int32:
        positions = np.broadcast_to(np.arange(self.batch.ids.shape[1], dtype=np.int32), self.batch.ids.shape)
        return {"token": self.batch.ids, "type": self.batch.types, "position": positions}[index]

    def _rounded(self, x: Float32) -> Float32:
        return bfloat16(x) if self.precision == "bfloat16" else x


def bfloat16(x: Float32) -> Float32:
    """The nearest bfloat16 (8 bits of mantissa, ties to even) of finite values, as float32."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32)


def gelu(x: Float32) -> Float32:
    """x Φ(x), Φ by `math.erf` one number at a time, since numpy has none. Source: Hendrycks and Gimpel 2016."""
    z = x.ravel().astype(np.float64) / sqrt(2.0)
    phi = 0.5 * (1.0 + np.fromiter(map(erf, z.tolist()), np.float64, z.size))
    return (x * phi.reshape(x.shape)).astype(np.float32)


def gelu_tanh(x: Float32) -> Float32:
    """The tanh approximation of GELU. Source: Hendrycks and Gimpel 2016, section 2."""
    inner: Float32 = np.tanh(np.float32(sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3))
    return np.float32(0.5) * x * (1 + inner)


def silu(x: Float32) -> Float32:
    """x σ(x). Source: Elfwing et al. 2017."""
    denominator: Float32 = 1 + np.exp(-x)
    return x / denominator


ACTIVATE = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "silu": silu,
}
