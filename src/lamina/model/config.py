"""`config.json`, read through an allow-list of typed, ranged keys.

Comes in: the bytes of a file that anybody may have written. Goes out: a `Config`, or a `CheckpointError` that names
the key. Keys that are not in `KEYS` are never looked at: nothing in the file can choose code, files or addresses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lamina.errors import CheckpointError

MAX_BYTES = 4_000_000  # the largest config seen (a label table of 20,000 names) is below 1 MB

Check = Callable[[Any], bool]


def _whole(low: int, high: int) -> tuple[str, Check]:
    return f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high


def _number(low: float, high: float) -> tuple[str, Check]:
    return f"a number from {low:g} to {high:g}", lambda v: type(v) in (int, float) and low <= v <= high


def _word(*words: str) -> tuple[str, Check]:
    return f"one of {', '.join(words)}", lambda v: v in words


def _only(allowed: object) -> tuple[str, Check]:
    return f"{json.dumps(allowed)} (nothing else is supported)", lambda v: v == allowed and type(v) is type(allowed)


def _is_theta(value: Any) -> bool:
    return type(value) in (int, float) and 1 <= value <= 1e12


def _is_rope(value: Any) -> bool:
    """Whether these are the parameters of plain rotary positions, or of each kind of layers'."""
    if isinstance(value, dict) and value and value.keys() <= {*_LAYER_KINDS}:
        return all(_is_rope(of_kind) for of_kind in value.values() if of_kind is not None)
    return (
        isinstance(value, dict)
        and value.keys() <= {"rope_type", "rope_theta"}
        and value.get("rope_type", "default") == "default"
        and _is_theta(value.get("rope_theta", 1))
    )


_SHARE = _number(0.0, 0.99)
_FLAG: tuple[str, Check] = ("true or false", lambda v: type(v) is bool)
_THETA: tuple[str, Check] = ("a number from 1 to 1e12", _is_theta)
_ACTIVATION = _word(
    "gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh",
    "relu", "silu", "swish", "tanh",
)  # fmt: skip
_LAYER_KINDS = ("full_attention", "sliding_attention")
_ROPE: tuple[str, Check] = (
    "a rope_theta from 1 to 1e12 with rope_type default, or one for each of " + " and ".join(_LAYER_KINDS),
    _is_rope,
)
_TERMS: tuple[list[str], ...] = ([], [""], ["c2p"], ["p2c"], ["c2p", "p2c"], ["p2c", "c2p"])
_POSITION_TERMS: tuple[str, Check] = (
    "c2p, p2c or both, as a list or joined by |",
    lambda v: (v.lower().replace(" ", "").split("|") if type(v) is str else v) in _TERMS,
)


# What may be read, and what it may hold. A bound is a sanity limit, wider than any published encoder.
KEYS: dict[str, tuple[str, Check]] = {
    "model_type": ("a name of at most 64 characters", lambda v: type(v) is str and 0 < len(v) <= 64),
    "hidden_size": _whole(1, 16_384),
    "intermediate_size": _whole(1, 131_072),
    "num_hidden_layers": _whole(1, 512),
    "num_attention_heads": _whole(1, 1_024),
    "vocab_size": _whole(1, 4_194_304),
    "max_position_embeddings": _whole(1, 1_048_576),
    "type_vocab_size": _whole(0, 1_024),
    "layer_norm_eps": _number(0.0, 1.0),
    "hidden_act": _ACTIVATION,
    "position_embedding_type": _only("absolute"),
    "pad_token_id": _whole(0, 4_194_303),
    "is_decoder": _FLAG,
    "add_cross_attention": _FLAG,
    "tie_last_hidden_states": _only(True),
    "embedding_size": _whole(1, 16_384),
    # DistilBERT
    "dim": _whole(1, 16_384),
    "hidden_dim": _whole(1, 131_072),
    "n_layers": _whole(1, 512),
    "n_heads": _whole(1, 1_024),
    "activation": _ACTIVATION,
    # ALBERT
    "num_hidden_groups": _whole(1, 512),
    "inner_group_num": _whole(1, 512),
    # MPNet
    "relative_attention_num_buckets": _whole(32, 65_536),
    # DeBERTa
    "relative_attention": _FLAG,
    "position_biased_input": _FLAG,
    "pos_att_type": _POSITION_TERMS,
    "max_relative_positions": _whole(-1, 1_048_576),
    "talking_head": _only(False),
    "share_att_key": _FLAG,
    "position_buckets": _whole(-1, 1_048_576),
    "norm_rel_ebd": (
        "none, layer_norm or both joined by |",
        lambda v: type(v) is str and {*v.lower().replace(" ", "").split("|")} <= {"none", "layer_norm"},
    ),
    "attention_head_size": _whole(1, 16_384),
    "conv_kernel_size": _whole(0, 99),
    "conv_act": _ACTIVATION,
    "conv_groups": _only(1),
    # ModernBERT, Nomic BERT
    "hidden_activation": _ACTIVATION,
    "norm_eps": _number(0.0, 1.0),
    "norm_bias": _FLAG,
    "attention_bias": _FLAG,
    "mlp_bias": _FLAG,
    "local_attention": _whole(0, 1_048_576),
    "sliding_window": _whole(0, 1_048_576),
    "global_attn_every_n_layers": _whole(1, 512),
    "layer_types": (
        f"a list of {' and '.join(_LAYER_KINDS)}",
        lambda v: type(v) is list and len(v) <= 512 and all(kind in _LAYER_KINDS for kind in v),
    ),
    "head_dim": _whole(1, 16_384),
    "rope_parameters": _ROPE,
    "rope_scaling": _only(None),
    "rope_theta": _THETA,
    "global_rope_theta": _THETA,
    "local_rope_theta": _THETA,
    # What `lamina compress` has left out (docs/compress.md)
    "lamina_heads": ("for each layer, a list of the heads that are left", lambda v: _are_numbers(v)),
    "lamina_ffn_rank": _whole(1, 16_384),
}

