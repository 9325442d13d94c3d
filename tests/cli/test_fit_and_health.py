"""`lamina fit` stores what the library fits; `lamina show --health` reports, and says why where it cannot compare."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import lamina
from lamina.dataset.health import health, sampled_rows
from lamina.dataset.sealed import checksum
from lamina.dataset.transform import Options
from tests.cli.conftest import LAYERS, TEXTS, Cli

COLUMNS = ["layer_0", "layer_3", "layer_6"]


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to change."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def change_manifest(folder: Path, **made: Any) -> None:
    """Change what a manifest says of the model."""
    path = folder / "manifest.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["made"] |= made
    del found["checksum"]
    path.write_text(json.dumps({**found, "checksum": checksum(found)}), encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "options", "width"),
    [
        ((), Options(), 384),
        (("--no-centre", "--dims", 128), Options(centre=False, dims=128), 128),
        (("--whiten", "--dims", 4), Options(whiten=True, dims=4), 4),
        (("--remove", 2, "--normalize"), Options(remove=2, normalize=True), 384),
    ],
)
def test_fit_stores_a_transform_of_every_column(
    cli: Cli, dataset: Path, arguments: tuple[object, ...], options: Options, width: int
) -> None:
    outcome = cli("fit", dataset, "--name", "mine", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"mine: layer_0, layer_3, layer_6; 384 → {width}; fitted on 5 rows\n"
    opened = lamina.open(dataset)
    assert opened.transforms == ("mine",)
    for column in COLUMNS:
        assert opened.transform("mine", column).options == options
    assert json.loads(cli("show", dataset, "--json").out)["transforms"] == ["mine"]


def test_rows_without_a_vector_are_counted(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "lines.txt"
    source.write_text("One text.\n\nAnother text.\n", encoding="utf-8")
    options = ["--special", "exclude", "--layers", "1"]
    assert cli("extract", source, "-o", tmp_path / "d", *options).code == 0
    assert cli("fit", tmp_path / "d", "--name", "mine").out.endswith("fitted on 2 rows (1 without a vector left out)\n")


@pytest.mark.parametrize("layer", [*LAYERS, -1])
def test_export_transforms_as_the_library_does(cli: Cli, dataset: Path, tmp_path: Path, layer: int) -> None:
    assert cli("fit", dataset, "--name", "white", "--whiten", "--dims", 3).code == 0
    outcome = cli("export", dataset, "--layer", layer, "--transform", "white", "-o", tmp_path / "x.npy")
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'x.npy'}: 5 × 3\n")
    found = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, lamina.open(dataset).layer(layer, transform="white"))
    np.testing.assert_allclose(np.cov(found.T), np.eye(3), atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--name", "No good"), 2, "a-z, 0-9 and -; 'No good' is none"),
        (("--name", "taken"), 1, "has a transform 'taken' already"),
        (("--name", "mine", "--dims", 385), 2, "dims is 385, but the vectors have 384 numbers"),
        (("--name", "mine", "--remove", 384), 2, "nothing would be left"),
        (("--name", "mine", "--whiten"), 2, "layer_0 4, layer_3 4, layer_6 4.* Ask for dims=4 or fewer"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(
    cli: Cli, dataset: Path, arguments: tuple[object, ...], code: int, says: str
) -> None:
    assert cli("fit", dataset, "--name", "taken").code == 0
    outcome = cli("fit", dataset, *arguments)
    assert outcome.code == code
    assert re.search(says, outcome.sentence)
    assert lamina.open(dataset).transforms == ("taken",)


def test_overwrite_replaces_a_transform(cli: Cli, dataset: Path) -> None:
    for dims in (3, 2):
        assert cli("fit", dataset, "--name", "mine", "--dims", dims, "--overwrite").code == 0
    assert lamina.open(dataset).layer(3, transform="mine").shape == (5, 2)


def test_a_transform_that_is_not_there_or_not_its_own_is_one_sentence(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    export = ("export", dataset, "--layer", 3, "--transform", "mine", "-o", tmp_path / "x.npy")
    outcome = cli(*export)
    assert outcome.code == 2
    assert "no transform 'mine'; it has none" in outcome.sentence
    assert cli("fit", dataset, "--name", "mine").code == 0
    source = tmp_path / "other.txt"
    source.write_text("Other words.\n", encoding="utf-8")
    assert cli("extract", source, "-o", tmp_path / "other", "--layers", "0,3,6").code == 0
    shutil.rmtree(tmp_path / "other" / "transforms", ignore_errors=True)
    shutil.copytree(dataset / "transforms", tmp_path / "other" / "transforms")
    outcome = cli(*export[:1], tmp_path / "other", *export[2:])
    assert outcome.code == 1
    assert "was fitted on other data" in outcome.sentence
    assert not (tmp_path / "x.npy").exists()


def test_health_in_json_is_what_the_library_gives(cli: Cli, made: Path) -> None:
    outcome = cli("show", made, "--health", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert (found["dataset"], found["why_no_drift"]) == (str(made), None)
    dataset = lamina.open(made)
    anew = lamina.load("minilm", engine="reference").extract(TEXTS, layers=[0, 3, 6])
    for column, expected in zip(found["health"], health(dataset, drift=anew.columns), strict=True):
        assert column["column"] == expected.column
        assert column["anisotropy"] == expected.anisotropy
        assert [(d["index"], d["share"]) for d in column["strongest"]] == [
            (dimension.index, dimension.share) for dimension in expected.strongest
        ]
        assert expected.drift is not None
        assert column["drift"] == pytest.approx(
            {name: getattr(expected.drift, name) for name in ("n_rows", "worst_cosine", "median_cosine", "worst_error")}
        )
        assert 0 < column["drift"]["worst_error"] < 2**-11  # rounding to float16


def test_health_for_people_has_a_line_a_column(cli: Cli, made: Path) -> None:
    outcome = cli("show", made, "--health")
    assert (outcome.code, outcome.err) == (0, "")
    head, *lines, empty, last = outcome.out.splitlines()
    assert head.split()[:4] == ["column", "rows", "NaN", "infinite"]
    assert [line.split()[:4] for line in lines] == [[column, "5", "0", "0"] for column in COLUMNS]
    assert all("0.99999" in line for line in lines)
    assert empty == ""
    assert last.startswith("drift: 5 texts computed anew by the reference engine in float32")


def test_vectors_that_are_not_the_texts_own_show_as_drift(cli: Cli, dataset: Path) -> None:
    (shard,) = (dataset / "shards").iterdir()
    table = pq.read_table(shard)
    place = table.column_names.index("layer_3")
    pq.write_table(table.set_column(place, table.schema.field(place), table.column("layer_0")), shard)
    first, mixed, last = json.loads(cli("show", dataset, "--health", "--json").out)["health"]
    assert max(column["drift"]["worst_error"] for column in (first, last)) < 2**-11
    assert mixed["drift"]["worst_error"] > 0.1
    assert mixed["drift"]["worst_cosine"] < mixed["drift"]["median_cosine"] < 0.99


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--unit", "word"), "a row is a word"),
        (("--unit", "token"), "a row is a token"),
        (("--pool", "idf"), "pool 'idf' weighs by the whole corpus"),
        (("--long", "truncate", "--max-tokens", 3), "none is a whole text"),
    ],
)
def test_where_texts_cannot_be_computed_anew_it_says_why(
    cli: Cli, lines: Path, tmp_path: Path, options: tuple[object, ...], says: str
) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "1", *options).code == 0
    outcome = cli("show", tmp_path / "d", "--health")
    assert (outcome.code, outcome.err) == (0, "")
    last = outcome.out.splitlines()[-1]
    assert last.startswith("drift is not shown: ")
    assert says in last
    assert "cosine to float32" not in outcome.out


@pytest.mark.parametrize(
    ("made_with", "says"),
    [
        ({"model": "/no/such/model"}, "the model '/no/such/model' cannot be loaded: there is no folder"),
        ({"weights_sha256": "0" * 64}, "the weights of 'minilm' are not those .* the dataset's 0000"),
        ({"tokenizer_sha256": "1" * 64}, "the tokenizer of 'minilm' are not those"),
    ],
)
def test_where_the_model_is_another_it_says_so(cli: Cli, dataset: Path, made_with: dict[str, str], says: str) -> None:
    change_manifest(dataset, **made_with)
    outcome = cli("show", dataset, "--health", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert re.search(says, found["why_no_drift"])
    assert [column["drift"] for column in found["health"]] == [None] * 3
    assert [column["n_rows"] for column in found["health"]] == [5] * 3


def test_of_many_texts_a_sample_is_computed_anew(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "lines.txt"
    source.write_text("".join(f"line {i}\n" for i in range(50)), encoding="utf-8")
    assert cli("extract", source, "-o", tmp_path / "d", "--layers", "0").code == 0
    found = json.loads(cli("show", tmp_path / "d", "--health", "--json").out)
    assert found["health"][0]["drift"]["n_rows"] == 32 == len(sampled_rows(50, sample=32))
    assert found["health"][0]["drift"]["worst_error"] < 2**-11


def test_health_is_of_a_dataset(cli: Cli) -> None:
    outcome = cli("show", "minilm", "--health")
    assert outcome.code == 1
    assert "minilm is no dataset" in outcome.sentence
