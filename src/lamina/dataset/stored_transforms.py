"""Stored transforms: `transforms/NAME.safetensors` in a dataset's folder, described in docs/format.md.

A file holds the transforms of all vector columns, and says which shards they were fitted on; fitted on others, or with
numbers that are not those that were written, they are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.dataset.durable import sync_folder, write_bytes
from lamina.dataset.manifest import Shard
from lamina.dataset.transform import Float32, Options, Transform
from lamina.errors import DatasetError, SpecError

FORMAT = "lamina-transform"
VERSION = 1
FOLDER = "transforms"
SUFFIX = ".safetensors"
METADATA = "lamina"  # one key: safetensors writes several in no fixed order

_NAME = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)


def check_new(folder: Path, name: str, *, overwrite: bool) -> None:
    """Raises SpecError for a name that cannot be a transform's, DatasetError where it is taken."""
    if _path(folder, name).exists() and not overwrite:
        raise DatasetError(f"{folder} has a transform {name!r} already: take another name, or ask to overwrite it")


def write_transforms(folder: Path, name: str, transforms: Mapping[str, Transform], shards: tuple[Shard, ...]) -> None:
    """Store the transforms of a dataset's columns, all with the same options, under a name; one of that name is
    replaced whole. Raises DatasetError where it cannot be written."""
    from safetensors.numpy import save

    path = _path(folder, name)
    fitted_on = shards_sha256(shards)
    about = {
        "format": FORMAT,
        "format_version": VERSION,
        "options": asdict(next(iter(transforms.values())).options),
        "fitted_on": fitted_on,
        "columns": {
            column: {"n_rows": transform.n_rows, "sha256": _sha256(column, transform, fitted_on)}
            for column, transform in transforms.items()
        },
    }
    tensors = {f"{column}.mean": transform.mean for column, transform in transforms.items()}
    tensors |= {f"{column}.basis": t.basis for column, t in transforms.items() if t.basis is not None}
    content = save(tensors, {METADATA: json.dumps(about)})
    try:
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, content)
        sync_folder(folder)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error.strerror}") from None


def read_transform(folder: Path, name: str, column: str, shards: tuple[Shard, ...]) -> Transform:
    """The transform of one column under a name.

    Raises SpecError where there is none of the name, DatasetError where it is damaged, of a newer version, or was
    fitted on other shards.
    """
    from safetensors import SafetensorError, safe_open

    path = _path(folder, name)
    if not path.is_file():
        names = ", ".join(transform_names(folder)) or "none"
        raise SpecError(f"{folder} has no transform {name!r}; it has {names} (`lamina fit` makes one)")
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()[METADATA])
            _check(path, about, shards_sha256(shards))
            described = about["columns"][column]
            mean = _float32(file.get_tensor(f"{column}.mean"), n_axes=1)
            has_basis = f"{column}.basis" in file.keys()  # noqa: SIM118 - it is no dictionary
            basis = _float32(file.get_tensor(f"{column}.basis"), n_axes=2) if has_basis else None
        transform = Transform(Options(**about["options"]), described["n_rows"], mean, basis)
        if _sha256(column, transform, about["fitted_on"]) != described["sha256"]:
            raise ValueError(f"the numbers of {column} are not those that were written")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged: {error!r}; fit it again") from None
    return transform


def transform_names(folder: Path) -> tuple[str, ...]:
    """The names of the transforms stored in a dataset's folder."""
    paths = (folder / FOLDER).glob(f"*{SUFFIX}")
    return tuple(sorted(path.stem for path in paths if _NAME.fullmatch(path.stem)))


def shards_sha256(shards: tuple[Shard, ...]) -> str:
    """The sha256 of a list of shards: of a line `NAME ROWS SHA256` for each, as they stand in the manifest."""
    lines = "".join(f"{shard.name} {shard.n_rows} {shard.sha256}\n" for shard in shards)
    return hashlib.sha256(lines.encode()).hexdigest()


def _path(folder: Path, name: str) -> Path:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(f"a transform's name has 1 to 64 of the characters a-z, 0-9 and -; {name!r} is none")
    return folder / FOLDER / f"{name}{SUFFIX}"


def _sha256(column: str, transform: Transform, fitted_on: str) -> str:
    """Of all that a column's transform says."""
    said = [column, asdict(transform.options), transform.n_rows, fitted_on]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for tensor in (transform.mean, transform.basis):
        if tensor is not None:
            digest.update(str(tensor.shape).encode() + tensor.tobytes())
    return digest.hexdigest()


def _check(path: Path, about: Any, fitted_on: str) -> None:
    """Refuse another format, a newer version, other data."""
    if about["format"] != FORMAT:
        raise ValueError(f"it is no transform of Lamina but {about['format']!r}")
    if about["format_version"] != VERSION:
        raise DatasetError(
            f"{path} has format version {about['format_version']!r}, of which this Lamina knows nothing "
            f"(it reads version {VERSION}): use a newer one"
        )
    if about["fitted_on"] != fitted_on:
        raise DatasetError(
            f"{path} was fitted on other data than lies beside it now (shards {about['fitted_on'][:12]}…, here "
            f"{fitted_on[:12]}…): fit it again"
        )


def _float32(tensor: npt.NDArray[Any], *, n_axes: int) -> Float32:
    if tensor.dtype != np.float32 or tensor.ndim != n_axes:
        raise ValueError(f"a tensor of {n_axes} axes in float32 is {tensor.dtype} {list(tensor.shape)}")
    return tensor
