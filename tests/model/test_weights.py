"""Proves that weights are read bit by bit under any of their names, and that what does not fit is reported at once."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lamina
from lamina.errors import CheckpointError, WeightsError
from lamina.model.architecture import FAMILIES, architecture_of
from lamina.model.checkpoint import find_checkpoint
from lamina.model.config import read_config
from lamina.model.inventory import n_parameters, weight_shapes
from lamina.model.weights import Weights, read_tensors, read_weights

Tensors = dict[str, np.ndarray]

INDEX = "model.safetensors.index.json"


def weights_of(folder: Path) -> Weights:
    checkpoint = find_checkpoint(folder)
    arch = architecture_of(read_config(checkpoint.config_path))
    return read_weights(checkpoint.weight_files(), arch, FAMILIES["bert"])


@pytest.fixture
def tensors(tiny_bert: Path) -> Tensors:
    """The tiny model's tensors under transformers' names."""
    return load_file(tiny_bert / "model.safetensors")


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """The tiny model without its weights."""
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_bert / name).read_bytes())
    return tmp_path


def assert_same(found: Weights, expected: Weights) -> None:
    assert found.tensors.keys() == expected.tensors.keys()
    for name in expected.tensors:
        assert np.array_equal(found[name].view(np.uint32), expected[name].view(np.uint32)), name


def save_raw(file: Path, entries: Mapping[str, tuple[str, tuple[int, ...], bytes]], *, pad: int = 0) -> None:
    """Write a safetensors file byte by byte; `pad` more spaces in the header shift every tensor's address."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, content) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


# Names


def test_the_expected_tensors_are_those_of_transformers(tiny_bert: Path, tensors: Tensors) -> None:
    found = weights_of(tiny_bert)
    theirs = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    assert len(found.tensors) == len(theirs)
    assert {tensor.name for tensor in found.tensors.values()} == set(theirs)
    arch = architecture_of(read_config(tiny_bert / "config.json"))
    assert n_parameters(arch) == sum(tensor.size for tensor in theirs.values())
    assert {name: found[name].shape for name in found.tensors} == weight_shapes(arch)
    assert found.unused == ("pooler.dense.bias", "pooler.dense.weight")


def test_a_head_on_top_puts_bert_before_every_name(tiny_bert: Path, tensors: Tensors, folder: Path) -> None:
    wrapped = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    wrapped["cls.predictions.bias"] = np.zeros(3, np.float32)
    save_file(wrapped, folder / "model.safetensors")
    found = weights_of(folder)
    assert_same(found, weights_of(tiny_bert))
    assert "cls.predictions.bias" in found.unused


