"""What is written is read back: rows in order, values to the bit, one column at a time."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lamina.embeddings import Embeddings, concatenate
from lamina.errors import SpecError
from tests.dataset.making import LAYERS, WIDTH, embeddings, manifest, shard_paths, units_of, write


def damage_layer(shard: Path, layer: int) -> None:
    """Flip every byte of a layer's page body in a shard's file."""
    content = bytearray(shard.read_bytes())
    group = pq.ParquetFile(shard).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    (column,) = [c for c in columns if c.path_in_schema.startswith(f"layer_{layer}.")]
    end = column.data_page_offset + column.total_compressed_size
    for place in range(end - column.num_values, end):  # within the values: a float16 has two bytes
        content[place] ^= 0xFF
    shard.write_bytes(bytes(content))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shard_bytes", [1, 500, 1 << 20])
def test_shards_laid_end_to_end_are_the_parts_laid_end_to_end(tmp_path: Path, dtype: str, shard_bytes: int) -> None:
    parts = [embeddings(n, first=first) for n, first in ((4, 0), (1, 4), (7, 5), (3, 12))]
    dataset = write(tmp_path / "d", parts, described=manifest(dtype=dtype), shard_bytes=shard_bytes)
    whole = concatenate(parts)
    assert len(dataset) == 15
    assert dataset.units.equals(whole.units)
    for layer in LAYERS:
        np.testing.assert_array_equal(dataset.layer(layer), whole.layer(layer).astype(dtype))


def test_a_small_shard_size_makes_many_shards_and_a_large_one_makes_one(tmp_path: Path) -> None:
    parts = [embeddings(2, first=2 * i) for i in range(6)]
    a_row = WIDTH * 2 * len(LAYERS)  # bytes
    counts = [
        len(write(tmp_path / str(size), parts, shard_bytes=size).manifest.shards)
        for size in (1, 4 * a_row, 100 * a_row)
    ]
    assert counts == [12, 3, 1]


def test_the_manifest_says_what_the_shard_files_are(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [embeddings(3), embeddings(2, first=3)], shard_a_part=True)
    shards = tmp_path / "d" / "shards"
    assert sorted(path.name for path in shards.iterdir()) == [shard.name for shard in dataset.manifest.shards]
    for shard in dataset.manifest.shards:
        content = (shards / shard.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard.n_bytes, shard.sha256)
        assert pq.read_metadata(shards / shard.name).num_rows == shard.n_rows
    assert sum(shard.n_rows for shard in dataset.manifest.shards) == dataset.manifest.n_rows == 5


def test_a_layer_is_read_although_every_other_one_is_damaged(tmp_path: Path) -> None:
    expected = embeddings(6)
    dataset = write(tmp_path / "d", [expected])
    for other in (0, 5):
        damage_layer(shard_paths(tmp_path / "d")[0], other)
    np.testing.assert_array_equal(dataset.layer(2), expected.layer(2).astype(np.float16))
    assert dataset.units.equals(expected.units)


def test_only_the_columns_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = write(tmp_path / "d", [embeddings(3), embeddings(3, first=3)], shard_a_part=True)
    asked: list[list[str]] = []
    read = pq.ParquetFile.read

    def recorded(self: pq.ParquetFile, *args: object, columns: list[str], **options: object) -> object:
        asked.append(columns)
        return read(self, *args, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", recorded)
    dataset.layer(5)
    assert asked == [["layer_5"], ["layer_5"]]
    assert not any(name.startswith("layer_") for name in dataset.units.column_names)
    assert not any(name.startswith("layer_") for columns in asked[2:] for name in columns)


def test_a_layer_that_is_not_held_is_refused_by_its_number(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [embeddings(2)])
    np.testing.assert_array_equal(dataset.layer(-1), dataset.layer(5))
    for number in (1, 6, -2, 50):
        with pytest.raises(SpecError, match=rf"layer {number} is not in .* layers 0, 2, 5"):
            dataset.layer(number)
    with pytest.raises(SpecError, match=r"\.layer\(k\)"):
        _ = dataset.combined


@pytest.mark.parametrize(("combine", "width"), [("mean", WIDTH), ("1,2,1", WIDTH), ("concat", 3 * WIDTH)])
def test_combined_layers_are_one_column(tmp_path: Path, combine: str, width: int) -> None:
    part = embeddings(4, names=["combined"], width=width)
    dataset = write(tmp_path / "d", [part], described=manifest(combine=combine, width=width, dtype="float32"))
    assert dataset.layers == ()
    assert dataset.combined.shape == (4, width)
    np.testing.assert_array_equal(dataset.combined, part.combined)
    with pytest.raises(SpecError, match="combined"):
        dataset.layer(2)


@pytest.mark.parametrize("parts", [[], [embeddings(0)]], ids=["no part", "a part without rows"])
def test_a_dataset_without_texts_opens_like_any_other(tmp_path: Path, parts: list[Embeddings]) -> None:
    dataset = write(tmp_path / "d", parts)
    assert len(dataset) == 0
    assert dataset.layer(2).shape == (0, WIDTH)
    assert dataset.layer(2).dtype == np.float16
    assert dataset.units.schema.equals(embeddings(1).units.schema)
    assert pq.read_table(tmp_path / "d" / "shards").num_rows == 0


def test_travelled_columns_come_back_with_their_types(tmp_path: Path) -> None:
    travelled = {"stars": [5, None], "tags": [["a"], ["b", "c"]], "": ["0", "1"], "layer_x": [True, False]}
    units = units_of(["one thing", "another"], **travelled)
    dataset = write(tmp_path / "d", [Embeddings(units, embeddings(2).columns, 2)])
    assert dataset.manifest.travelled == tuple(travelled)
    assert dataset.units.equals(units)


@pytest.mark.parametrize("name", ["2020", "7", "layer", "LAYER_1"])
def test_a_travelled_column_is_no_layer_whatever_its_name(tmp_path: Path, name: str) -> None:
    units = units_of(["one thing", "another"], **{name: ["x", "y"]})
    dataset = write(tmp_path / "d", [Embeddings(units, embeddings(2).columns, 2)])
    assert dataset.units.column(name).to_pylist() == ["x", "y"]
