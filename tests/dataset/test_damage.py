"""A shard that is missing, cut, swapped or flipped is a DatasetError that names it, never other numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lamina.dataset.reader import Dataset, open_dataset
from lamina.errors import DatasetError
from tests.dataset.making import LAYERS, embeddings, shard_paths, write

NAME = r"part-00001-\w+\.parquet"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write(tmp_path / "d", [embeddings(3), embeddings(2, first=3)], shard_a_part=True)


def _shard(dataset: Dataset) -> Path:
    return shard_paths(dataset.folder)[1]


def _layers(folder: Path) -> list[bytes]:
    """All vectors, in a form that compares (NaN by its bytes); the units are read too."""
    dataset = open_dataset(folder)
    assert dataset.units.num_rows == len(dataset)
    return [dataset.layer(k).tobytes() for k in LAYERS]


def test_a_missing_shard_is_named(dataset: Dataset) -> None:
    _shard(dataset).unlink()
    for read in (lambda: dataset.layer(2), lambda: dataset.units):
        with pytest.raises(DatasetError, match=rf"{NAME} is missing"):
            read()


@pytest.mark.parametrize("kept", [0, 3, 0.1, 0.5, 0.9, -1])
def test_a_shard_cut_short_is_named(dataset: Dataset, kept: float) -> None:
    content = _shard(dataset).read_bytes()
    _shard(dataset).write_bytes(content[: int(kept * len(content)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(DatasetError, match=NAME):
        dataset.layer(2)


def test_a_shard_with_other_rows_is_refused_with_both_numbers(dataset: Dataset) -> None:
    shutil.copy(shard_paths(dataset.folder)[0], _shard(dataset))
    for read in (lambda: dataset.layer(2), lambda: dataset.units):
        with pytest.raises(DatasetError, match="has 3 rows; the manifest says 2"):
            read()


def test_a_shard_without_the_column_is_named(dataset: Dataset) -> None:
    table = pq.read_table(_shard(dataset)).drop_columns(["layer_2"])
    pq.write_table(table, _shard(dataset))
    with pytest.raises(DatasetError, match=NAME):
        dataset.layer(2)


def test_a_shard_of_another_width_is_named(dataset: Dataset) -> None:
    wider = write(dataset.folder.parent / "wider", [embeddings(2, width=24)])
    shutil.copy(shard_paths(wider.folder)[0], _shard(dataset))
    with pytest.raises(DatasetError, match=NAME):
        dataset.layer(2)


@pytest.mark.parametrize("column", ["layer_0", "layer_2", "layer_5", "surface"])
def test_a_flipped_bit_in_a_column_is_found_and_named(dataset: Dataset, column: str) -> None:
    group = pq.ParquetFile(_shard(dataset)).metadata.row_group(0)
    places = {group.column(i).path_in_schema.split(".")[0]: group.column(i) for i in range(group.num_columns)}
    content = bytearray(_shard(dataset).read_bytes())
    start = places[column].dictionary_page_offset or places[column].data_page_offset
    content[start + places[column].total_compressed_size - 3] ^= 0x10
    _shard(dataset).write_bytes(content)
    with pytest.raises(DatasetError, match=NAME):
        _ = dataset.units if column == "surface" else dataset.layer(int(column.removeprefix("layer_")))


def test_no_flipped_bit_anywhere_gives_other_numbers(dataset: Dataset) -> None:
    expected = _layers(dataset.folder)
    content = _shard(dataset).read_bytes()
    for place in np.linspace(0, len(content) - 1, 150).astype(int).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 0x04
        _shard(dataset).write_bytes(damaged)
        try:
            found = _layers(dataset.folder)
        except DatasetError:
            continue
        assert found == expected, f"byte {place} of {len(content)} was damaged, and other numbers came back"
