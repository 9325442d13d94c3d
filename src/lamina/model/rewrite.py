"""Weights written back: under the names, and in the layout, that the checkpoint's own files have.

Comes in: a checkpoint's files and other values for the encoder's tensors, by canonical name. Goes out: one safetensors
file that Lamina and `transformers` read as they read the files, heads and all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from lamina.errors import WeightsError
from lamina.model.architecture import Architecture, Family
from lamina.model.names import Split
from lamina.model.weights import ITEM_BYTES, FloatArray, StoredTensor, ours, read_tensors

INTEGERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}


def rewrite_weights(
    files: Sequence[Path], values: Mapping[str, FloatArray], arch: Architecture, family: Family, *, out: Path
) -> None:
    """Write `files` again as the one file `out`, as `rewritten` has them. Raises WeightsError."""
    written = rewritten(files, values, arch, family)
    save_file({name: np.ascontiguousarray(array) for name, array in written.items()}, out, metadata={"format": "pt"})


def rewritten(
    files: Sequence[Path], values: Mapping[str, FloatArray], arch: Architecture, family: Family
) -> dict[str, npt.NDArray[Any]]:
    """The tensors of `files` by their own names, float32, with `values` in place of those of these canonical names.

    Raises WeightsError for a value that no tensor has a place for, or of another shape.
    """
    written: dict[str, npt.NDArray[Any]] = {}
    left = set(values)
    for stored in (tensor for file in files for tensor in read_tensors(file)):
        parts = list(ours(stored, family.names, arch.n_heads))
        new = [values[name] for name, _ in parts if name in values]
        if len(new) == len(parts):
            _check_shapes(parts, new)
            split = family.names.split(family.names.canonical(stored.name))
            written[stored.name] = _joined(new, stored, split, arch.n_heads)
            left -= {name for name, _ in parts}
        elif stored.dtype in ITEM_BYTES:
            written[stored.name] = stored.float32()
        else:
            written[stored.name] = _integers(stored)
    if left:
        raise WeightsError(f"{files[0]} has no place for {', '.join(sorted(left)[:8])}")
    return written


def _check_shapes(parts: Sequence[tuple[str, StoredTensor]], new: Sequence[FloatArray]) -> None:
    for (name, tensor), value in zip(parts, new, strict=True):
        if value.shape != tensor.shape:
            raise WeightsError(f"{name} has shape {list(value.shape)}, expected {list(tensor.shape)}")


def _joined(new: Sequence[FloatArray], stored: StoredTensor, split: Split | None, n_heads: int) -> FloatArray:
    """One tensor as it is stored, its parts' rows below one another: the reverse of `StoredTensor.parts`."""
    n_groups = n_heads if split and split.by_head else 1
    rows = np.stack([part.astype(np.float32).reshape(n_groups, -1) for part in new], axis=1)
    return rows.reshape(stored.shape)


def _integers(stored: StoredTensor) -> npt.NDArray[Any]:
    if stored.dtype not in INTEGERS:
        raise WeightsError(f"{stored.name} is of type {stored.dtype}, which is not written back")
    return np.frombuffer(stored.bytes, INTEGERS[stored.dtype]).reshape(stored.shape)
