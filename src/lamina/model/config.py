"""`config.json`, read through an allow-list of typed, ranged keys.

Comes in: the bytes of a file that anybody may have written. Goes out: a `Config`, or a `CheckpointError` that names
the key. Keys that are not in `KEYS` are never looked at: nothing in the file can choose code, files or addresses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


_FLAG: tuple[str, Check] = ("true or false", lambda v: type(v) is bool)

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
    "hidden_act": _word("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu", "swish"),
    "position_embedding_type": _word("absolute"),
    "pad_token_id": _whole(0, 4_194_303),
    "is_decoder": _FLAG,
    "add_cross_attention": _FLAG,
}


@dataclass(frozen=True, slots=True)
class Config:
    """The allowed keys of a `config.json`, checked; `source` names the file in errors."""

    source: str
    values: Mapping[str, Any]

    @property
    def model_type(self) -> str:
        return str(self.required("model_type"))

    def required(self, key: str) -> Any:
        """The value of a key that must be there."""
        if key not in self.values:
            raise CheckpointError(f"{self.source} has no {key!r}, which must be {KEYS[key][0]}")
        return self.values[key]

    def optional(self, key: str, default: Any) -> Any:
        """The value of a key, or what `transformers` takes where the file leaves it out."""
        return self.values.get(key, default)


def read_config(path: Path) -> Config:
    """Read a `config.json`. Raises CheckpointError where it is no JSON object or a key is out of its range."""
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; a config has at most {MAX_BYTES:,}")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(found).__name__}")
    values = {key: found[key] for key in KEYS if found.get(key) is not None}
    for key, value in values.items():
        expected, holds = KEYS[key]
        if not holds(value):
            raise CheckpointError(f"{path}: {key} must be {expected}, not {str(value)[:80]!r}")
    return Config(str(path), values)
