"""The reference engine: the operations in plain numpy, one obvious line each. The oracle of every test; slow.

`precision="bfloat16"` rounds what a bfloat16 machine rounds (the inputs and the output of every multiplication of
matrices, and every state), so that its accuracy can be seen where no such machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import erf, sqrt

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import AttentionWeights, Batch, Float32, Int32, Precision, Program, Reduced, Reduction, Rows
from lamina.engine.quantization import Calibration, Rounding, integer_weight
from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.operations import Activation, Attention, Index
from lamina.model.positions import Counted, Distances, places_apart, rotary_angles
from lamina.model.weights import Weights

MASKED = np.float32(-1e9)  # exp of it is 0; -inf would make nan of a padded place that sees nothing but padding


class ReferenceEngine:
    """Runs the encoder in numpy, layer after layer, a batch at a time."""

    name = "reference"
    threads = 1
    precisions: tuple[Precision, ...] = ("float32", "bfloat16", "int8")
    faster: Precision | None = None
    batch_tokens = 2048
    packs = False
    fine_tokens: int | None = None
    libraries: tuple[str, ...] = ()

    def __init__(
        self,
        arch: Architecture,
        weights: Weights,
        *,
        precision: Precision = "float32",
        calibration: Calibration | None = None,
    ) -> None:
        self.precision = precision
        self._arch, self._weights, self._calibration = arch, weights, calibration
        self.calibration_sha256 = calibration.sha256 if calibration else None

    def run(self, program: Program, batches: Iterable[Batch]) -> Generator[Reduced]:
        for batch in batches:
            ops = NumpyOperations(self._weights, batch, self.precision, roundings=self._roundings())
            kept = {
                k: x
                for k, x in enumerate(islice(states(ops, self._arch), program.layers[-1] + 1))
                if k in program.layers
            }
            yield tuple(
                tuple(reduce(kept[k], rows, kind) for k in program.layers)
                for rows, kind in zip(batch.rows, program.reductions, strict=True)
            )

    def attention(self, layers: tuple[int, ...], batch: Batch) -> AttentionWeights:
        seen: list[Float32] = []
        ops = NumpyOperations(self._weights, batch, self.precision, seen, self._roundings())
        for _ in islice(states(ops, self._arch), max(layers) + 1):
            pass
        return tuple(seen[k - 1] for k in layers)

    def _roundings(self) -> Iterator[Rounding] | None:
        return iter(self._calibration.roundings) if self._calibration else None


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
    """The operations on one batch; a state is a float32 array [B, S, D].

    `seen`, where given, takes each layer's attention weights, [B, H, S, S]; `roundings`, where given, are those of the
    matrix products to come: their inputs and weights are rounded as in 8 bits.
    """

    weights: Weights
    batch: Batch
    precision: Precision
    seen: list[Float32] | None = None
    roundings: Iterator[Rounding] | None = None

    def embed(self, name: str, index: Index, rows: int, width: int) -> Float32:
        return self.table(name, rows, width)[self._places(index)]  # [B, S, width]

    def linear(
        self, x: Float32, name: str, width: int, activation: Activation | None = None, *, bias: bool = True
    ) -> Float32:
        weight = self._rounded(self.weights[f"{name}.weight"])
        assert weight.shape == (width, x.shape[-1])
        rounding = next(self.roundings) if self.roundings and x.ndim == 3 else None  # tables of distances stay exact
        if rounding is not None and not rounding.is_sensitive:
            integers, scale = integer_weight(self.weights[f"{name}.weight"], rounding.smooth)
            x, weight = rounding.apply(x), integers * scale
        y = self._biased(x @ weight.T, name, bias)
        return self._rounded(ACTIVATE[activation](y) if activation else y)  # [B, S, width]

    def norm(self, x: Float32, name: str, eps: float, *, bias: bool = True) -> Float32:
        mean = x.mean(axis=-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
        y = (x - mean) / np.sqrt(variance + np.float32(eps))
        return self._rounded(self._biased(y * self.weights[f"{name}.weight"], name, bias))

    def add(self, x: Float32, y: Float32) -> Float32:
        return self._rounded(x + y)

    def multiply(self, x: Float32, y: Float32) -> Float32:
        return self._rounded(x * y)

    def dropout(self, x: Float32) -> Float32:
        return x

    def convolve(self, x: Float32, name: str, kernel: int, activation: Activation) -> Float32:
        weight = self._rounded(self.weights[f"{name}.weight"])  # [D, D, kernel]
        B, S, D = x.shape
        around = np.zeros((B, S + kernel - 1, D), np.float32)
        around[:, kernel // 2 : kernel // 2 + S] = np.where(self._padded()[:, :, None], np.float32(0), x)
        y = sum(around[:, i : i + S] @ weight[:, :, i].T for i in range(kernel)) + self.weights[f"{name}.bias"]
        return self._rounded(ACTIVATE[activation](y))

    def table(self, name: str, rows: int, width: int) -> Float32:
        table = self.weights[f"{name}.weight"]
        assert table.shape == (rows, width)
        return self._rounded(table)

    def distance_bias(self, name: str, distances: Distances, n_heads: int) -> Float32:
        table = self.table(name, distances.n_rows, n_heads)
        return table[distances.rows(places_apart(self.batch.ids.shape[1]))].transpose(2, 0, 1)  # [H, S, S]

    def disentangle(
        self,
        q: Float32,
        k: Float32,
        position_k: Float32 | None,
        position_q: Float32 | None,
        distances: Distances,
        attention: Attention,
    ) -> Float32:
        B, S, _ = q.shape
        rows = np.broadcast_to(distances.rows(places_apart(S)), (B, attention.n_heads, S, S))
        bias = np.zeros(rows.shape, np.float32)
        if position_k is not None:
            scores = by_head(q, attention) @ by_head(position_k, attention).swapaxes(-1, -2)  # [B, H, S, n_rows]
            bias += np.take_along_axis(scores, rows, axis=-1)
        if position_q is not None:
            scores = by_head(k, attention) @ by_head(position_q, attention).swapaxes(-1, -2)
            bias += np.take_along_axis(scores, rows.swapaxes(-1, -2), axis=-1).swapaxes(-1, -2)
        return self._rounded(bias * np.float32(attention.scale))

    def attend(self, q: Float32, k: Float32, v: Float32, attention: Attention, bias: Float32 | None = None) -> Float32:
        q, k, v = (by_head(x, attention) for x in (q, k, v))  # [B, H, S, K]
        if attention.theta is not None:
            q, k = (self._rounded(turned(x, attention.theta)) for x in (q, k))
        scores = q @ k.swapaxes(-1, -2) * np.float32(attention.scale)  # [B, H, S, S]
        if bias is not None:
            scores = scores + bias
        scores = np.where(self._masked(attention.window), MASKED, scores)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = self._rounded(weights / weights.sum(axis=-1, keepdims=True))
        if self.seen is not None:
            self.seen.append(weights)
        context = (weights @ v).swapaxes(1, 2)  # [B, S, H, K]
        return self._rounded(context.reshape(*context.shape[:2], -1))

    def _biased(self, y: Float32, name: str, bias: bool) -> Float32:
        return y + self.weights[f"{name}.bias"] if bias else y

    def _padded(self) -> npt.NDArray[np.bool_]:
        return np.arange(self.batch.ids.shape[1]) >= self.batch.lengths[:, None]  # [B, S]

    def _masked(self, window: int | None) -> npt.NDArray[np.bool_]:
        """What must not be looked at, [B, 1, 1 or S, S]."""
        padded = self._padded()[:, None, None, :]
        return padded if window is None else padded | (np.abs(places_apart(padded.shape[-1])) > window)

    def _places(self, index: Index) -> Int32:
        if isinstance(index, Counted):
            counts = (self.batch.ids != index.uncounted).astype(np.int32)
            positions: Int32 = np.cumsum(counts, axis=1, dtype=np.int32) * counts + np.int32(index.uncounted)
            return positions
        places = np.broadcast_to(np.arange(self.batch.ids.shape[1], dtype=np.int32), self.batch.ids.shape)
        return {"token": self.batch.ids, "type": self.batch.types, "position": places}[index]

    def _rounded(self, x: Float32) -> Float32:
        return bfloat16(x) if self.precision == "bfloat16" else x


def by_head(x: Float32, attention: Attention) -> Float32:
    """[..., S, D] as [..., H, S, K]."""
    return x.reshape(*x.shape[:-1], attention.n_heads, -1).swapaxes(-2, -3)


def turned(x: Float32, theta: float) -> Float32:
    """[..., S, K], each place turned by its rotary angles."""
    cos, sin = rotary_angles(theta, *x.shape[-2:])  # [S, K]
    first, second = np.split(x, 2, axis=-1)
    return x * cos + np.concatenate((-second, first), axis=-1) * sin


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


ACTIVATE: dict[Activation, Callable[[Float32], Float32]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "silu": silu,
    "tanh": np.tanh,
}
