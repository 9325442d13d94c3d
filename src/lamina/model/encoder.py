"""The encoder's forward pass, written once over the operations.

`states` gives the states in the ecosystem's numbering (`hidden_states` of transformers): first layer 0, the embedding
layer's output, then 1 to n. Whoever needs no layer above k stops asking after k, and nothing above it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from lamina.model.architecture import Architecture, Layer
from lamina.model.operations import Operations

A = TypeVar("A")


def states(ops: Operations[A], arch: Architecture) -> Iterator[A]:
    """The state `[B, S, D]` after each layer, 0 to n. Source: Devlin et al. 2019, section 3; Vaswani et al. 2017."""
    embedded = state = _embeddings(ops, arch)
    yield state
    distances = _distances(ops, arch)
    for k, layer in enumerate(arch.layers, start=1):
        state = _layer(ops, arch, layer, state, distances)
        if k == 1 and arch.convolution:
            state = _convolution(ops, arch, embedded, state)
        if k == arch.n_layers and arch.pre_norm:
            state = _norm(ops, arch, state, "norm")
        yield state


def _embeddings(ops: Operations[A], arch: Architecture) -> A:
    width = arch.embedding_width or arch.width
    state = ops.embed("embeddings.word", "token", arch.vocab_size, width)
    if arch.n_types:
        state = ops.add(state, ops.embed("embeddings.type", "type", arch.n_types, width))
    if arch.position_index:
        state = ops.add(state, ops.embed("embeddings.position", arch.position_index, arch.n_positions, width))
    state = ops.dropout(_norm(ops, arch, state, "embeddings.norm"))
    return ops.linear(state, "embeddings.projection", arch.width) if arch.embedding_width else state


def _layer(ops: Operations[A], arch: Architecture, layer: Layer, x: A, distances: A | None) -> A:
    if arch.pre_norm:  # Xiong et al. 2020
        normed = _norm(ops, arch, x, f"{layer.weights}.attention.norm") if layer.attention_norm else x
        x = ops.add(x, _attention(ops, arch, layer, normed, distances))
        return ops.add(x, _feed_forward(ops, arch, layer, _norm(ops, arch, x, f"{layer.weights}.ffn.norm")))
    x = _norm(ops, arch, ops.add(_attention(ops, arch, layer, x, distances), x), f"{layer.weights}.attention.norm")
    return _norm(ops, arch, ops.add(_feed_forward(ops, arch, layer, x), x), f"{layer.weights}.ffn.norm")


def _attention(ops: Operations[A], arch: Architecture, layer: Layer, x: A, distances: A | None) -> A:
    width = arch.head_width * layer.attention.n_heads  # of all heads that are left
    q, k, v = (_linear(ops, arch, layer, x, f"attention.{part}", width) for part in ("query", "key", "value"))
    bias = _disentangled(ops, arch, layer, q, k, distances) if arch.disentangled else distances
    context = ops.attend(q, k, v, layer.attention, bias)
    return ops.dropout(_linear(ops, arch, layer, context, "attention.output", arch.width))


def _feed_forward(ops: Operations[A], arch: Architecture, layer: Layer, x: A) -> A:
    if arch.gated:  # Shazeer 2020
        gate = _linear(ops, arch, layer, x, "ffn.gate", arch.ffn_width, activated=True)
        hidden = ops.multiply(gate, _linear(ops, arch, layer, x, "ffn.up", arch.ffn_width))
    else:
        hidden = _linear(ops, arch, layer, x, "ffn.up", arch.ffn_width, activated=True)
    return ops.dropout(_linear(ops, arch, layer, hidden, "ffn.down", arch.width))


def _distances(ops: Operations[A], arch: Architecture) -> A | None:
    """What all layers share of the distances between places: MPNet's bias on scores, or DeBERTa's embeddings."""
    if arch.distance_bias:
        return ops.distance_bias("distances", arch.distance_bias, arch.n_heads)
    if not arch.disentangled:
        return None
    table = ops.table("distances", arch.disentangled.distances.n_rows, arch.width)
    return _norm(ops, arch, table, "distances.norm") if arch.disentangled.normed else table


def _disentangled(ops: Operations[A], arch: Architecture, layer: Layer, q: A, k: A, table: A | None) -> A:
    assert arch.disentangled
    assert table is not None
    how, width = arch.disentangled, arch.head_width * layer.attention.n_heads
    position_k = _linear(ops, arch, layer, table, how.key_weights, width) if how.content_to_position else None
    position_q = _linear(ops, arch, layer, table, how.query_weights, width) if how.position_to_content else None
    return ops.disentangle(q, k, position_k, position_q, how.distances, layer.attention)


def _convolution(ops: Operations[A], arch: Architecture, embedded: A, state: A) -> A:
    """What DeBERTa v2's larger models add to the first layer: a convolution of the embeddings."""
    assert arch.convolution
    convolved = ops.convolve(embedded, "convolution", arch.convolution.kernel, arch.convolution.activation)
    return _norm(ops, arch, ops.add(state, convolved), "convolution.norm")


def _linear(
    ops: Operations[A], arch: Architecture, layer: Layer, x: A, part: str, width: int, *, activated: bool = False
) -> A:
    activation = arch.activation if activated else None
    if arch.ffn_rank and part.startswith("ffn."):
        x = ops.linear(x, f"{layer.weights}.{part}.inner", arch.ffn_rank, bias=False)
    return ops.linear(x, f"{layer.weights}.{part}", width, activation, bias=part not in arch.without_bias)


def _norm(ops: Operations[A], arch: Architecture, x: A, name: str) -> A:
    return ops.norm(x, name, arch.eps, bias="norm" not in arch.without_bias)
