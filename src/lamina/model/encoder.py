"""The encoder's forward pass, written once over the operations.

`states` gives the states in the ecosystem's numbering (`hidden_states` of transformers): first layer 0, the embedding
layer's output, then 1 to n. Whoever needs no layer above k stops asking after k, and nothing above it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import TypeVar

from lamina.model.architecture import Architecture
from lamina.model.operations import Operations

A = TypeVar("A")


def states(ops: Operations[A], arch: Architecture) -> Iterator[A]:
    """The state `[B, S, D]` after each layer, 0 to n. Source: Devlin et al. 2019, section 3; Vaswani et al. 2017."""
    state = _embeddings(ops, arch)
    yield state
    for k in range(arch.n_layers):
        state = _layer(ops, arch, f"layers.{k}", state)
        yield state


def _embeddings(ops: Operations[A], arch: Architecture) -> A:
    state = ops.embed("embeddings.word", "token", arch.vocab_size, arch.width)
    if arch.n_types:
        state = ops.add(state, ops.embed("embeddings.type", "type", arch.n_types, arch.width))
    state = ops.add(state, ops.embed("embeddings.position", "position", arch.n_positions, arch.width))
    return ops.norm(state, "embeddings.norm", arch.eps)


def _layer(ops: Operations[A], arch: Architecture, name: str, x: A) -> A:
    q, k, v = (ops.linear(x, f"{name}.attention.{part}", arch.width) for part in ("query", "key", "value"))
    context = ops.attend(q, k, v, arch.n_heads, 1 / sqrt(arch.width // arch.n_heads))
    x = ops.norm(
        ops.add(ops.linear(context, f"{name}.attention.output", arch.width), x),
        f"{name}.attention.norm",
        arch.eps,
    )
    hidden = ops.linear(x, f"{name}.ffn.up", arch.ffn_width, arch.activation)
    return ops.norm(ops.add(ops.linear(hidden, f"{name}.ffn.down", arch.width), x), f"{name}.ffn.norm", arch.eps)
