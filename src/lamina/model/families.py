"""The table of families: how a checkpoint's config becomes an `Architecture`, and how its tensors are named.

A family is supported if and only if it has a row in `FAMILIES`. What a config says and Lamina does not support is
an error that names the key: either here, or by its allowed range (config.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import sqrt

from lamina.errors import CheckpointError
from lamina.model import names
from lamina.model.architecture import Architecture, Convolution, Disentangled, Layer
from lamina.model.config import Config
from lamina.model.names import Names
from lamina.model.operations import Activation, Attention
from lamina.model.positions import Counted, Distances


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
    return family_of(config).architecture(config)


def family_of(config: Config) -> Family:
    """The row of the table for a config's `model_type`."""
    if config.model_type not in FAMILIES:
        raise CheckpointError(
            f"{config.source} is of model_type {config.model_type!r}, which Lamina does not know; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    return FAMILIES[config.model_type]


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
    return _counted(config, arch, arch.pad_id)


def _mpnet(config: Config) -> Architecture:
    """MPNet pads with token 1 and has 32 buckets, whatever the config says; more rows in the table stay unread."""
    distances = Distances("floored", config.optional("relative_attention_num_buckets", 32), n_buckets=32, furthest=128)
    return replace(_counted(config, _bert(config, pad_id=1), 1), n_types=0, distance_bias=distances)


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
    return replace(_disentangled(config), without_bias=frozenset({"attention.key", "attention.position_key"}))


def _deberta_v2(config: Config) -> Architecture:
    arch = _disentangled(config)
    _check_head_width(config, arch, "attention_head_size")
    kernel = config.optional("conv_kernel_size", 0)
    if kernel and kernel % 2 == 0:
        raise CheckpointError(f"{config.source}: conv_kernel_size must be odd, not {kernel}")
    convolution = Convolution(kernel, ACTIVATIONS[config.optional("conv_act", "tanh")])
    return replace(arch, convolution=convolution if kernel else None)


def _disentangled(config: Config) -> Architecture:
    """What both versions of DeBERTa have in common."""
    arch = _bert(config, n_types=0, eps=1e-7)
    if config.optional("embedding_size", arch.width) != arch.width:
        raise CheckpointError(
            f"{config.source}: embedding_size {config.required('embedding_size')} differs from hidden_size {arch.width}, "
            f"which is not supported for {config.model_type}"
        )
    found = config.optional("pos_att_type", [])
    terms = [term.strip() for term in found.lower().split("|")] if isinstance(found, str) else found
    terms = [term for term in terms if term]
    scale = 1 / sqrt(arch.width // arch.n_heads * (1 + len(terms)))
    return replace(
        arch,
        layers=tuple(replace(layer, attention=Attention(arch.n_heads, scale)) for layer in arch.layers),
        position_index="position" if config.optional("position_biased_input", True) else None,
        disentangled=Disentangled(
            distances=_deberta_distances(config, arch),
            content_to_position="c2p" in terms,
            position_to_content="p2c" in terms,
            shared=config.optional("share_att_key", False),
            normed="layer_norm" in config.optional("norm_rel_ebd", "none").lower(),
        )
        if terms and config.optional("relative_attention", False)
        else None,
    )


def _deberta_distances(config: Config, arch: Architecture) -> Distances:
    furthest = config.optional("max_relative_positions", -1)
    furthest = arch.n_positions if furthest < 1 else furthest
    n_buckets = config.optional("position_buckets", -1)
    if n_buckets < 1:
        return Distances("clipped", 2 * furthest, n_buckets=furthest, furthest=furthest)
    if n_buckets < 2 or furthest - 1 <= n_buckets // 2:
        raise CheckpointError(
            f"{config.source}: position_buckets {n_buckets} are too few, or too many for distances up to {furthest}"
        )
    return Distances("ceiled", 2 * n_buckets, n_buckets=n_buckets, furthest=furthest)


def _modernbert(config: Config) -> Architecture:
    config = config.renamed({"hidden_act": "hidden_activation", "layer_norm_eps": "norm_eps"})
    arch = replace(_bert(config, eps=1e-5, pad_id=50_283), n_types=0, position_index=None, pre_norm=True, gated=True)
    _check_rotary(config, arch)
    kinds = _layer_kinds(config, arch)
    window = config.optional("sliding_window", config.optional("local_attention", 128) // 2)
    how = {
        "full_attention": {"theta": _theta(config, "full_attention", "global_rope_theta", 160_000.0)},
        "sliding_attention": {
            "theta": _theta(config, "sliding_attention", "local_rope_theta", 10_000.0),
            "window": window,
        },
    }
    biases = {"norm": {"norm"}, "attention": PROJECTIONS, "mlp": FEED_FORWARD}
    return replace(
        arch,
        layers=tuple(
            replace(layer, attention=replace(layer.attention, **how[kind]), attention_norm=k > 0)
            for k, (layer, kind) in enumerate(zip(arch.layers, kinds, strict=True))
        ),
        without_bias=frozenset().union(
            *(parts for which, parts in biases.items() if not config.optional(f"{which}_bias", False))
        ),
    )


def _nomic_bert(config: Config) -> Architecture:
    arch = _bert(config, activation="silu")
    _check_rotary(config, arch)
    theta = _theta(config, None, "rope_theta", 1_000.0)
    layers = tuple(replace(layer, attention=replace(layer.attention, theta=theta)) for layer in arch.layers)
    return replace(arch, layers=layers, position_index=None, gated=True, without_bias=PROJECTIONS | FEED_FORWARD)


def _counted(config: Config, arch: Architecture, uncounted: int) -> Architecture:
    if uncounted + 1 >= arch.n_positions:
        raise CheckpointError(
            f"{config.source}: positions begin one after the padding token's id (pad_token_id {uncounted}), but "
            f"max_position_embeddings is {arch.n_positions}"
        )
    return replace(arch, position_index=Counted(uncounted))


def _layer_kinds(config: Config, arch: Architecture) -> list[str]:
    every = config.optional("global_attn_every_n_layers", 3)
    by_rule = ["sliding_attention" if k % every else "full_attention" for k in range(arch.n_layers)]
    kinds: list[str] = config.optional("layer_types", by_rule)
    if len(kinds) != arch.n_layers:
        raise CheckpointError(f"{config.source}: layer_types has {len(kinds)} entries for {arch.n_layers} layers")
    return kinds


def _theta(config: Config, kind: str | None, key: str, default: float) -> float:
    """The base of the rotary angles: from `rope_parameters`, for a kind of layers where there are several, or its older key."""
    found = config.optional("rope_parameters", {})
    if found and (kind is None) != ("rope_theta" in found):
        expected = "full_attention and sliding_attention" if kind else "rope_theta"
        raise CheckpointError(f"{config.source}: rope_parameters must have {expected} for {config.model_type}, not {found}")
    found = (found.get(kind) or {}) if kind else found
    return float(found.get("rope_theta", config.optional(key, default)))


def _check_rotary(config: Config, arch: Architecture) -> None:
    _check_head_width(config, arch, "head_dim")
    if arch.width // arch.n_heads % 2:
        raise CheckpointError(
            f"{config.source}: hidden_size {arch.width} / {arch.n_heads} heads is odd; rotary positions turn halves"
        )


def _check_head_width(config: Config, arch: Architecture, key: str) -> None:
    own = arch.width // arch.n_heads
    if config.optional(key, own) != own:
        raise CheckpointError(
            f"{config.source}: {key} is {config.required(key)}, but {arch.width} / {arch.n_heads} heads is {own}; "
            "heads of another width are not supported"
        )


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
