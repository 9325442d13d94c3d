"""The encoder run over shapes alone: which weights it reads, and what it computes a token.

An engine that only takes notes. Because the notes come from the one forward pass, the list of expected tensors
cannot disagree with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.operations import Activation, Index

Shapes = dict[str, tuple[int, ...]]


@dataclass(slots=True)
class Inventory:
    """Operations over widths: a state is just its width D."""

    shapes: Shapes = field(default_factory=dict)

    def embed(self, name: str, index: Index, rows: int, width: int) -> int:
        self.shapes[f"{name}.weight"] = (rows, width)
        return width

    def linear(self, x: int, name: str, width: int, activation: Activation | None = None) -> int:
        self.shapes[f"{name}.weight"] = (width, x)
        self.shapes[f"{name}.bias"] = (width,)
        return width

    def norm(self, x: int, name: str, eps: float) -> int:
        self.shapes[f"{name}.weight"] = (x,)
        self.shapes[f"{name}.bias"] = (x,)
        return x

    def add(self, x: int, y: int) -> int:
        return x

    def attend(self, q: int, k: int, v: int, n_heads: int, scale: float) -> int:
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
