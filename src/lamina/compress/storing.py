"""A draft as one safetensors file: under the names and in the types that other tools read.

A tensor keeps the name that it has in the checkpoint; parts that were fused there are fused again, or, where their new
shapes do not allow that, stand under Lamina's names. Types: F32, F16, BF16, or for matrices and large tables whole
numbers from -127 to 127 with a float32 scale for each row beside them (`X.weight`, `X.weight_scale`): the format
`int-quantized` of compressed-tensors, which transformers reads through that library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, Literal, get_args

import numpy as np
import numpy.typing as npt

from lamina.compress.draft import Draft
from lamina.engine.reference import bfloat16
from lamina.errors import WeightsError
from lamina.model.weights import ITEM_BYTES, SCALED, FloatArray, StoredTensor, in_memory, ours, read_tensors

StoredPrecision = Literal["float32", "float16", "bfloat16", "int8"]

PRECISIONS: tuple[StoredPrecision, ...] = get_args(StoredPrecision)
TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}
LARGEST_F16 = 65_504.0
SMALLEST = 1e-30  # a row that holds nothing larger is zero
STEPS = 127  # on each side of zero, of whole numbers in 8 bits

# What becomes whole numbers. Not what is small (norms, biases, segment types, distances) and not the heads of tasks.
IN_INTEGERS = re.compile(r"(layers\..*|embeddings\.(word|position|projection))\.weight")

# What transformers calls modules, where it gives them other names than its files have; as patterns.
RENAMED = {
    "nomic_bert": {
        r"encoder\.layers": "layers", r"attn\.Wqkv": r"self_attn\.[qkv]_proj", r"attn\.out_proj": r"self_attn\.o_proj",
        "fc11": "up_proj", "fc12": "gate_proj", "fc2": "down_proj",
    }
}  # fmt: skip

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Piece:
    """A tensor of the file to be, whose bytes are made when it is written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int
    make: Callable[[], Bytes]


def pieces(draft: Draft, precision: StoredPrecision | None) -> list[Piece]:
    """All tensors of the file, heads of tasks too; with `precision` None each in the type that it has."""
    made: list[Piece] = []
    for name, canonical, tensor, dtype in _named(draft):
        made += _pieces(name, tensor, _type(canonical, tensor, dtype, precision))
    return made


def write_tensors(file: BinaryIO, made: list[Piece]) -> None:
    """Write a safetensors file, a tensor at a time. Raises WeightsError for a number that its type cannot hold."""
    ordered = sorted(made, key=lambda piece: (-piece.n_bytes / max(1, prod(piece.shape)), piece.name))  # all aligned
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # which transformers asks for
    end = 0
    for piece in ordered:
        header[piece.name] = {
            "dtype": piece.dtype, "shape": piece.shape, "data_offsets": [end, end := end + piece.n_bytes]
        }  # fmt: skip
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for piece in ordered:
        data = piece.make()
        assert data.size == piece.n_bytes
        file.write(data.data)


def quantization_config(draft: Draft, made: list[Piece]) -> dict[str, Any] | None:
    """What config.json must say of whole numbers for compressed-tensors to read them; None where there are none."""
    stored = [piece.name.removesuffix(".weight") for piece in made if piece.dtype == "I8"]
    wrappers = [pattern for pattern, replacement in draft.family.names.renames if not replacement]
    inner = [re.sub("|".join(wrappers) or "$^", "", name, count=1) for name in stored]
    modules = {_any_layer(name, draft.architecture.family) for name in inner}
    if not modules:
        return None
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    group = {"format": "int-quantized", "targets": sorted(modules), "weights": weights}
    return {
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
        "format": "int-quantized",
        "config_groups": {"group_0": group},
        "ignore": [],
    }


def _any_layer(name: str, family: str) -> str:
    """A module's name as a pattern: in any layer, below whatever wraps the encoder."""
    pattern = re.sub(r"\\\.\d+", r"\\.\\d+", re.escape(name))
    for stored, module in RENAMED.get(family, {}).items():
        pattern = pattern.replace(stored, module)
    return rf"re:(.*\.)?{pattern}$"


def in_steps(array: FloatArray) -> tuple[npt.NDArray[np.int8], FloatArray]:
    """A matrix [rows, columns] as whole numbers and the scale of each row [rows, 1]; off by half a scale at most."""
    top = np.abs(array).max(axis=1, keepdims=True)
    scale = np.where(top > SMALLEST, top / np.float32(STEPS), np.float32(1)).astype(np.float32)
    return np.rint(array / scale).astype(np.int8), scale


