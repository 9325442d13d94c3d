"""Proves that other programs find in an exported map what they look for, and that columns are understood."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lamina.apps.charts import save
from lamina.apps.looks import chart_json
from lamina.apps.map.chart import map_chart
from lamina.apps.map.columns import column_of, columns_of
from lamina.apps.map.export import save_atlas, save_projector
from lamina.apps.map.pictures import Map, make_map
from lamina.embeddings import Embeddings
from lamina.errors import DatasetError, SpecError

N = 30
TEXTS = ["a\tb\nc", "", "plain", *(f"text {i}" for i in range(N - 3))]
UNITS = pa.table(
    {
        "text_id": range(N), "surface": TEXTS, "start": [0] * N, "end": [1] * N, "status": ["ok"] * N,
        "label": ["x", "y", "z"] * 10, "x": [f"{i / 2}" for i in range(N)],
    }
)  # fmt: skip
LAYERS = {f"layer_{k}": np.random.default_rng(k).normal(size=(N, 6)).astype(np.float16) for k in (0, 3)}


@pytest.fixture(scope="module")
def data() -> Embeddings:
    return Embeddings(UNITS, LAYERS, n_texts=N)


@pytest.fixture(scope="module")
def found(data: Embeddings) -> Map:
    return make_map(data)


def test_the_projector_reads_what_was_written(tmp_path: Path, found: Map, data: Embeddings) -> None:
    names = save_projector(found, data, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    for k in (0, 3):
        text = (tmp_path / "out" / f"layer_{k}.tsv").read_text()
        read = [list(map(float, line.split("\t"))) for line in text.splitlines() if line]  # as the plugin reads it
        np.testing.assert_allclose(np.array(read), LAYERS[f"layer_{k}"], rtol=1e-5)
    lines = (tmp_path / "out" / "metadata.tsv").read_text().splitlines()
    assert len(lines) == N + 1  # several columns: the first line names them
    assert {line.count("\t") for line in lines} == {2}
    assert lines[:3] == ["text\tlabel\tx", "a b c\tx\t0.0", "(empty)\ty\t0.5"]
    config = (tmp_path / "out" / "projector_config.pbtxt").read_text()
    assert re.findall(r'tensor_path: "(.*)"', config) == ["layer_0.tsv", "layer_3.tsv"]
    assert config.count("{") == config.count("}") == 2
    save_projector(found, data, tmp_path / "out")  # again, over its own files


def test_metadata_of_one_column_has_no_header(tmp_path: Path, found: Map, data: Embeddings) -> None:
    bare = Embeddings(UNITS.drop_columns(["label", "x"]), LAYERS, n_texts=N)
    save_projector(found, bare, tmp_path / "out")
    assert len((tmp_path / "out" / "metadata.tsv").read_text().splitlines()) == N


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path, found: Map, data: Embeddings) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(DatasetError, match="something else"):
        save_projector(found, data, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_the_atlas_has_text_and_places_of_every_layer(tmp_path: Path, found: Map) -> None:
    save_atlas(found, UNITS, tmp_path / "map.parquet")
    table = pq.read_table(tmp_path / "map.parquet")
    assert table.column_names == [
        "text", "x", "y", "layer_0_x", "layer_0_y", "layer_3_x", "layer_3_y", "label", "input_x",
    ]  # fmt: skip
    np.testing.assert_array_equal(table["x"].to_numpy(), found.points[1, :, 0])
    np.testing.assert_array_equal(table["layer_0_y"].to_numpy(), found.points[0, :, 1])
    assert table["text"].to_pylist() == TEXTS
    assert table["input_x"].to_pylist() == [i / 2 for i in range(N)]


def test_columns_are_names_numbers_or_labels() -> None:
    assert column_of("c", ["b", "a", "b", None]).names == ("b", "", "a")
    assert column_of("c", ["b", "a", "b", None]).codes() == [0, 2, 0, 1]
    assert column_of("stars", [str(i % 5) for i in range(40)]).kind == "names"  # few numbers are names
    many = column_of("length", [*(str(i) for i in range(40)), "", None])
    assert many.kind == "numbers"
    assert np.isnan(many.numbers[-2:]).all()
    assert column_of("mostly", [*(str(i) for i in range(40)), "n/a"]).kind == "labels"
    assert column_of("endless", ["inf", *(str(i) for i in range(40))]).kind == "labels"
    assert column_of("id", [f"id-{i}" for i in range(400)]).kind == "labels"


def test_a_column_that_cannot_colour_is_refused() -> None:
    assert [column.name for column in columns_of(UNITS, colour="x")] == ["x", "label"]
    with pytest.raises(SpecError, match="there is no column 'sense'"):
        columns_of(UNITS, colour="sense")
    with pytest.raises(SpecError, match="30 different values"):
        columns_of(UNITS, colour="surface")


def test_the_chart_draws_every_point_at_every_layer(tmp_path: Path, found: Map) -> None:
    drawn = json.loads(chart_json(map_chart(found, UNITS, colour="label", title="t")))
    assert [picture["title"]["text"][:7] for picture in drawn["concat"]] == ["layer 0", "layer 3"]
    lines = drawn["datasets"][drawn["data"]["name"]].splitlines()
    assert len(lines) == N + 1
    read = {tuple(float(value) for value in line.split(",")[2:4]) for line in lines[1:]}
    assert read == {tuple(point) for point in np.round(found.points[1].astype(float), 3).tolist()}
    save(map_chart(found, UNITS, colour="x"), tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text().count("<path") > 2 * N
    gaps = UNITS.append_column("some", pa.array(["", *"abc"] * 7 + ["a", None]))
    gaps = gaps.append_column("length", pa.array(["", *(str(i) for i in range(1, N))]))
    for colour in ("some", "length"):  # a point without a value is there too
        save(map_chart(found, gaps, colour=colour), tmp_path / "map.svg")
        assert (tmp_path / "map.svg").read_text().count('aria-roledescription="point"') == 2 * N
    assert (tmp_path / "map.svg").read_text().count('fill="#999999"') == 2  # the one without a length
    save(map_chart(make_map(Embeddings(UNITS, LAYERS, n_texts=N), layers=3), UNITS), tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")
