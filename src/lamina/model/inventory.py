"""The encoder run over shapes alone: which weights it reads, and what it computes a token.

An engine that only takes notes. Because the notes come from the one forward pass, the list of expected tensors
cannot disagree with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from math import prod

from lamina.model.architecture import Architecture
from lamina.model.encoder import states
from lamina.model.operations import Activation, Attention, Index
from lamina.model.positions import Distances

Shapes = dict[str, tuple[int, ...]]


class TableWidth(int):
    """The width of a table of distances: what is done with it is done once, not for each token."""


@dataclass(slots=True)
class Inventory:
    """Operations over widths: a state is just its width D.

    products  multiplications for each token, in matrices.
    attended  widths of what is attended to: each place of the sequence costs a token twice so many more.
    """

    shapes: Shapes = field(default_factory=dict)
    products: int = 0
    attended: int = 0

    def embed(self, name: str, index: Index, rows: int, width: int) -> int:
        return int(self.table(name, rows, width))

    def linear(self, x: int, name: str, width: int, activation: Activation | None = None, *, bias: bool = True) -> int:
        self.shapes[f"{name}.weight"] = (width, x)
        if bias:
            self.shapes[f"{name}.bias"] = (width,)
        if isinstance(x, TableWidth):
            return TableWidth(width)
        self.products += width * x
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

    def dropout(self, x: int) -> int:
        return x

    def convolve(self, x: int, name: str, kernel: int, activation: Activation) -> int:
        self.shapes[f"{name}.weight"] = (x, x, kernel)
        self.shapes[f"{name}.bias"] = (x,)
        self.products += x * x * kernel
        return x

    def table(self, name: str, rows: int, width: int) -> int:
        self.shapes[f"{name}.weight"] = (rows, width)
        return TableWidth(width)

    def distance_bias(self, name: str, distances: Distances, n_heads: int) -> int:
        return self.table(name, distances.n_rows, n_heads)

    def disentangle(
        self, q: int, k: int, position_k: int | None, position_q: int | None, distances: Distances, attention: Attention
    ) -> int:
        return q

    def attend(self, q: int, k: int, v: int, attention: Attention, bias: int | None = None) -> int:
        self.attended += v
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


def n_operations(arch: Architecture, lengths: Iterable[int], *, highest: int | None = None) -> int:
    """Floating-point operations, 2 for each multiplication, of sequences of these lengths in tokens up to a layer.

    What matrices multiply, and queries with keys and weights with values; norms, activations, the softmax, embeddings
    and DeBERTa's distances are not counted, as is the field's custom (Hoffmann et al. 2022, appendix F).
    """
    inventory = Inventory()
    for _ in islice(states(inventory, arch), (arch.n_layers if highest is None else highest) + 1):
        pass
    return sum(2 * n * (inventory.products + 2 * n * inventory.attended) for n in lengths)