MAX_LABELS = 100_000


def _are_numbers(value: Any) -> bool:
    """Whether these are lists of whole numbers from 0 to 1,023, at least one in each."""
    return (
        isinstance(value, list)
        and len(value) <= 512
        and all(isinstance(one, list) and 0 < len(one) <= 1_024 for one in value)
        and all(type(number) is int and 0 <= number < 1_024 for one in value for number in one)
    )


def _are_labels(value: Any) -> bool:
    """Whether these are names by number, 0 to n - 1."""
    return (
        isinstance(value, dict)
        and 0 < len(value) <= MAX_LABELS
        and value.keys() == {str(i) for i in range(len(value))}
        and all(type(name) is int or (type(name) is str and len(name) <= 1_000) for name in value.values())
    )


# What a task head may ask for besides; not looked at, and not checked, where only the encoder is read.
HEAD_KEYS: dict[str, tuple[str, Check]] = {
    "architectures": (
        "a list of at most 16 names of at most 128 characters",
        lambda v: type(v) is list and len(v) <= 16 and all(type(name) is str and len(name) <= 128 for name in v),
    ),
    "id2label": (f"at most {MAX_LABELS:,} names by number, from 0 on without a gap", _are_labels),
    "num_labels": _whole(1, MAX_LABELS),
    "classifier_activation": _ACTIVATION,
    "classifier_bias": _FLAG,
    "classifier_pooling": _word("cls", "mean"),
    "decoder_bias": _FLAG,
    "pooler_hidden_act": _ACTIVATION,
    # What training drops, as the families call it
    "hidden_dropout_prob": _SHARE,
    "dropout": _SHARE,
    "mlp_dropout": _SHARE,
    "resid_pdrop": _SHARE,
    "attention_probs_dropout_prob": _SHARE,
    "attention_dropout": _SHARE,
    "attn_pdrop": _SHARE,
}


@dataclass(frozen=True, slots=True)
class Config:
    """The allowed keys of a `config.json`, checked; `source` names the file in errors.

    `keys` are a family's own names for keys that BERT has, too.
    """

    source: str
    values: Mapping[str, Any]
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_type(self) -> str:
        return str(self.required("model_type"))

    def required(self, key: str) -> Any:
        """The value of a key that must be there."""
        own = self.key(key)
        if own not in self.values:
            raise CheckpointError(f"{self.source} has no {own!r}, which must be {KEYS[own][0]}")
        return self.values[own]

    def optional(self, key: str, default: Any) -> Any:
        """The value of a key, or what `transformers` takes where the file leaves it out."""
        return self.values.get(self.key(key), default)

    def key(self, key: str) -> str:
        """What this family calls a key of BERT's."""
        return self.keys.get(key, key)

    def renamed(self, keys: Mapping[str, str]) -> Config:
        """The same config, read with other names for some keys."""
        return replace(self, keys=keys)


def read_config(path: Path, *, head: bool = False) -> Config:
    """Read a `config.json`, with `head` the keys of task heads too.

    Raises CheckpointError where it is no JSON object or a key is out of its range.
    """
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; a config has at most {MAX_BYTES:,}")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(found).__name__}")
    return config_of(found, str(path), head=head)


def config_of(found: Mapping[str, Any], source: str, *, head: bool = False) -> Config:
    """The config of a JSON object that came from `source`. Raises CheckpointError where a key is out of its range."""
    keys = KEYS | HEAD_KEYS if head else KEYS
    values = {key: found[key] for key in keys if found.get(key) is not None}
    for key, value in values.items():
        expected, holds = keys[key]
        if not holds(value):
            raise CheckpointError(f"{source}: {key} must be {expected}, not {str(value)[:80]!r}")
    return Config(source, values)