def test_gamma_and_beta_are_a_norms_weight_and_bias(tiny_bert: Path, tensors: Tensors, folder: Path) -> None:
    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    save_file({old(name): tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert_same(weights_of(folder), weights_of(tiny_bert))


def test_a_stored_buffer_of_positions_is_ignored(tiny_bert: Path, tensors: Tensors, folder: Path) -> None:
    save_file({**tensors, "embeddings.position_ids": np.arange(16)[None]}, folder / "model.safetensors")
    assert_same(weights_of(folder), weights_of(tiny_bert))


# Types


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_widen_exactly(tiny_bert: Path, folder: Path, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    narrow = {n: t.to(getattr(torch, dtype)) for n, t in load_file(tiny_bert / "model.safetensors").items()}
    save_file(narrow, folder / "model.safetensors")
    found = weights_of(folder)
    for name, tensor in found.tensors.items():
        expected = narrow[tensor.name].to(torch.float32).numpy()
        assert found[name].dtype == np.float32
        assert np.array_equal(found[name].view(np.uint32), expected.view(np.uint32)), name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("engine", ["openvino", "reference"])
def test_sixteen_bit_weights_and_their_widened_twins_give_the_same_vectors(
    tiny_bert: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory, dtype: str, engine: str
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    wide_folder = tmp_path_factory.mktemp("wide")
    for file in folder.iterdir():
        (wide_folder / file.name).write_bytes(file.read_bytes())
    narrow = {n: t.to(getattr(torch, dtype)) for n, t in load_file(tiny_bert / "model.safetensors").items()}
    save_file(narrow, folder / "model.safetensors")
    save_file({n: t.to(torch.float32) for n, t in narrow.items()}, wide_folder / "model.safetensors")
    texts = ["the river bank", "a", "河水 and 12 banks"]
    found, expected = (lamina.load(path, engine=engine).extract(texts) for path in (folder, wide_folder))
    assert np.array_equal(found.layer(1), expected.layer(1))


def test_every_bfloat16_and_float16_number_is_read_as_it_is(tmp_path: Path) -> None:
    import torch

    every = np.arange(1 << 16, dtype=np.uint16)
    save_raw(tmp_path / "a", {"b": ("BF16", (1 << 16,), every.tobytes()), "h": ("F16", (1 << 16,), every.tobytes())})
    bf16, f16 = read_tensors(tmp_path / "a")
    expected = torch.from_numpy(every.view(np.int16)).view(torch.bfloat16).float().numpy()
    assert np.array_equal(bf16.float32(), expected, equal_nan=True)
    assert np.array_equal(f16.float32(), every.view(np.float16).astype(np.float32), equal_nan=True)


@pytest.mark.parametrize("pad", [0, 1, 2, 3])
def test_a_tensor_at_an_odd_address_is_read_as_any_other(tmp_path: Path, pad: int) -> None:
    numbers = np.array([[1.5, -2.25], [3e-8, 4e9]], np.float32)
    save_raw(
        tmp_path / "a",
        {
            "odd": ("U8", (1,), b"\x01"),
            "f32": ("F32", (2, 2), numbers.tobytes()),
            "f64": ("F64", (2, 2), numbers.astype(np.float64).tobytes()),
        },
        pad=pad,
    )
    try:
        tensors = {tensor.name: tensor for tensor in read_tensors(tmp_path / "a")}
    except WeightsError:  # newer versions of the library refuse such a header, which is as good
        return
    assert np.array_equal(tensors["f32"].float32(), numbers)
    assert np.array_equal(tensors["f64"].float32(), numbers)


def test_float32_weights_are_not_copied(tiny_bert: Path) -> None:
    weights = weights_of(tiny_bert)
    for name in ("embeddings.word.weight", "layers.0.ffn.up.weight"):
        assert np.shares_memory(weights[name], weights.tensors[name].bytes)
        assert np.shares_memory(weights[name], weights[name])


# Shards


def save_sharded(folder: Path, tensors: Tensors, *, n_shards: int = 3) -> None:
    names = sorted(tensors)
    files = {n: f"model-{i % n_shards + 1:05}-of-{n_shards:05}.safetensors" for i, n in enumerate(names)}
    for file in set(files.values()):
        save_file({n: tensors[n] for n in names if files[n] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))


def test_shards_hold_what_one_file_holds(tiny_bert: Path, tensors: Tensors, folder: Path) -> None:
    save_sharded(folder, tensors)
    assert len(find_checkpoint(folder).weight_files()) == 3
    assert_same(weights_of(folder), weights_of(tiny_bert))


def test_one_file_is_read_before_the_shards_beside_it(tiny_bert: Path, tensors: Tensors, folder: Path) -> None:
    """As by transformers: what an index still says, or names no more, is an older save's."""
    import torch
    from transformers import BertModel

    save_sharded(folder, {name: 2 * array for name, array in tensors.items()})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert_same(weights_of(folder), weights_of(tiny_bert))
    theirs = BertModel.from_pretrained(folder, dtype=torch.float32).embeddings.word_embeddings.weight
    assert np.array_equal(theirs.detach().numpy(), weights_of(folder)["embeddings.word.weight"])


def test_a_shard_that_is_missing_is_named(tensors: Tensors, folder: Path) -> None:
    save_sharded(folder, tensors)
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model-00002-of-00003\.safetensors"):
        weights_of(folder)


def test_a_tensor_in_two_shards_is_refused(tensors: Tensors, folder: Path) -> None:
    save_sharded(folder, tensors)
    save_file(tensors, folder / "model-00003-of-00003.safetensors")
    with pytest.raises(WeightsError, match="are the same tensor"):
        weights_of(folder)


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "..\\model.safetensors", "..",
     "model.bin", "", 7, None, ["model.safetensors"], {"a": 1}],
    ids=str,
)  # fmt: skip
def test_an_index_that_leaves_its_folder_is_refused(tensors: Tensors, folder: Path, name: Any) -> None:
    save_file(tensors, folder.parent / "model.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"embeddings.word_embeddings.weight": name}}))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        weights_of(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"weight_map": []}', b'{"weight_map": 3}', b"\xff"])
def test_an_index_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / INDEX).write_bytes(content)
    with pytest.raises(CheckpointError, match="is no index"):
        weights_of(folder)


# Damage


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1], ids=lambda kept: f"kept {kept}")
def test_a_file_cut_short_is_refused(tiny_bert: Path, folder: Path, kept: int) -> None:
    content = (tiny_bert / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:kept])
    with pytest.raises(WeightsError, match="damaged, cut short or no safetensors file"):
        weights_of(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"not a safetensors file at all",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 8) + b"[1, 2]  ",
        struct.pack("<Q", 2) + b"{}" + b"left over",
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,9]}}'.ljust(64) + bytes(9),
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[36,0]}}'.ljust(64) + bytes(36),
    ],
    ids=["text", "huge header", "list", "left over", "short tensor", "backwards"],
)
def test_a_damaged_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged, cut short or no safetensors file"):
        weights_of(folder)


