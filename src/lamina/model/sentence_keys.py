"""What the JSON files of a sentence-transformers folder may say: tables of typed keys, and reading through them.

Comes in: a file that anybody may have written. Goes out: its allowed keys, checked, or a `CheckpointError` that names
file and key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lamina.errors import CheckpointError
from lamina.model.config import MAX_BYTES
from lamina.spec import Pool

DenseActivation = Literal["identity", "tanh", "relu", "gelu", "silu", "sigmoid"]

# A pooling mode, its flag in older files, our word. In the order in which several flags are laid side by side.
MODES: tuple[tuple[str, str, Pool], ...] = (
    ("cls", "pooling_mode_cls_token", "cls"),
    ("max", "pooling_mode_max_tokens", "max"),
    ("mean", "pooling_mode_mean_tokens", "mean"),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", "sqrt"),
    ("weightedmean", "pooling_mode_weightedmean_tokens", "position"),
    ("lasttoken", "pooling_mode_lasttoken", "last"),
)
POOLS: dict[str, Pool] = {mode: pool for mode, _, pool in MODES}

# torch.nn's names of activations, as files spell them.
ACTIVATIONS: dict[str, DenseActivation] = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
}
ACTIVATIONS |= {f"torch.nn.{name.rpartition('.')[2]}": ours for name, ours in ACTIVATIONS.items()}

# What each file may say. A key that is in no table is not looked at; null is the same as absent.
Keys = dict[str, tuple[str, Callable[[Any], bool]]]


def _whole(low: int, high: int) -> tuple[str, Callable[[Any], bool]]:
    return f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high


def _word(*words: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(words)}", lambda v: type(v) is str and v in words


def _is_prompts(value: Any) -> bool:
    return isinstance(value, dict) and all(text is None or _is_unicode(text) for text in [*value, *value.values()])


def _is_unicode(value: Any) -> bool:
    return type(value) is str and not re.search("[\ud800-\udfff]", value)


def _is_modes(value: Any) -> bool:
    modes = [value] if isinstance(value, str) else value
    return isinstance(modes, list) and 0 < len(modes) <= 16 and all(type(m) is str and m in POOLS for m in modes)


_FLAG = ("true or false", lambda v: type(v) is bool)
_NOTHING = ("empty (what it sets is not supported)", lambda v: v in ({}, None))
_OF_TEXTS = ("forward and last_hidden_state for text", lambda v: v == {
    "text": {"method": "forward", "method_output_name": "last_hidden_state"}
})  # fmt: skip
_ON_THE_VECTOR = _word("sentence_embedding")

TOKENIZER_KEYS: Keys = {
    "model_max_length": ("a number of at least 1", lambda v: type(v) in (int, float) and v >= 1),
    "truncation_side": _word("right"),
}
TRANSFORMER_KEYS: Keys = {
    "max_seq_length": _whole(1, 1_048_576),
    "do_lower_case": _FLAG,
    "transformer_task": _word("feature-extraction"),
    "module_output_name": _word("token_embeddings"),
    "modality_config": _OF_TEXTS,
    "processing_kwargs": _NOTHING,
    "processor_kwargs": _NOTHING,
    "config_kwargs": _NOTHING,
    "tokenizer_args": _NOTHING,
    "config_args": _NOTHING,
}
POOLING_KEYS: Keys = {
    "embedding_dimension": _whole(1, 16_384),
    "word_embedding_dimension": _whole(1, 16_384),
    "pooling_mode": (f"one or several of {', '.join(POOLS)}", _is_modes),
    "include_prompt": _FLAG,
    **{flag: _FLAG for _, flag, _ in MODES},
}
DENSE_KEYS: Keys = {
    "in_features": _whole(1, 1_048_576),
    "out_features": _whole(1, 1_048_576),
    "bias": _FLAG,
    "activation_function": _word(*ACTIVATIONS),
    "module_input_name": _ON_THE_VECTOR,
    "module_output_name": _ON_THE_VECTOR,
    "use_residual": ("false (a residual is not supported)", lambda v: v is False),
}
NORMALIZE_KEYS: Keys = {"module_input_name": _ON_THE_VECTOR, "module_output_name": _ON_THE_VECTOR}
MODEL_KEYS: Keys = {
    "model_type": _word("SentenceTransformer"),
    "prompts": ("an object of names and texts", _is_prompts),
    "default_prompt_name": ("a name", _is_unicode),
    "truncate_dim": _whole(1, 1_048_576),
}


def checked(path: Path, keys: Keys, *, required: bool = True) -> dict[str, Any]:
    """The allowed keys of a JSON object; none where the file is not there and need not be."""
    if not path.is_file():
        if required:
            raise CheckpointError(f"{path} is missing: the model is not complete")
        return {}
    found = read_json(path)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(found).__name__}")
    values = {key: found[key] for key in keys if found.get(key) is not None}
    for key, value in values.items():
        expected, holds = keys[key]
        if not holds(value):
            raise CheckpointError(f"{path}: {key} must be {expected}, not {str(value)[:80]!r}")
    return values


def read_json(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; such a file has at most {MAX_BYTES:,}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