def _named(draft: Draft) -> Iterator[tuple[str, str, StoredTensor, str]]:
    """The tensors to be stored: name in the file, canonical name ('' for a head's), numbers, type in the checkpoint."""
    held, beside = draft.weights.tensors, {*draft.weights.unused}
    for stored in (tensor for file in draft.checkpoint.weight_files() for tensor in read_tensors(file)):
        if stored.name in beside:
            yield stored.name, "", stored, stored.dtype
            continue
        parts = dict(ours(stored, draft.family.names, draft.architecture.n_heads))
        there = [name for name in parts if name in held]  # none, where the layer was cut off
        fits = all(held[name].shape == parts[name].shape for name in there)
        if len(parts) == 1 or not fits:
            for name in there:
                yield stored.name if len(parts) == 1 else name, name, held[name], stored.dtype
        elif there:
            same = draft.changed.isdisjoint(parts)
            yield stored.name, there[0], stored if same else _fused(draft, stored.name, there), stored.dtype
        for name in there:
            inner = f"{name.removesuffix('weight')}inner.weight"
            if inner in draft.changed:  # a factor, called after the other one
                whole = f"{stored.name.removesuffix('weight')}inner.weight"
                yield whole if len(parts) == 1 else inner, inner, held[inner], stored.dtype


def _fused(draft: Draft, name: str, parts: list[str]) -> StoredTensor:
    """Several tensors as the one in which the file holds them: the inverse of `StoredTensor.parts`."""
    split = draft.family.names.split(draft.family.names.canonical(name))
    assert split
    n_groups = draft.architecture.n_heads if split.by_head else 1
    arrays = [draft.weights[part] for part in parts]
    rows = [array.reshape(n_groups, len(array) // n_groups, *array.shape[1:]) for array in arrays]
    return in_memory(name, np.concatenate(rows, axis=1).reshape(-1, *arrays[0].shape[1:]))


def _type(canonical: str, tensor: StoredTensor, dtype: str, precision: StoredPrecision | None) -> str:
    """The type in which a tensor is stored; `dtype` is that of the checkpoint."""
    if dtype not in ITEM_BYTES:  # positions counted out in whole numbers, which nobody reads
        return dtype
    if precision in TYPES:
        return TYPES[precision]
    if precision == "int8" and IN_INTEGERS.fullmatch(canonical) and len(tensor.shape) == 2:
        return SCALED
    return "F32" if dtype == "F64" and tensor.dtype != dtype else dtype


def _pieces(name: str, tensor: StoredTensor, dtype: str) -> list[Piece]:
    n = prod(tensor.shape)
    if dtype != SCALED:
        size = tensor.bytes.size if tensor.dtype == dtype else n * WIDTHS[dtype]
        return [Piece(name, dtype, tensor.shape, size, lambda: _encoded(name, tensor, dtype))]
    rows = (tensor.shape[0], 1)
    return [
        Piece(name, "I8", tensor.shape, n, lambda: _steps(tensor)[0].reshape(-1).view(np.uint8)),
        Piece(f"{name}_scale", "F32", rows, 4 * rows[0], lambda: _steps(tensor)[1].reshape(-1).view(np.uint8)),
    ]


def _steps(tensor: StoredTensor) -> tuple[npt.NDArray[np.int8], FloatArray]:
    if tensor.scale is not None:  # whole numbers already
        return tensor.bytes.view(np.int8).reshape(tensor.shape), np.ascontiguousarray(tensor.scale)
    return in_steps(_finite(tensor.name, tensor.float32()))


def _encoded(name: str, tensor: StoredTensor, dtype: str) -> Bytes:
    """The bytes of a tensor in a type of floats, or as they are where that is its type."""
    if tensor.dtype == dtype:
        return np.ascontiguousarray(tensor.bytes)
    array = _finite(name, tensor.float32())
    if dtype == "F16" and np.abs(array).max(initial=0) > LARGEST_F16:
        raise WeightsError(
            f"{name} holds a number beyond {LARGEST_F16:,.0f}, the largest of float16; bfloat16 reaches as far as "
            "float32"
        )
    if dtype == "BF16":
        return (np.ascontiguousarray(bfloat16(array)).view(np.uint32) >> 16).astype("<u2").reshape(-1).view(np.uint8)
    return np.ascontiguousarray(array, "<f2" if dtype == "F16" else "<f4").reshape(-1).view(np.uint8)


def _finite(name: str, array: FloatArray) -> FloatArray:
    if not np.isfinite(array).all():
        raise WeightsError(f"{name} holds what is no number (inf or NaN): no other precision can be made of it")
    return array