# What does not fit


def test_all_that_does_not_fit_is_told_in_one_report(tensors: Tensors, folder: Path) -> None:
    prefix = "encoder.layer.0."
    del tensors[f"{prefix}output.dense.bias"]
    del tensors["embeddings.LayerNorm.weight"]
    tensors[f"{prefix}attention.self.query.weight"] = np.zeros((8, 9), np.float32)
    tensors[f"{prefix}intermediate.dense.bias"] = np.zeros(12, np.int32)
    tensors["encoder.layer.1.output.dense.bias"] = np.zeros(8, np.float32)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError) as caught:
        weights_of(folder)
    report = str(caught.value)
    for said in (
        "layers.0.ffn.down.bias [8] is missing",
        "embeddings.norm.weight [8] is missing",
        "encoder.layer.0.attention.self.query.weight has shape [8, 9], expected [8, 8]",
        "encoder.layer.0.intermediate.dense.bias is of type I32, expected one of",
        "encoder.layer.1.output.dense.bias [8] is unexpected",
        "model.safetensors",
    ):
        assert said in report


def test_a_report_of_many_tensors_is_short(folder: Path) -> None:
    save_file({"other": np.zeros(1, np.float32)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"and \d+ more$") as caught:
        weights_of(folder)
    assert len(str(caught.value)) < 1500


def test_a_model_of_more_layers_than_its_config_says_is_refused(random_bert: Any, folder: Path) -> None:
    two = random_bert(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=1, intermediate_size=12,
        max_position_embeddings=16, type_vocab_size=1,
    )  # fmt: skip
    (folder / "model.safetensors").write_bytes((two / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"is unexpected: config.json describes no such tensor"):
        weights_of(folder)


def test_tensors_of_shape_two_by_three_are_not_taken_for_three_by_two(tensors: Tensors, folder: Path) -> None:
    name = "encoder.layer.0.intermediate.dense.weight"
    tensors[name] = np.ascontiguousarray(tensors[name].T)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"has shape \[8, 12\], expected \[12, 8\]"):
        weights_of(folder)
