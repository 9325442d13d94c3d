"""What flows through a model on some texts: means and products of the numbers that enter a matrix or leave it.

The calibration of everything here that is fitted. A slow, obvious pass in numpy, a text at a time and without padding:
the encoder's own forward pass, watched. Shapes: N tokens, D the width watched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from lamina.compress.draft import Draft
from lamina.engine.batch import Batch, Float32, Int32
from lamina.engine.reference import NumpyOperations
from lamina.model.encoder import states
from lamina.model.operations import Activation
from lamina.model.weights import in_memory

Float64 = npt.NDArray[np.float64]
TextTokens = tuple[Int32, Int32]  # a text's ids and segment types, [T] each


@dataclass(slots=True)
class Moments:
    """Sums over N tokens: of each of D numbers, and of the products of every two."""

    n: int = 0
    total: Float64 = field(default_factory=lambda: np.zeros(0))
    products: Float64 = field(default_factory=lambda: np.zeros((0, 0)))

    def see(self, x: Float32) -> None:
        """Take in some tokens, [N, D]."""
        if not self.n:
            self.total, self.products = np.zeros(x.shape[1]), np.zeros((x.shape[1],) * 2)
        self.n += len(x)
        self.total += x.sum(axis=0)
        self.products += x.T @ x

    @property
    def mean(self) -> Float64:
        """[D]."""
        return self.total / self.n

    def spread(self, *, centred: bool) -> Float64:
        """The covariance [D, D], or with centred false the mean of products."""
        second = self.products / self.n
        return second - np.outer(self.mean, self.mean) if centred else second


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen of matrices and norms, by their names.

    inputs, outputs  of matrices.
    energy           of a norm's input: the mean over tokens of its squared distance from its own mean.
    """

    inputs: dict[str, Moments]
    outputs: dict[str, Moments]
    energy: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Watching(NumpyOperations):
    inputs: dict[str, Moments] = field(default_factory=dict)
    outputs: dict[str, Moments] = field(default_factory=dict)
    norms: dict[str, Moments] = field(default_factory=dict)

    def linear(
        self, x: Float32, name: str, width: int, activation: Activation | None = None, *, bias: bool = True
    ) -> Float32:
        y = NumpyOperations.linear(self, x, name, width, activation, bias=bias)
        if name in self.inputs:
            self.inputs[name].see(x[0])
        if name in self.outputs:
            self.outputs[name].see(y[0])
        return y

    def norm(self, x: Float32, name: str, eps: float, *, bias: bool = True) -> Float32:
        if x.ndim == 3:  # no table of distances
            energy = ((x - x.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
            self.norms.setdefault(name, Moments()).see(energy[0, :, None])
        return NumpyOperations.norm(self, x, name, eps, bias=bias)


def watch(
    draft: Draft, texts: Iterable[TextTokens], *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()
) -> Watched:
    """Run a model over texts, with a look at the inputs and outputs of the matrices named, and at all norms."""
    into, out_of = ({name: Moments() for name in names} for names in (inputs, outputs))
    norms: dict[str, Moments] = {}
    held = {name: in_memory(name, tensor.float32()) for name, tensor in draft.weights.tensors.items()}  # widened once
    weights = replace(draft.weights, tensors=held)
    for ids, types in texts:
        batch = Batch(ids[None], types[None], np.array([ids.size], np.int32), ())
        ops = _Watching(weights, batch, "float32", inputs=into, outputs=out_of, norms=norms)
        for _ in states(ops, draft.architecture):
            pass
    return Watched(into, out_of, {name: float(seen.mean[0]) for name, seen in norms.items()})
