"""What a config says of positions, read into what positions.py computes with. Each error names the key."""

from __future__ import annotations

from lamina.errors import CheckpointError
from lamina.model.config import Config
from lamina.model.positions import Counted, Distances


def counted(config: Config, uncounted: int) -> Counted:
    """RoBERTa's positions, where the table has at least one for a token."""
    n_positions = config.required("max_position_embeddings")
    if uncounted + 1 >= n_positions:
        raise CheckpointError(
            f"{config.source}: positions begin one after the padding token's id (pad_token_id {uncounted}), but "
            f"max_position_embeddings is {n_positions}"
        )
    return Counted(uncounted)


def clipped_distances(config: Config) -> Distances:
    """The distances of DeBERTa."""
    furthest = config.optional("max_relative_positions", -1)
    furthest = config.required("max_position_embeddings") if furthest < 1 else furthest
    return Distances("clipped", 2 * furthest, n_buckets=furthest, furthest=furthest)


def bucketed_distances(config: Config) -> Distances:
    """The distances of DeBERTa v2 and v3, in logarithmic buckets where the config gives their number."""
    clipped, n_buckets = clipped_distances(config), config.optional("position_buckets", -1)
    if n_buckets < 1:
        return clipped
    furthest = clipped.furthest
    if n_buckets < 2 or furthest - 1 <= n_buckets // 2:
        raise CheckpointError(
            f"{config.source}: position_buckets {n_buckets} are too few, or too many for distances up to {furthest}"
        )
    return Distances("ceiled", 2 * n_buckets, n_buckets=n_buckets, furthest=furthest)


def layer_kinds(config: Config) -> list[str]:
    """`full_attention` or `sliding_attention` for each layer of ModernBERT."""
    n_layers, every = config.required("num_hidden_layers"), config.optional("global_attn_every_n_layers", 3)
    by_rule = ["sliding_attention" if k % every else "full_attention" for k in range(n_layers)]
    kinds: list[str] = config.optional("layer_types", by_rule)
    if len(kinds) != n_layers:
        raise CheckpointError(f"{config.source}: layer_types has {len(kinds)} entries for {n_layers} layers")
    return kinds


def rotary_theta(config: Config, kind: str | None, key: str, default: float) -> float:
    """The base of the rotary angles, for a kind of layers where there are several; `key` is its older place."""
    found = config.optional("rope_parameters", {})
    if found and (kind is None) != ("rope_theta" in found):
        expected = "full_attention and sliding_attention" if kind else "rope_theta"
        raise CheckpointError(
            f"{config.source}: rope_parameters must have {expected} for {config.model_type}, not {found}"
        )
    found = (found.get(kind) or {}) if kind else found
    return float(found.get("rope_theta", config.optional(key, default)))


def check_rotary(config: Config) -> None:
    """Rotary positions turn one half of a head against the other."""
    check_head_width(config, "head_dim")
    width, n_heads = config.required("hidden_size"), config.required("num_attention_heads")
    if width // n_heads % 2:
        raise CheckpointError(
            f"{config.source}: hidden_size {width} / {n_heads} heads is odd; rotary positions turn halves of a head"
        )


def check_head_width(config: Config, key: str) -> None:
    """A head's width, where the config says it, must be what the others leave for it."""
    width, n_heads = config.required("hidden_size"), config.required("num_attention_heads")
    if config.optional(key, width // n_heads) != width // n_heads:
        raise CheckpointError(
            f"{config.source}: {key} is {config.required(key)}, but hidden_size {width} / {n_heads} heads is "
            f"{width // n_heads}; heads of another width are not supported"
        )
