"""A dataset opens as it is in the tools that people have, with the values that `.layer(k)` gives."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lamina.dataset.reader import Dataset
from tests.dataset.making import LAYERS, embeddings, manifest, shard_paths, write

N_PARTS, N_TEXTS = 12, 3  # a shard each: more than ten, so an order by name that is no order by number would show

Matrix = npt.NDArray[Any]


@pytest.fixture(scope="module", params=["float16", "float32"])
def dataset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    parts = [embeddings(N_TEXTS, first=N_TEXTS * i) for i in range(N_PARTS)]
    folder = tmp_path_factory.mktemp(request.param) / "made"
    made = write(folder, parts, described=manifest(dtype=request.param), shard_a_part=True)
    assert len(made.manifest.shards) == N_PARTS
    return made


def _with_pyarrow_parquet(folder: Path, column: str) -> Matrix:
    import pyarrow.parquet as pq

    return np.array(pq.read_table(folder / "shards", columns=[column]).column(column).to_pylist())


def _with_pyarrow_dataset(folder: Path, column: str) -> Matrix:
    import pyarrow.dataset as ds

    return np.array(ds.dataset(folder / "shards").to_table(columns=[column]).column(column).to_pylist())


def _with_pandas(folder: Path, column: str) -> Matrix:
    import pandas as pd

    return np.stack(pd.read_parquet(folder / "shards")[column].to_list())


def _with_polars(folder: Path, column: str) -> Matrix:
    import polars as pl

    return pl.read_parquet(folder / "shards" / "*.parquet")[column].to_numpy()


def _with_duckdb(folder: Path, column: str) -> Matrix:
    import duckdb

    rows = duckdb.sql(f"select {column} from '{folder}/shards/*.parquet'").fetchall()  # noqa: S608 - our own path
    return np.array([row[0] for row in rows])


READERS: dict[str, Callable[[Path, str], Matrix]] = {
    "pyarrow.parquet": _with_pyarrow_parquet,
    "pyarrow.dataset": _with_pyarrow_dataset,
    "pandas": _with_pandas,
    "polars": _with_polars,
    "duckdb": _with_duckdb,
}


@pytest.mark.parametrize("reader", READERS)
def test_every_layer_has_the_same_values_in(reader: str, dataset: Dataset) -> None:
    for layer in LAYERS:
        found = READERS[reader](dataset.folder, f"layer_{layer}")
        assert found.shape == (N_PARTS * N_TEXTS, dataset.manifest.width)
        np.testing.assert_array_equal(found.astype(dataset.manifest.dtype), dataset.layer(layer))


@pytest.mark.parametrize("named_by", ["folder", "shards", "data_files"])
def test_hugging_face_datasets_opens_it_by(named_by: str, dataset: Dataset, tmp_path: Path) -> None:
    os.environ["HF_DATASETS_OFFLINE"] = "1"
    from datasets import load_dataset

    if named_by == "data_files":
        named: dict[str, Any] = {"path": "parquet", "data_files": str(dataset.folder / "shards" / "*.parquet")}
    else:
        named = {"path": str(dataset.folder if named_by == "folder" else dataset.folder / "shards")}
    loaded = load_dataset(**named, split="train", cache_dir=str(tmp_path))
    assert loaded["text_id"][:] == list(range(N_PARTS * N_TEXTS))
    for layer in LAYERS:
        found = np.array(loaded[f"layer_{layer}"][:])
        np.testing.assert_array_equal(found.astype(dataset.manifest.dtype), dataset.layer(layer))


def test_the_stored_type_is_the_one_asked_for(dataset: Dataset) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    field = pq.read_schema(shard_paths(dataset.folder)[0]).field("layer_2")
    assert pa.types.is_fixed_size_list(field.type)
    assert field.type.list_size == dataset.manifest.width
    assert str(field.type.value_type) == {"float16": "halffloat", "float32": "float"}[dataset.manifest.dtype]
    assert (field.nullable, field.type.value_field.nullable) == (False, False)
    assert dataset.layer(2).dtype == dataset.manifest.dtype


def test_units_read_elsewhere_are_the_units_read_here(dataset: Dataset) -> None:
    import polars as pl

    columns = dataset.units.column_names
    elsewhere = pl.read_parquet(dataset.folder / "shards" / "*.parquet", columns=columns).to_dicts()
    assert elsewhere == dataset.units.to_pylist()
