"""Proves that a config is read through its allow-list: typed, ranged, and nothing else is looked at."""

from __future__ import annotations

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from lamina.errors import CheckpointError
from lamina.model.architecture import ACTIVATIONS, Architecture, Layer, architecture_of
from lamina.model.config import KEYS, MAX_BYTES, read_config
from lamina.model.operations import Attention

BERT: dict[str, Any] = {
    "model_type": "bert", "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
    "num_attention_heads": 12, "vocab_size": 30522, "max_position_embeddings": 512,
}  # fmt: skip


def architecture(folder: Path, **changes: Any) -> Architecture:
    """The architecture of BERT's config with some keys changed; `...` leaves a key out."""
    values = {key: value for key, value in (BERT | changes).items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(values))
    return architecture_of(read_config(folder / "config.json"))


def test_what_a_config_leaves_out_is_what_transformers_takes(tmp_path: Path) -> None:
    from transformers import BertConfig

    arch, theirs = architecture(tmp_path), BertConfig()
    assert (arch.n_types, arch.eps) == (theirs.type_vocab_size, theirs.layer_norm_eps)
    assert (arch.activation, arch.pad_id) == (ACTIVATIONS[theirs.hidden_act], theirs.pad_token_id)


def test_a_key_that_is_null_counts_as_left_out(tmp_path: Path) -> None:
    assert architecture(tmp_path, layer_norm_eps=None, pad_token_id=None) == architecture(tmp_path)


def test_a_config_says_all_that_an_architecture_is(tmp_path: Path) -> None:
    arch = architecture(tmp_path, type_vocab_size=3, layer_norm_eps=1e-5, hidden_act="gelu_new", pad_token_id=7)
    layers = tuple(Layer(f"layers.{k}", Attention(n_heads=12, scale=1 / sqrt(32))) for k in range(6))
    assert arch == Architecture("bert", layers, 12, 384, 1536, 30522, 512, 3, 1e-5, "gelu_tanh", 7)


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "vocab_size", "model_type"])
def test_a_key_that_must_be_there_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match=f"has no '{key}', which must be a"):
        architecture(tmp_path, **{key: ...})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "384"), ("hidden_size", 384.0), ("hidden_size", True), ("hidden_size", [384]),
        ("hidden_size", 0), ("hidden_size", -384), ("hidden_size", 16_385), ("hidden_size", 10**30),
        ("num_hidden_layers", 0), ("num_hidden_layers", 513), ("num_hidden_layers", True),
        ("num_attention_heads", 0), ("num_attention_heads", {}), ("vocab_size", 4_194_305), ("vocab_size", "many"),
        ("max_position_embeddings", 0), ("max_position_embeddings", 2_000_000), ("type_vocab_size", -1),
        ("type_vocab_size", False), ("layer_norm_eps", "1e-12"), ("layer_norm_eps", -1e-12), ("layer_norm_eps", True),
        ("layer_norm_eps", float("nan")), ("layer_norm_eps", float("inf")), ("layer_norm_eps", 2),
        ("hidden_act", "gelu_10"), ("hidden_act", ["gelu"]), ("hidden_act", 1), ("hidden_act", "os.system"),
        ("position_embedding_type", "relative_key"), ("pad_token_id", -1), ("pad_token_id", "0"),
        ("is_decoder", 0), ("is_decoder", "false"), ("model_type", 5), ("model_type", ""), ("model_type", "b" * 65),
        ("model_type", ["bert"]),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_value_of_a_wrong_kind_or_out_of_range_is_refused_by_its_key(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"config.json: {key} must be "):
        architecture(tmp_path, **{key: value})


def test_keys_that_are_not_known_are_never_looked_at(tmp_path: Path) -> None:
    hostile = {"auto_map": {"AutoModel": "evil.Model"}, "_name_or_path": 7, "architectures": None, "dtype": [[[]]]}
    assert architecture(tmp_path, **hostile) == architecture(tmp_path)
    assert not set(hostile) & set(KEYS)


def test_an_unknown_family_is_refused_and_the_known_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model_type 'llama', which Lamina does not know; supported: .*bert"):
        architecture(tmp_path, model_type="llama")


@pytest.mark.parametrize("key", ["is_decoder", "add_cross_attention"])
def test_a_decoder_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(CheckpointError, match="decoder"):
        architecture(tmp_path, **{key: True})


def test_heads_that_do_not_divide_the_width_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="hidden_size 384 is no multiple of num_attention_heads 7"):
        architecture(tmp_path, num_attention_heads=7)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b'"bert"', b"null", b"\xff\xfe", b"[" * 100_000, b'{"hidden_size": ' + b"9" * 5000],
)
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path / "config.json")


def test_a_config_of_many_megabytes_is_not_even_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b" " * MAX_BYTES + b"{}")
    with pytest.raises(CheckpointError, match="4,000,002 bytes"):
        read_config(tmp_path / "config.json")
