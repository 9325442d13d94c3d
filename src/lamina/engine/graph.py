"""The operations as OpenVINO graph nodes. What depends on no text (tables of distances) is computed here, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from openvino import opset13 as op

from lamina.engine.batch import Batch
from lamina.engine.quantization import LEVELS, Calibration, Rounding, integer_weight
from lamina.engine.reference import NumpyOperations, by_head
from lamina.model.operations import Activation, Attention, Index
from lamina.model.positions import Counted, Distances, rotary_angles
from lamina.model.weights import FloatArray, Weights

Node = Any  # an ov.Output or ov.Node: the bindings are untyped

MASKED = -1e9  # exp of it is 0 in every precision, and unlike -inf it never meets another of its kind

ACTIVATE = {
    "gelu": lambda x: op.gelu(x, "erf"),
    "gelu_tanh": lambda x: op.gelu(x, "tanh"),
    "relu": op.relu,
    "silu": op.swish,
    "tanh": op.tanh,
}

NO_BATCH = Batch(*(np.zeros((0, 0), np.int32),) * 3, ())


@dataclass(slots=True)
class Seen:
    """What a graph shows besides its states, where somebody wants to look inside.

    attention  each layer's attention weights, [B, H, S, S].
    inputs     what enters each matrix product, [B, S, D], and the product's name.
    """

    attention: list[Node] = field(default_factory=list)
    inputs: list[tuple[str, Node]] = field(default_factory=list)


class GraphOperations:
    """The operations as nodes; a state is a node [B, S, D], a table of distances an array [n_rows, D].

    `calibration`, where given, makes the matrix products those of 8-bit integers.
    """

    def __init__(
        self,
        weights: Weights,
        ids: Node,
        types: Node,
        lengths: Node,
        *,
        max_tokens: int,
        seen: Seen | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self._seen = seen
        self._roundings = iter(calibration.roundings) if calibration else None
        self._weights, self._tables = weights, NumpyOperations(weights, NO_BATCH, "float32")
        self._max_tokens = max_tokens
        self._ids, self._types = ids, types
        self._S = op.gather(op.shape_of(ids, "i32"), ints(1), ints(0))  # []
        self._places = op.range(ints(0), self._S, ints(1), "i32")  # [S]
        self._padded = op.greater_equal(op.unsqueeze(self._places, ints(0)), op.unsqueeze(lengths, ints(1)))  # [B, S]
        self._made: dict[Hashable, Any] = {}  # constants and masks: each once a graph, however many layers use it

    def embed(self, name: str, index: Index, rows: int, width: int) -> Node:
        return op.gather(self._constant(f"{name}.weight"), self._index(index), ints(0))

    def linear(
        self, x: Node, name: str, width: int, activation: Activation | None = None, *, bias: bool = True
    ) -> Node:
        if isinstance(x, np.ndarray):
            return self._tables.linear(x, name, width, activation, bias=bias)
        if self._seen is not None:
            self._seen.inputs.append((name, x))
        rounding = next(self._roundings) if self._roundings else None
        if rounding is None or rounding.is_sensitive:
            product = op.matmul(x, self._constant(f"{name}.weight"), False, True)
        else:
            product = op.matmul(self._rounded(x, rounding), self._integers(name, rounding), False, True)
        y = self._biased(product, name, bias)
        return ACTIVATE[activation](y) if activation else y

    def norm(self, x: Node, name: str, eps: float, *, bias: bool = True) -> Node:
        if isinstance(x, np.ndarray):
            return self._tables.norm(x, name, eps, bias=bias)
        y = op.mvn(x, ints([-1]), True, eps, "inside_sqrt")
        return self._biased(op.multiply(y, self._constant(f"{name}.weight")), name, bias)

    def add(self, x: Node, y: Node) -> Node:
        return op.add(x, y)

    def multiply(self, x: Node, y: Node) -> Node:
        return op.multiply(x, y)

    def dropout(self, x: Node) -> Node:
        return x

    def convolve(self, x: Node, name: str, kernel: int, activation: Activation) -> Node:
        """As one product of matrices: the places that the kernel sees, side by side, with its weights laid flat."""
        weight = self._weights[f"{name}.weight"]  # [D, D, kernel]
        flat = op.constant(np.ascontiguousarray(weight.swapaxes(1, 2)).reshape(weight.shape[0], -1))
        x = op.select(op.unsqueeze(self._padded, ints(2)), floats(0.0), x)
        ends = ints([0, kernel // 2, 0])
        around = op.pad(x, ends, ends, "constant", floats(0.0))  # [B, S + kernel - 1, D]
        seen = [self._sliced(around, ints(i), op.add(self._S, ints(i)), axis=1) for i in range(kernel)]
        y = op.matmul(op.concat(seen, -1), flat, False, True)
        return ACTIVATE[activation](self._biased(y, name, True))

    def table(self, name: str, rows: int, width: int) -> FloatArray:
        return self._tables.table(name, rows, width)

    def distance_bias(self, name: str, distances: Distances, n_heads: int) -> Node:
        apart = op.subtract(op.unsqueeze(self._places, ints(1)), op.unsqueeze(self._places, ints(0)))  # [S, S]
        bias = op.gather(self._constant(f"{name}.weight"), self._rows(distances, apart), ints(0))  # [S, S, H]
        return op.transpose(bias, ints([2, 0, 1]))

    def disentangle(
        self,
        q: Node,
        k: Node,
        position_k: FloatArray | None,
        position_q: FloatArray | None,
        distances: Distances,
        attention: Attention,
    ) -> Node:
        """The tables are laid out by distance first: then each row of scores needs a shift, not a look-up a place."""
        steps = op.range(ints(0), op.multiply(self._S, ints(2)), ints(1), "i32")  # [2S]
        apart = op.subtract(op.subtract(self._S, ints(1)), steps)  # S - 1 down to -S
        terms = []
        if position_k is not None:
            laid = self._laid(position_k, self._rows(distances, apart), attention)
            terms.append(self._skewed(op.matmul(self._by_head(q, attention), laid, False, True)))  # [B, H, S, S]
        if position_q is not None:
            laid = self._laid(position_q, self._rows(distances, op.negative(apart)), attention)
            by_key = self._skewed(op.matmul(self._by_head(k, attention), laid, False, True))
            terms.append(op.transpose(by_key, ints([0, 1, 3, 2])))
        return terms[0] if len(terms) == 1 else op.add(*terms)

    def attend(self, q: Node, k: Node, v: Node, attention: Attention, bias: Node | None = None) -> Node:
        width = q.get_output_partial_shape(0)[2].get_length()
        q, k, v = (self._by_head(x, attention) for x in (q, k, v))  # [B, H, S, K]
        if attention.theta is not None:
            q, k = (self._turned(x, attention.theta, width // attention.n_heads) for x in (q, k))
        mask = self._mask(attention.window)
        if bias is not None:
            mask = op.add(bias, mask)
        # Spelled out, not one attention node: that one transposes what is fused in here (docs/log.md).
        scores = op.multiply(op.matmul(q, k, False, True), floats(attention.scale))
        weights = op.softmax(op.add(scores, mask), -1)
        if self._seen is not None:
            self._seen.attention.append(weights)
        context = op.matmul(weights, v, False, False)
        return op.reshape(op.transpose(context, ints([0, 2, 1, 3])), ints([0, 0, width]), True)  # [B, S, D]

    def _rounded(self, x: Node, rounding: Rounding) -> Node:
        """x / smooth on the steps of a rounding: once for all products that it enters."""

        def make() -> Node:
            ends = [floats(rounding.low), floats(rounding.high)] * 2
            return op.fake_quantize(op.multiply(x, op.constant(1 / rounding.smooth)), *ends, LEVELS)

        return self._once(("rounded", id(rounding)), make)

    def _integers(self, name: str, rounding: Rounding) -> Node:
        integers, scale = integer_weight(self._weights[f"{name}.weight"], rounding.smooth)
        return op.multiply(op.convert(op.constant(integers), "f32"), op.constant(scale))

    def _index(self, index: Index) -> Node:
        if isinstance(index, Counted):
            uncounted = ints(index.uncounted)
            counts = op.convert(op.not_equal(self._ids, uncounted), "i32")
            return op.add(op.multiply(op.cum_sum(counts, ints(1)), counts), uncounted)
        return {"token": self._ids, "type": self._types, "position": self._places}[index]

    def _biased(self, y: Node, name: str, bias: bool) -> Node:
        return op.add(y, self._constant(f"{name}.bias")) if bias else y

    def _by_head(self, x: Node, attention: Attention) -> Node:
        """[B, S, D] as [B, H, S, K]."""
        return op.transpose(op.reshape(x, ints([0, 0, attention.n_heads, -1]), True), ints([0, 2, 1, 3]))

    def _turned(self, x: Node, theta: float, width: int) -> Node:
        cos, sin = self._once((theta, width), lambda: self._angles(theta, width))  # [S, K]
        first, second = op.split(x, ints(-1), 2).outputs()
        return op.add(op.multiply(x, cos), op.multiply(op.concat([op.negative(second), first], -1), sin))

    def _angles(self, theta: float, width: int) -> list[Node]:
        both = rotary_angles(theta, self._max_tokens, width)
        return [self._sliced(op.constant(angles), ints(0), self._S, axis=0) for angles in both]

    def _mask(self, window: int | None) -> Node:
        """What is added to scores: [B, 1, 1, S], or [B, 1, S, S] with a window."""
        return self._once(("mask", window), lambda: op.select(self._masked(window), floats(MASKED), floats(0.0)))

    def _masked(self, window: int | None) -> Node:
        padded = op.unsqueeze(self._padded, ints([1, 2]))  # [B, 1, 1, S]
        if window is None:
            return padded
        apart = op.subtract(op.unsqueeze(self._places, ints(1)), op.unsqueeze(self._places, ints(0)))  # [S, S]
        return op.logical_or(padded, op.greater(op.abs(apart), ints(window)))

    def _rows(self, distances: Distances, apart: Node) -> Node:
        """The row of a table for each distance, -S to S."""
        furthest = self._max_tokens
        rows = self._once(distances, lambda: ints(distances.rows(np.arange(-furthest, furthest + 1))))
        return op.gather(rows, op.add(apart, ints(furthest)), ints(0))

    def _laid(self, table: FloatArray, rows: Node, attention: Attention) -> Node:
        """The rows of a table [n_rows, D] in the order given, scaled: [H, 2S, K]."""
        scaled = by_head(table, attention) * np.float32(attention.scale)  # [H, n_rows, K]
        return op.gather(op.constant(np.ascontiguousarray(scaled)), rows, ints(1))

    def _skewed(self, x: Node) -> Node:
        """[B, H, S, 2S] with row i shifted left by S - 1 - i: [B, H, S, S]. Source: Dai et al. 2019, appendix B."""
        row = op.subtract(
            op.multiply(self._S, ints(2)), ints(1)
        )  # written in rows one shorter, each shifts by one more
        first = op.subtract(self._S, ints(1))
        flat = op.reshape(x, ints([0, 0, -1]), True)  # [B, H, 2S²]
        flat = self._sliced(flat, first, op.add(first, op.multiply(self._S, row)), axis=2)
        shape = op.concat([ints([0, 0, -1]), op.unsqueeze(row, ints(0))], 0)
        return self._sliced(op.reshape(flat, shape, True), ints(0), self._S, axis=3)

    def _sliced(self, x: Node, start: Node, stop: Node, *, axis: int) -> Node:
        bounds = (op.reshape(bound, ints([1]), False) for bound in (start, stop))
        return op.slice(x, *bounds, ints([1]), ints([axis]))

    def _constant(self, name: str) -> Node:
        return self._once(name, lambda: op.constant(self._weights[name], shared_memory=True))

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def ints(values: int | list[int] | npt.NDArray[np.int32]) -> Node:
    return op.constant(np.array(values, np.int32))


def floats(value: float) -> Node:
    return op.constant(np.float32(value))
