"""The operations that an encoder is written in; each engine is one way of computing them.

`A` is whatever an engine computes with: a numpy array, a node of a graph. A state is `[B, S, D]`: B texts of one
padded length S. Weights are named, never passed: `linear(x, "layers.0.ffn.up", 1536)` reads
`layers.0.ffn.up.weight` `[1536, D]` and `layers.0.ffn.up.bias` `[1536]`. Padded places are read by no other place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from lamina.model.positions import Counted, Distances

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
Index = Literal["token", "type", "position"] | Counted

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Attention:
    """How places look at one another.

    n_heads  H; each is K = D / H numbers wide.
    scale    what the product of a query and a key is multiplied with.
    window   the largest distance that is looked at; None: every place.
    theta    the base of the angles by which queries and keys are turned, place by place (rotary); None: not turned.
    """

    n_heads: int
    scale: float
    window: int | None = None
    theta: float | None = None


class Operations(Protocol[A]):
    """What an engine must be able to compute."""

    def embed(self, name: str, index: Index, rows: int, width: int) -> A:
        """Rows of the table `name` `[rows, width]` by each place's token id, type or position: `[B, S, width]`."""
        ...

    def linear(self, x: A, name: str, width: int, activation: Activation | None = None, *, bias: bool = True) -> A:
        """x Wᵀ + b, then the activation: `[B, S, width]`."""
        ...

    def norm(self, x: A, name: str, eps: float, *, bias: bool = True) -> A:
        """Layer normalisation over the last axis, biased variance, eps inside the root, then scale and shift."""
        ...

    def add(self, x: A, y: A) -> A:
        """The sum of two states."""
        ...

    def multiply(self, x: A, y: A) -> A:
        """The product of two states, number by number."""
        ...

    def dropout(self, x: A) -> A:
        """The state itself; where it is trained, with some of its numbers set to zero at random and the rest scaled up.

        Source: Srivastava et al. 2014.
        """
        ...

    def convolve(self, x: A, name: str, kernel: int, activation: Activation) -> A:
        """A convolution over the places, `[D, D, kernel]` and bias, zeros beyond both ends, then the activation."""
        ...

    def table(self, name: str, rows: int, width: int) -> A:
        """The whole table `name`, `[rows, width]`; `linear` and `norm` take it as they take a state."""
        ...

    def distance_bias(self, name: str, distances: Distances, n_heads: int) -> A:
        """What the table `name` `[n_rows, H]` adds to each score by the query's distance to the key: `[H, S, S]`."""
        ...

    def disentangle(
        self, q: A, k: A, position_k: A | None, position_q: A | None, distances: Distances, attention: Attention
    ) -> A:
        """What distances add to each score, scaled: `[B, H, S, S]`.

        q · position_k[row] + k · position_q[row], by head, where `row` is that of the query's distance to the key; the
        tables are `[n_rows, D]`, and None leaves its term out. Source: He et al. 2020 (DeBERTa), equation 4.
        """
        ...

    def attend(self, q: A, k: A, v: A, attention: Attention, bias: A | None = None) -> A:
        """softmax(q kᵀ · scale + bias) v by head, padding and what is out of the window masked out: `[B, S, D]`."""
        ...
