"""Proves that however shards are stored, a dataset reads the same, says what is damaged, and is made alike twice."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lamina
from lamina.dataset import arrow_shards
from lamina.dataset.manifest import Store
from lamina.dataset.verify import verify
from lamina.embeddings import Embeddings
from lamina.errors import DatasetError, SpecError
from lamina.extraction.extractor import Extractor
from tests.dataset.making import LAYERS, embeddings, manifest, shard_paths, write

TEXTS = ["The river bends.", "", "Rates rose again, and again.", "Ein kurzer Satz."]
STORES = ("parquet", "arrow", "lance")


def made(folder: Path, model: Extractor, store: Store, **options: object) -> lamina.Dataset:
    if store == "lance":
        pytest.importorskip("lance", reason="the extra lance is not installed")
    return lamina.extract(TEXTS, folder, model=model, unit="word", store=store, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("store", STORES)
def test_every_store_reads_the_same(tmp_path: Path, minilm: Extractor, store: Store) -> None:
    found = made(tmp_path / "found", minilm, store)
    expected = made(tmp_path / "expected", minilm, "parquet")
    assert {path.suffix for path in (tmp_path / "found" / "shards").iterdir()} == {f".{store}"}
    assert found.units.to_pylist() == expected.units.to_pylist()
    for layer in found.layers:
        assert found.layer(layer).dtype == np.float16
        np.testing.assert_array_equal(found.layer(layer), expected.layer(layer))
    assert found.units_at([1, 3]).to_pylist() == expected.units_at([1, 3]).to_pylist()
    assert verify(found.folder) == []


@pytest.mark.parametrize("store", STORES)
def test_every_store_writes_the_same_bytes_twice(tmp_path: Path, minilm: Extractor, store: Store) -> None:
    shards = [made(tmp_path / name, minilm, store).manifest.shards for name in ("one", "two")]
    if store == "lance":  # its writer puts identifiers of its own into each file
        assert [(shard.name, shard.n_rows) for shard in shards[0]] == [
            (shard.name, shard.n_rows) for shard in shards[1]
        ]
    else:
        assert shards[0] == shards[1]


@pytest.mark.parametrize("store", STORES)
def test_damage_is_found(tmp_path: Path, minilm: Extractor, store: Store) -> None:
    made(tmp_path / "ds", minilm, store)
    (path,) = (tmp_path / "ds" / "shards").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert verify(tmp_path / "ds")
    with pytest.raises(DatasetError, match=path.name):
        lamina.open(tmp_path / "ds").layer(0)
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert verify(tmp_path / "ds")
    path.unlink()
    with pytest.raises(DatasetError, match="missing"):
        lamina.open(tmp_path / "ds").layer(0)


def test_arrow_shards_open_by_themselves(tmp_path: Path, minilm: Extractor) -> None:
    dataset = made(tmp_path / "ds", minilm, "arrow")
    (path,) = (tmp_path / "ds" / "shards").iterdir()
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    assert table.num_rows == len(dataset)


def test_another_store_is_another_dataset(tmp_path: Path, minilm: Extractor) -> None:
    made(tmp_path / "ds", minilm, "parquet")
    with pytest.raises(DatasetError):
        made(tmp_path / "ds", minilm, "arrow")


def test_a_store_that_does_not_exist_is_refused_before_anything_is_made(tmp_path: Path, minilm: Extractor) -> None:
    with pytest.raises(SpecError, match="parquet, arrow, lance"):
        made(tmp_path / "ds", minilm, "hdf5")  # type: ignore[arg-type]
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("store", ["parquet", "arrow"])
def test_a_shard_has_the_same_bytes_in_whatever_pieces_its_rows_came(tmp_path: Path, store: Store, dtype: str) -> None:
    rows = embeddings(90)
    described = replace(manifest(dtype=dtype), store=store)
    found = []
    for name, ends in (("one", [90]), ("some", [0, 7, 7, 64, 90, 90]), ("many", list(range(91)))):
        parts = [
            Embeddings(rows.units.slice(a, b - a), {k: v[a:b] for k, v in rows.columns.items()}, b - a)
            for a, b in pairwise([0, *ends])
        ]
        write(tmp_path / name, parts, described=described)
        found.append(shard_paths(tmp_path / name)[0].read_bytes())
    assert found[0] == found[1] == found[2]
    table = lamina.open(tmp_path / "many")
    for layer in LAYERS:
        np.testing.assert_array_equal(table.layer(layer), rows.layer(layer).astype(dtype))


def test_arrow_shards_refuse_to_be_written_where_a_blank_array_would_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [embeddings(3).table("float16"), embeddings(3, first=3).table("float16")]
    monkeypatch.setattr(arrow_shards._Joining, "write", lambda self, data: self._file.write(bytes(data)))
    with pytest.raises(RuntimeError, match="copies arrays"):
        arrow_shards.Arrow().write(pa.concat_tables(parts), BytesIO())
