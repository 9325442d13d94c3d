"""The encoder run over shapes alone: which weights it reads, and what it computes a token.

An engine that only takes notes. Because the notes come from the one forward pass, the list of expected tensors
cannot disagree with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.operations import Activation, Attention, Index
from lamina.model.positions import Distances

Shapes = dict[str, tuple[int, ...]]


@dataclass(slots=True)
class Inventory:
    """Operations over widths: a state is just its width D."""

    shapes: Shapes = field(default_factory=dict)

    def embed(self, name: str, index: Index, rows: int, width: int) -> int:
        return self.table(name, rows, width)

    def linear(self, x: int, name: str, width: int, activation: Activation | None = None, *, bias: bool = True) -> int:
        self.shapes[f"{name}.weight"] = (width, x)
        if bias:
            self.shapes[f"{name}.bias"] = (width,)
        return width

    def norm(self, x: int, name: str, eps: float, *, bias: bool = True) -> int:
        self.shapes[f"{name}.weight"] = (x,)
        if bias:
            self.shapes[f"{name}.bias"] = (x,)
        return x

    def add(self, x: int, y: int) -> int:
        return x

    def multiply(self, x: int, y: int) -> int:
        return x

    def convolve(self, x: int, name: str, kernel: int, activation: Activation) -> int:
        self.shapes[f"{name}.weight"] = (x, x, kernel)
        self.shapes[f"{name}.bias"] = (x,)
        return x

    def table(self, name: str, rows: int, width: int) -> int:
        self.shapes[f"{name}.weight"] = (rows, width)
        return width

    def distance_bias(self, name: str, distances: Distances, n_heads: int) -> int:
        return self.table(name, distances.n_rows, n_heads)

    def disentangle(
        self, q: int, k: int, position_k: int | None, position_q: int | None, distances: Distances, attention: Attention
    ) -> int:
        return q

    def attend(self, q: int, k: int, v: int, attention: Attention, bias: int | None = None) -> int:
        return v


def weight_shapes(arch: Architecture) -> Shapes:
    """The name and shape of every tensor that the encoder reads."""
    inventory = Inventory()
    for _ in states(inventory, arch):
        pass
    return inventory.shapes


def n_parameters(arch: Architecture) -> int:
    """How many numbers the encoder reads, embedding tables included."""
    return sum(prod(shape) for shape in weight_shapes(arch).values())
