"""Weights: a checkpoint's safetensors files, memory-mapped, under our names, checked against the encoder at once.

Comes in: paths of safetensors files and what the encoder expects. Goes out: float32 arrays by canonical name. A
float32 tensor is not copied, except where a fused one is split by head; 16-bit ones are widened when asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from lamina.errors import WeightsError
from lamina.model.architecture import Architecture, Family
from lamina.model.inventory import weight_shapes
from lamina.model.names import Names

FloatArray = npt.NDArray[np.float32]

SCALED = "I8 with weight_scale"  # whole numbers and, beside them, one float a row that they are multiplied with
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, SCALED: 1}  # the types that a weight may have
NAMES_SHOWN = 8
MAX_HEADER = 16_000_000  # bytes that name and place a file's tensors: 150 each, so enough for 100,000


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: `bytes` is a view into the mapped file."""

    name: str  # as the file calls it
    dtype: str
    shape: tuple[int, ...]
    bytes: npt.NDArray[np.uint8]
    scale: FloatArray | None = None  # [rows, 1], of a `SCALED` one

    def float32(self) -> FloatArray:
        """The values as float32, without a copy where they are float32 and aligned already."""
        if self.dtype == "BF16":  # the upper half of a float32
            wide = self.bytes.view("<u2").astype(np.uint32) << 16
            return wide.view(np.float32).reshape(self.shape)
        if self.scale is not None:
            return self.bytes.view(np.int8).reshape(self.shape) * self.scale
        stored = np.frombuffer(self.bytes, dtype={"F64": "<f8", "F32": "<f4", "F16": "<f2"}[self.dtype])
        aligned = stored if stored.flags.aligned else stored.copy()
        return aligned.astype(np.float32, copy=False).reshape(self.shape)

    def parts(self, n: int, *, n_groups: int) -> list[StoredTensor]:
        """The n tensors whose rows stand below one another here, once for each group; one group is not copied."""
        rows = self.bytes.reshape(n_groups, n, -1)
        scales = None if self.scale is None else self.scale.reshape(n_groups, n, -1)
        shape = (self.shape[0] // n, *self.shape[1:])
        return [
            replace(
                self,
                name=f"{self.name} (part {i + 1} of {n})",
                shape=shape,
                bytes=rows[:, i].reshape(-1),
                scale=None if scales is None else scales[:, i].reshape(-1, 1),
            )
            for i in range(n)
        ]


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors that an encoder reads, by canonical name; `unused` are the checkpoint's others, by its own names.

    others  those again, by canonical name: a task head's are among them (heads.py).
    """

    tensors: dict[str, StoredTensor]
    unused: tuple[str, ...]
    others: dict[str, StoredTensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> FloatArray:
        return self.tensors[name].float32()


def read_weights(files: Sequence[Path], arch: Architecture, family: Family) -> Weights:
    """Map the files and match them with the encoder.

    Raises WeightsError with one report of every tensor that is missing, mis-shaped, of a type that is no float,
    there twice, or a layer's that the configuration does not know.
    """
    expected = weight_shapes(arch)
    found: dict[str, StoredTensor] = {}
    others: dict[str, StoredTensor] = {}
    unused: list[str] = []
    problems: list[str] = []
    for stored in (tensor for file in files for tensor in read_tensors(file)):
        for name, tensor in ours(stored, family.names, arch.n_heads):
            if name in found:
                problems.append(f"{tensor.name} and {found[name].name} are the same tensor")
            elif name in expected:
                found[name] = tensor
                problems.extend(_misfits(tensor, expected[name]))
            elif family.names.is_inside(name) and not family.names.is_ignored(name):
                problems.append(
                    f"{tensor.name} {list(tensor.shape)} is unexpected: config.json describes no such tensor"
                )
            else:
                unused.append(tensor.name)
                others.setdefault(name, tensor)
    missing = [f"{name} {list(shape)} is missing" for name, shape in expected.items() if name not in found]
    if missing or problems:
        raise WeightsError(_report(files, [*missing, *problems], n_expected=len(expected)))
    return Weights({name: found[name] for name in expected}, tuple(sorted(unused)), others)


def read_tensors(file: Path) -> list[StoredTensor]:
    """Every tensor of one safetensors file, mapped. Raises WeightsError where the file is damaged or cut short."""
    try:
        _check_header_size(file)
        with safe_open(file, framework="numpy"):  # the library checks header, offsets and file length
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{file} is damaged, cut short or no safetensors file: {error}") from None
    mapped = np.memmap(file, dtype=np.uint8, mode="c")  # private pages: OpenVINO shares only writable memory
    start = 8 + int(mapped[:8].view("<u8")[0])
    header = json.loads(bytes(mapped[8:start]))
    tensors = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        tensors.append(StoredTensor(name, entry["dtype"], tuple(entry["shape"]), mapped[start + first : start + last]))
    return _with_scales(tensors)


def in_memory(name: str, array: FloatArray) -> StoredTensor:
    """An array as if it lay in a file as float32."""
    whole = np.ascontiguousarray(array, np.float32)
    return StoredTensor(name, "F32", whole.shape, whole.reshape(-1).view(np.uint8))


def _check_header_size(file: Path) -> None:
    """Raise ValueError where a file claims a header that it has no room for, or that would take memory for nothing."""
    with file.open("rb") as opened:
        claimed = int.from_bytes(opened.read(8), "little")
    room = min(file.stat().st_size - 8, MAX_HEADER)
    if claimed > room:
        raise ValueError(f"its header claims {claimed:,} bytes, of at most {max(0, room):,}")


def _with_scales(tensors: list[StoredTensor]) -> list[StoredTensor]:
    """Each tensor of whole numbers with the scales of its rows, where they stand beside it: X.weight, X.weight_scale.

    Source: the format `int-quantized` of compressed-tensors, symmetric, a scale for each row ("channel").
    """
    named = {tensor.name: tensor for tensor in tensors}
    for tensor in tensors:
        scale = named.get(f"{tensor.name}_scale")
        if tensor.dtype != "I8" or len(tensor.shape) != 2 or scale is None:
            continue
        if scale.shape == (tensor.shape[0], 1) and scale.dtype in ITEM_BYTES:
            named[tensor.name] = replace(tensor, dtype=SCALED, scale=scale.float32())
            del named[scale.name]
    return list(named.values())


def ours(tensor: StoredTensor, names: Names, n_heads: int) -> Iterator[tuple[str, StoredTensor]]:
    """A stored tensor under our name, or what it is split into; one that cannot be divided stays whole."""
    name = names.canonical(tensor.name)
    split = names.split(name)
    n_groups = n_heads if split and split.by_head else 1
    if split is None or not tensor.shape or tensor.shape[0] % (len(split.parts) * n_groups):
        yield name, tensor
        return
    for part, own in zip(split.parts, tensor.parts(len(split.parts), n_groups=n_groups), strict=True):
        yield name.replace(split.fused, part), own


def _misfits(tensor: StoredTensor, shape: tuple[int, ...]) -> list[str]:
    if tensor.shape != shape:
        return [f"{tensor.name} has shape {list(tensor.shape)}, expected {list(shape)}"]
    if tensor.dtype not in ITEM_BYTES:
        return [f"{tensor.name} is of type {tensor.dtype}, expected one of {', '.join(ITEM_BYTES)}"]
    assert tensor.bytes.size == prod(shape) * ITEM_BYTES[tensor.dtype]  # the library has checked it
    return []


def _report(files: Sequence[Path], problems: list[str], *, n_expected: int) -> str:
    more = len(problems) - NAMES_SHOWN
    listed = "; ".join(problems[:NAMES_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    where = files[0] if len(files) == 1 else f"{files[0].parent} ({len(files)} files)"
    return f"{where} does not hold the {n_expected} tensors that its config.json describes: {listed}"
