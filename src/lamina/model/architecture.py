"""An encoder's `Architecture`: everything that its forward pass needs besides weights.

What one family does differently from another is a value here, which the one forward pass (encoder.py) reads; the values
of each family are in families.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from lamina.model.operations import Activation, Attention, Index
from lamina.model.positions import Counted, Distances


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: how its tensors' names begin (layers that share weights share it), how it attends."""

    weights: str
    attention: Attention
    attention_norm: bool = True  # False: what a pre-norm encoder's embeddings have been through already


@dataclass(frozen=True, slots=True)
class Disentangled:
    """DeBERTa's attention: scores between contents and distances, besides those between contents."""

    distances: Distances
    content_to_position: bool
    position_to_content: bool
    shared: bool  # distances go through the projections of the contents
    normed: bool  # their embeddings are normed first

    @property
    def key_weights(self) -> str:
        return "attention.key" if self.shared else "attention.position_key"

    @property
    def query_weights(self) -> str:
        return "attention.query" if self.shared else "attention.position_query"


@dataclass(frozen=True, slots=True)
class Convolution:
    """DeBERTa v2's convolution of the embeddings, added to the first layer's output."""

    kernel: int
    activation: Activation


@dataclass(frozen=True, slots=True)
class Architecture:
    """An encoder's numbers: everything that its forward pass needs besides weights. The defaults are BERT's."""

    family: str
    layers: tuple[Layer, ...]
    n_heads: int
    width: int
    ffn_width: int
    vocab_size: int
    n_positions: int
    n_types: int
    eps: float
    activation: Activation
    pad_id: int
    embedding_width: int | None = None  # None: as wide as the layers, and not projected
    position_index: Index | None = "position"  # which row of the position table a token takes; None: there is none
    distance_bias: Distances | None = None
    disentangled: Disentangled | None = None
    convolution: Convolution | None = None
    pre_norm: bool = False  # norms stand before attention and feed-forward, and after the last layer
    gated: bool = False
    without_bias: frozenset[str] = frozenset()  # `norm`, `attention.query`, `ffn.up` …

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens, special ones included."""
        if isinstance(self.position_index, Counted):
            return self.n_positions - self.position_index.uncounted - 1
        return self.n_positions
