"""Datasets from random numbers, for tests of the dataset room: no model is needed to write one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.dataset.folder import begin, check_folder
from lamina.dataset.manifest import Made, Manifest
from lamina.dataset.reader import Dataset, open_dataset
from lamina.dataset.writer import SHARD_BYTES, DatasetWriter
from lamina.embeddings import UNIT_FIELDS, Embeddings, layer_column
from lamina.spec import Spec

LAYERS = (0, 2, 5)
WIDTH = 16
MADE = Made("random", None, "bert", "0" * 64, "1" * 64, "reference", "float32", {"lamina": "0", "numpy": "2"})


def units_of(surfaces: Sequence[str], *, first: int = 0, **travelled: Sequence[Any]) -> pa.Table:
    """A units table with a row a text; an empty text has no tokens."""
    n = len(surfaces)
    values: dict[str, Sequence[Any]] = {
        "text_id": range(first, first + n),
        "surface": surfaces,
        "start": [0] * n,
        "end": [len(surface) for surface in surfaces],
        "special": [False] * n,
        "n_tokens": [len(surface.split()) for surface in surfaces],
        "n_windows": [int(bool(surface)) for surface in surfaces],
        "status": ["ok" if surface else "empty" for surface in surfaces],
        "error": [None] * n,
    }
    columns = {name: pa.array(values[name], kind) for name, kind in UNIT_FIELDS.items()}
    return pa.table(columns | {name: pa.array(column) for name, column in travelled.items()})


def embeddings(n: int, *, first: int = 0, names: Sequence[str] = (), width: int = WIDTH, seed: int = 0) -> Embeddings:
    """`n` texts, the second of them empty and therefore NaN; a column of vectors for each of `names`."""
    rng = np.random.default_rng([seed, first])
    surfaces = ["" if i == 1 else f"text number {first + i}" for i in range(n)]
    columns = {}
    for name in names or [layer_column(number) for number in LAYERS]:
        columns[name] = rng.normal(size=(n, width)).astype(np.float32)
        columns[name][1:2] = np.nan
    return Embeddings(units_of(surfaces, first=first), columns, n)


def manifest(*, dtype: str = "float16", combine: str = "none", width: int = WIDTH) -> Manifest:
    spec = Spec.of(layers=LAYERS, combine=combine, dtype=dtype)
    return Manifest(spec=str(spec), layers=LAYERS, width=width, made=MADE)


def write(
    folder: Path,
    parts: Sequence[Embeddings],
    *,
    described: Manifest | None = None,
    shard_bytes: int = SHARD_BYTES,
    shard_a_part: bool = False,
    overwrite: bool = False,
) -> Dataset:
    """Write parts as a dataset and open it; with `shard_a_part` each one ends a shard."""
    described = described or manifest()
    assert check_folder(folder, described, overwrite=overwrite) is None
    begin(folder, described)
    with DatasetWriter(folder, described, shard_bytes=shard_bytes) as writer:
        for part in parts:
            writer.add(part)
            if shard_a_part:
                writer.end_input()
    return open_dataset(folder)


def shard_paths(folder: Path) -> list[Path]:
    """The files of a dataset's shards, in order."""
    return sorted((folder / "shards").iterdir())


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, to compare a before with an after."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_same_files(folder: Path, expected: Path) -> None:
    """The same files with the same bytes, and the same folders: nothing more is left of how they were made."""
    assert _names(folder) == _names(expected)
    found, wanted = files_in(folder), files_in(expected)
    assert [name for name in wanted if found[name] != wanted[name]] == []


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
