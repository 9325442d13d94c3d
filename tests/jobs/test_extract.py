"""`lamina.extract` stores what `model.extract` gives, whatever the source, with everything else that came along."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lamina
from lamina.embeddings import Embeddings
from lamina.extraction.extractor import Extractor


@pytest.fixture(scope="module")
def expected(minilm: Extractor) -> dict[str, Embeddings]:
    from tests.jobs.conftest import TEXTS

    return {unit: minilm.extract(TEXTS, layers="0,3,6", unit=unit) for unit in ("text", "word", "token")}  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_a_dataset_equals_the_embeddings_in_memory(
    minilm: Extractor, expected: dict[str, Embeddings], texts: list[str], tmp_path: Path, unit: Any, dtype: Any
) -> None:
    dataset = lamina.extract(texts, tmp_path / "d", model=minilm, layers=[0, 3, 6], unit=unit, dtype=dtype)
    assert dataset.layers == (0, 3, 6)
    assert dataset.units.equals(expected[unit].units)
    for layer in dataset.layers:
        assert dataset.layer(layer).dtype == dtype
        np.testing.assert_array_equal(dataset.layer(layer), expected[unit].layer(layer).astype(dtype))


@pytest.mark.parametrize("combine", ["mean", "sum", "concat", [0.25, 0.5, 1.0]])
def test_combined_layers_equal_those_in_memory(
    minilm: Extractor, texts: list[str], tmp_path: Path, combine: Any
) -> None:
    options = {"layers": "0,3,6", "combine": combine}
    dataset = lamina.extract(texts, tmp_path / "d", model=minilm, dtype="float32", **options)
    np.testing.assert_array_equal(dataset.combined, minilm.extract(texts, **options).combined)
    assert dataset.combined.shape == (7, 3 * 384 if combine == "concat" else 384)


def test_a_path_an_iterator_and_a_model_by_name_give_the_same(
    minilm: Extractor, expected: dict[str, Embeddings], texts: list[str], reviews: Path, tmp_path: Path
) -> None:
    made = [
        lamina.extract(reviews, tmp_path / "a", model=minilm, text="review", layers="0,3,6", dtype="float32"),
        lamina.extract(str(reviews), str(tmp_path / "b"), text="review", layers="0,3,6", dtype="float32"),
        lamina.extract(iter(texts), tmp_path / "c", model="minilm", layers="0,3,6", dtype="float32"),
    ]
    for dataset in made:
        assert dataset.units.column("surface").to_pylist() == texts
        for layer in (0, 3, 6):
            np.testing.assert_array_equal(dataset.layer(layer), expected["text"].layer(layer))


def test_every_other_column_travels_to_every_row_of_its_text(minilm: Extractor, reviews: Path, tmp_path: Path) -> None:
    dataset = lamina.extract(reviews, tmp_path / "d", model=minilm, text="review", layers=0, unit="word")
    assert dataset.manifest.travelled == ("id", "input_start", "input_status", "input_layer_3")
    rows = dataset.units.to_pylist()
    assert len({row["text_id"] for row in rows}) > 3
    for row in rows:
        number = row["text_id"]
        assert [row[name] for name in dataset.manifest.travelled] == [f"{kind}{number}" for kind in "rstl"]


def test_keep_says_which_columns_travel(minilm: Extractor, reviews: Path, tmp_path: Path) -> None:
    options = {"model": minilm, "text": "review", "layers": 0}
    assert lamina.extract(reviews, tmp_path / "one", keep=("id",), **options).manifest.travelled == ("id",)
    assert lamina.extract(reviews, tmp_path / "none", keep=(), **options).manifest.travelled == ()


def test_travelled_values_keep_their_types(minilm: Extractor, tmp_path: Path) -> None:
    columns = {"text": ["a door", "a key"], "stars": [5, None], "tags": [["x"], []], "when": [1.5, 2.5]}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    dataset = lamina.extract(tmp_path / "in.parquet", tmp_path / "d", model=minilm, layers=0)
    for name in ("stars", "tags", "when"):
        assert dataset.units.column(name).to_pylist() == columns[name]


def test_a_column_named_like_a_year_travels(minilm: Extractor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,2020\na door,3\na key,4\n")
    dataset = lamina.extract(tmp_path / "in.csv", tmp_path / "d", model=minilm, layers=0)
    assert dataset.units.column("2020").to_pylist() == ["3", "4"]


def test_a_prefixed_name_that_is_taken_too_does_not_swallow_a_column(minilm: Extractor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,start,input_start\na door,theirs,older\n")
    units = lamina.extract(tmp_path / "in.csv", tmp_path / "d", model=minilm, layers=0).units
    assert len(set(units.column_names)) == len(units.column_names)
    assert {"theirs", "older"} <= {value for value in units.to_pylist()[0].values() if isinstance(value, str)}


def test_a_dataset_can_be_the_input_of_another(minilm: Extractor, tmp_path: Path) -> None:
    """Twice over: what the first prefixed meets what the second prefixes."""
    shard: Path | list[str] = ["a door", "a key"]
    for name in ("first", "second", "third"):
        dataset = lamina.extract(
            shard, tmp_path / name, model=minilm, layers=0, text=None if name == "first" else "surface"
        )
        (shard,) = (tmp_path / name / "shards").iterdir()
    assert dataset.units.column("surface").to_pylist() == ["a door", "a key"]


def test_text_id_is_the_position_in_the_input(minilm: Extractor, tmp_path: Path) -> None:
    lines = [json.dumps({"text_id": "mine", "text": f"line {i % 7}"}) for i in range(2500)]  # more than one `Rows`
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    dataset = lamina.extract(tmp_path / "in.jsonl", tmp_path / "d", model=minilm, layers=0)
    assert dataset.units.column("text_id").to_pylist() == list(range(2500))
    assert set(dataset.units.column("input_text_id").to_pylist()) == {"mine"}


def test_rows_are_counted_by_status(minilm: Extractor, texts: list[str], tmp_path: Path) -> None:
    dataset = lamina.extract(texts, tmp_path / "d", model=minilm, layers=0, max_tokens=20, long="truncate")
    statuses = dataset.units.column("status").to_pylist()
    assert statuses == ["ok", "empty", "ok", "ok", "empty", "ok", "cut"]
    assert dataset.manifest.statuses == {"cut": 1, "empty": 2, "ok": 4}
    assert dataset.manifest.n_tokens == sum(dataset.units.column("n_tokens").to_pylist())


def test_texts_are_counted_although_they_have_no_row(minilm: Extractor, tmp_path: Path) -> None:
    dataset = lamina.extract(["two words", "", "one"], tmp_path / "d", model=minilm, layers=0, unit="word")
    assert (dataset.manifest.n_texts, dataset.manifest.n_rows) == (3, 3)
    assert dataset.units.column("text_id").to_pylist() == [0, 0, 2]


@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_no_texts_make_a_dataset_without_rows(minilm: Extractor, tmp_path: Path, unit: Any) -> None:
    dataset = lamina.extract([], tmp_path / "d", model=minilm, unit=unit)
    assert (len(dataset), dataset.manifest.n_texts, dataset.manifest.statuses) == (0, 0, {})
    assert dataset.layer(6).shape == (0, 384)
    assert dataset.units.equals(minilm.extract([], unit=unit).units)


def test_the_manifest_says_what_made_it(minilm: Extractor, texts: list[str], tmp_path: Path) -> None:
    dataset = lamina.extract(texts, tmp_path / "d", model=minilm, layers="-2..-1", unit="word", pool="max")
    made = dataset.manifest.made
    assert (made.model, made.family, made.engine, made.precision) == ("minilm", "bert", "openvino", "float32")
    assert made.weights_sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert made.tokenizer_sha256 == minilm.tokenizer.sha256
    assert made.versions["lamina"] == lamina.__version__
    assert dataset.manifest.layers == (5, 6)
    assert (dataset.spec.unit, dataset.spec.pool, dataset.spec.layers) == ("word", "max", "-2..-1")
    assert lamina.open(tmp_path / "d").manifest == dataset.manifest


@pytest.mark.parametrize("options", [{}, {"unit": "token", "dtype": "float32"}])
def test_the_same_extraction_twice_writes_the_same_bytes(
    minilm: Extractor, reviews: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    def files() -> dict[str, bytes]:
        lamina.extract(reviews, tmp_path / "d", model=minilm, text="review", overwrite=True, **options)
        return {path.name: path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file()}

    first = files()
    assert sorted(name.partition("-")[0] for name in first) == ["manifest.json", "part"]
    assert files() == first
