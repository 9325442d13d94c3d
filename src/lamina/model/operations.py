"""The operations that an encoder is written in; each engine is one way of computing them.

`A` is whatever an engine computes with: a numpy array, a node of a graph. A state is `[B, S, D]`: B texts of one
padded length S. Weights are named, never passed: `linear(x, "layers.0.ffn.up", 1536)` reads
`layers.0.ffn.up.weight` `[1536, D]` and `layers.0.ffn.up.bias` `[1536]`.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar

Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]
Index = Literal["token", "type", "position"]

A = TypeVar("A")


class Operations(Protocol[A]):
    """What an engine must be able to compute."""

    def embed(self, name: str, index: Index, rows: int, width: int) -> A:
        """Rows of the table `name` `[rows, width]` by each place's token id, type or position: `[B, S, width]`."""
        ...

    def linear(self, x: A, name: str, width: int, activation: Activation | None = None) -> A:
        """x Wᵀ + b, then the activation: `[B, S, width]`."""
        ...

    def norm(self, x: A, name: str, eps: float) -> A:
        """Layer normalisation over the last axis, biased variance, eps inside the root, then scale and shift."""
        ...

    def add(self, x: A, y: A) -> A:
        """The sum of two states."""
        ...

    def attend(self, q: A, k: A, v: A, n_heads: int, scale: float) -> A:
        """softmax(q kᵀ · scale) v by head, padding masked out: `[B, S, D]`."""
        ...
