"""The table of architectures: how a family's config becomes an `Architecture`.

A family is supported if and only if it has a row in `FAMILIES`. What it does differently from BERT is a value of its
`Architecture`, which the one forward pass (encoder.py) reads, or a name (names.py). What a config says and Lamina
does not support is an error that names the key: here, in position_keys.py, or by the key's range (config.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

from lamina.errors import CheckpointError
from lamina.model import names
from lamina.model.config import Config
from lamina.model.names import Names
from lamina.model.operations import Activation, Attention, Index
from lamina.model.position_keys import (
    bucketed_distances,
    check_head_width,
    check_rotary,
    clipped_distances,
    counted,
    layer_kinds,
    rotary_theta,
)
from lamina.model.positions import Counted, Distances


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: how its tensors' names begin (layers that share weights share it), how it attends."""

    weights: str
    attention: Attention
    attention_norm: bool = True  # False: what a pre-norm encoder's embeddings have been through already
    heads: tuple[int, ...] | None = None  # those left, by their first numbers; None: all


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
    ffn_rank: int | None = None  # each matrix of the feed-forward is a product of two, so wide in between

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def head_width(self) -> int:
        return self.width // self.n_heads

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens, special ones included."""
        if isinstance(self.position_index, Counted):
            return self.n_positions - self.position_index.uncounted - 1
        return self.n_positions


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table."""

    architecture: Callable[[Config], Architecture]
    names: Names


# `transformers`' names of activations; several are one function.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}

PROJECTIONS = frozenset(f"attention.{part}" for part in ("query", "key", "value", "output"))
FEED_FORWARD = frozenset(f"ffn.{part}" for part in ("gate", "up", "down"))


def architecture_of(config: Config) -> Architecture:
    """The Architecture of a config. Raises CheckpointError for a family or an option that is not supported."""
    return _compressed(config, family_of(config).architecture(config))


def family_of(config: Config) -> Family:
    """The row of the table for a config's `model_type`."""
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"{config.source} is of model_type {config.model_type!r}, which Lamina does not know; "
            f"supported: {', '.join(sorted(FAMILIES))}; engine='transformers' runs others, slower"
        )
    return FAMILIES[config.model_type]


def _compressed(config: Config, arch: Architecture) -> Architecture:
    """Without the heads that `lamina compress` has taken out, the feed-forward as it has split it."""
    arch = replace(arch, ffn_rank=config.optional("lamina_ffn_rank", None))
    kept: list[list[int]] | None = config.optional("lamina_heads", None)
    if kept is None:
        return arch
    layers = tuple(
        replace(layer, heads=tuple(heads), attention=replace(layer.attention, n_heads=len(heads)))
        for layer, heads in zip(arch.layers, kept, strict=False)
    )
    of_weights = {layer.weights: layer.heads for layer in layers}
    if (
        len(kept) != arch.n_layers
        or any(heads != sorted({*heads}) or heads[-1] >= arch.n_heads for heads in kept)
        or any(layer.heads != of_weights[layer.weights] for layer in layers)
        or arch.distance_bias
    ):
        raise CheckpointError(
            f"{config.source}: lamina_heads must list for each of {arch.n_layers} layers some of the heads 0 to "
            f"{arch.n_heads - 1} in ascending order, the same where layers share weights"
            + (f"; {arch.family} cannot do without some of its heads" if arch.distance_bias else "")
        )
    return replace(arch, layers=layers)


def _bert(
    config: Config, *, n_types: int = 2, eps: float = 1e-12, activation: str = "gelu", pad_id: int = 0
) -> Architecture:
    """BERT, and what its descendants have in common with it; the keywords are what a config may leave out."""
    for key in ("is_decoder", "add_cross_attention"):
        if config.optional(key, False):
            raise CheckpointError(f"{config.source} describes a decoder ({key} is true); Lamina reads encoders")
    width, n_heads = config.required("hidden_size"), config.required("num_attention_heads")
    if width % n_heads:
        raise CheckpointError(
            f"{config.source}: {config.key('hidden_size')} {width} is no multiple of "
            f"{config.key('num_attention_heads')} {n_heads}"
        )
    attention = Attention(n_heads, 1 / sqrt(width // n_heads))
    return Architecture(
        family=config.model_type,
        layers=tuple(Layer(f"layers.{k}", attention) for k in range(config.required("num_hidden_layers"))),
        n_heads=n_heads,
        width=width,
        ffn_width=config.required("intermediate_size"),
        vocab_size=config.required("vocab_size"),
        n_positions=config.required("max_position_embeddings"),
        n_types=config.optional("type_vocab_size", n_types),
        eps=config.optional("layer_norm_eps", eps),
        activation=ACTIVATIONS[config.optional("hidden_act", activation)],
        pad_id=config.optional("pad_token_id", pad_id),
    )


def _distilbert(config: Config) -> Architecture:
    keys = {
        "hidden_size": "dim",
        "intermediate_size": "hidden_dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "hidden_act": "activation",
    }
    return replace(_bert(config.renamed(keys)), n_types=0, eps=1e-12)


def _roberta(config: Config) -> Architecture:
    arch = _bert(config, pad_id=1)
    return replace(arch, position_index=counted(config, arch.pad_id))


def _mpnet(config: Config) -> Architecture:
    """MPNet pads with token 1 and has 32 buckets, whatever the config says; more rows in the table stay unread."""
    distances = Distances("floored", config.optional("relative_attention_num_buckets", 32), n_buckets=32, furthest=128)
    return replace(_bert(config, pad_id=1), n_types=0, position_index=counted(config, 1), distance_bias=distances)


def _electra(config: Config) -> Architecture:
    arch = _bert(config)
    width = config.optional("embedding_size", 128)
    return replace(arch, embedding_width=None if width == arch.width else width)


def _albert(config: Config) -> Architecture:
    """Layers share weights by group; a group may have several layers, and each of them counts as a layer."""
    arch = _bert(config, activation="gelu_new")
    n_groups, n_inner = config.optional("num_hidden_groups", 1), config.optional("inner_group_num", 1)
    if n_groups > arch.n_layers:
        raise CheckpointError(f"{config.source}: num_hidden_groups {n_groups} for {arch.n_layers} num_hidden_layers")
    layers = tuple(
        replace(layer, weights=f"layers.{int(k / (arch.n_layers / n_groups))}.{inner}")
        for k, layer in enumerate(arch.layers)
        for inner in range(n_inner)
    )
    return replace(arch, layers=layers, embedding_width=config.optional("embedding_size", 128))


def _deberta(config: Config) -> Architecture:
    arch = _disentangled(config, clipped_distances(config))
    return replace(arch, without_bias=frozenset({"attention.key", "attention.position_key"}))


def _deberta_v2(config: Config) -> Architecture:
    arch = _disentangled(
        config,
        bucketed_distances(config),
        shared=config.optional("share_att_key", False),
        normed="layer_norm" in config.optional("norm_rel_ebd", "none").lower(),
    )
    check_head_width(config, "attention_head_size")
    kernel = config.optional("conv_kernel_size", 0)
    if kernel and kernel % 2 == 0:
        raise CheckpointError(f"{config.source}: conv_kernel_size must be odd, not {kernel}")
    convolution = Convolution(kernel, ACTIVATIONS[config.optional("conv_act", "tanh")])
    return replace(arch, convolution=convolution if kernel else None)


def _disentangled(config: Config, distances: Distances, *, shared: bool = False, normed: bool = False) -> Architecture:
    """What both versions of DeBERTa have in common."""
    arch = _bert(config, n_types=0, eps=1e-7)
    if config.optional("embedding_size", arch.width) != arch.width:
        raise CheckpointError(
            f"{config.source}: embedding_size is {config.required('embedding_size')} and hidden_size {arch.width}; "
            f"for {config.model_type} they must be equal"
        )
    found = config.optional("pos_att_type", [])
    terms = [term for term in ("c2p", "p2c") if term in (found.lower() if isinstance(found, str) else found)]
    scale = 1 / sqrt(arch.width // arch.n_heads * (1 + len(terms)))
    return replace(
        arch,
        layers=tuple(replace(layer, attention=Attention(arch.n_heads, scale)) for layer in arch.layers),
        position_index="position" if config.optional("position_biased_input", True) else None,
        disentangled=Disentangled(
            distances,
            content_to_position="c2p" in terms,
            position_to_content="p2c" in terms,
            shared=shared,
            normed=normed,
        )
        if terms and config.optional("relative_attention", False)
        else None,
    )


def _modernbert(config: Config) -> Architecture:
    config = config.renamed({"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"})
    arch = replace(_bert(config, eps=1e-5, pad_id=50_283), n_types=0, position_index=None, pre_norm=True, gated=True)
    check_rotary(config)
    plain = arch.layers[0].attention
    attention = {
        "full_attention": replace(plain, theta=rotary_theta(config, "full_attention", "global_rope_theta", 160_000.0)),
        "sliding_attention": replace(
            plain,
            theta=rotary_theta(config, "sliding_attention", "local_rope_theta", 10_000.0),
            window=config.optional("sliding_window", config.optional("local_attention", 128) // 2),
        ),
    }
    biases = {"norm_bias": frozenset({"norm"}), "attention_bias": PROJECTIONS, "mlp_bias": FEED_FORWARD}
    return replace(
        arch,
        layers=tuple(
            Layer(f"layers.{k}", attention[kind], attention_norm=k > 0) for k, kind in enumerate(layer_kinds(config))
        ),
        without_bias=frozenset(x for key, parts in biases.items() if not config.optional(key, False) for x in parts),
    )


def _nomic_bert(config: Config) -> Architecture:
    arch = _bert(config, activation="silu")
    check_rotary(config)
    attention = replace(arch.layers[0].attention, theta=rotary_theta(config, None, "rope_theta", 1_000.0))
    layers = tuple(replace(layer, attention=attention) for layer in arch.layers)
    return replace(arch, layers=layers, position_index=None, gated=True, without_bias=PROJECTIONS | FEED_FORWARD)


FAMILIES: dict[str, Family] = {
    "albert": Family(_albert, names.ALBERT),
    "bert": Family(_bert, names.BERT),
    "camembert": Family(_roberta, names.BERT),
    "deberta": Family(_deberta, names.DEBERTA),
    "deberta-v2": Family(_deberta_v2, names.DEBERTA_V2),
    "distilbert": Family(_distilbert, names.DISTILBERT),
    "electra": Family(_electra, names.BERT),
    "modernbert": Family(_modernbert, names.MODERNBERT),
    "mpnet": Family(_mpnet, names.MPNET),
    "nomic_bert": Family(_nomic_bert, names.NOMIC_BERT),
    "roberta": Family(_roberta, names.BERT),
    "xlm-roberta": Family(_roberta, names.BERT),
}
