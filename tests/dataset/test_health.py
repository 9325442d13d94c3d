"""The health report says of constructed vectors what was put into them, and agrees with loops over the rows."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lamina.dataset.health import Dimension, Drift, health, sampled_rows
from lamina.dataset.reader import Dataset
from lamina.embeddings import Embeddings, Vectors, layer_column, vector_array
from lamina.errors import DatasetError, SpecError
from tests.dataset.making import LAYERS, manifest, shard_paths, units_of, write

COLUMNS = [layer_column(layer) for layer in LAYERS]
NAN = [np.nan, np.nan]


def dataset_of(folder: Path, *matrices: object, dtype: str = "float32", n_shards: int = 1) -> Dataset:
    """A dataset with the matrices as its layers, the last of them repeated where there are fewer."""
    held = [np.asarray(matrix, np.float32) for matrix in matrices]
    held += held[-1:] * (len(LAYERS) - len(held))
    parts, first = [], 0
    for rows in np.array_split(np.arange(len(held[0])), n_shards):
        columns = {name: matrix[rows] for name, matrix in zip(COLUMNS, held, strict=True)}
        parts.append(Embeddings(units_of(["text"] * len(rows), first=first), columns, len(rows)))
        first += len(rows)
    return write(folder, parts, described=manifest(dtype=dtype, width=held[0].shape[1]), shard_a_part=True)


def random(n: int, width: int = 6, *, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).normal(1, 1, size=(n, width)).astype(np.float32)


def cosine(a: Vectors, b: Vectors) -> float:
    return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("n_shards", [1, 4])
def test_it_agrees_with_loops_over_the_rows(tmp_path: Path, n_shards: int, dtype: str) -> None:
    layers = [random(37, seed=seed) for seed in range(3)]
    for layer in layers:
        layer[[0, 11, 36]] = np.nan
    dataset = dataset_of(tmp_path / "d", *layers, dtype=dtype, n_shards=n_shards)
    found = health(dataset)
    assert [column.column for column in found] == COLUMNS
    for column in found:
        rows = [row.astype(np.float64) for row in dataset.vectors(column.column) if not np.isnan(row).any()]
        norms = [math.sqrt(row @ row) for row in rows]
        squares = [sum(float(row[i]) ** 2 for row in rows) for i in range(6)]
        strongest = sorted(range(6), key=lambda i: -squares[i])[:3]
        assert (column.n_rows, column.n_nan_rows, column.n_infinite, column.drift) == (37, 3, 0, None)
        assert (column.norm_min, column.norm_max) == pytest.approx((min(norms), max(norms)), rel=1e-12)
        assert column.norm_mean == pytest.approx(sum(norms) / 34, rel=1e-12)
        assert column.anisotropy == pytest.approx(np.mean([cosine(a, b) for a, b in combinations(rows, 2)]), rel=1e-9)
        assert [dimension.index for dimension in column.strongest] == strongest
        assert [d.share for d in column.strongest] == pytest.approx([squares[i] / sum(squares) for i in strongest])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 2], [10, 20], [3, 6]], 1),  # one direction, whatever the length
        ([[1, 0], [0, 3]], 0),
        ([[1, 1], [-2, -2]], -1),
        ([[1, 0], [0, 1], [-1, 0], [0, -1]], -1 / 3),  # of six pairs two are opposite
        ([[1, 0], [1, 0], [0, 1]], 1 / 3),
        ([[1, 0], NAN, [0, 0], [5, 0]], 1),  # neither NaN nor zeros have a direction
        ([[1, 0], NAN, [0, 0]], None),
    ],
)
def test_anisotropy_of_known_directions(tmp_path: Path, rows: object, expected: float | None) -> None:
    found = health(dataset_of(tmp_path / "d", rows))[0].anisotropy
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_anisotropy_of_a_sample_is_near_that_of_all(tmp_path: Path) -> None:
    # Around a centre c, noise of variance 1 in each of D dimensions: the mean cosine is about |c|² / (|c|² + D).
    dataset = dataset_of(tmp_path / "d", random(3000, width=64))
    whole, sampled = (health(dataset, sample=n)[0].anisotropy for n in (3000, 300))
    assert whole == pytest.approx(0.5, abs=0.01)
    assert sampled == pytest.approx(0.5, abs=0.02)
    assert sampled != whole


def test_a_rogue_dimension_is_found_with_its_share(tmp_path: Path) -> None:
    rows = np.ones((50, 16))
    rows[:, 11] = 9  # 81 of 96
    rows[:, 4] = -2  # 4 of 99 with it
    found = health(dataset_of(tmp_path / "d", rows))[0]
    assert found.strongest == (
        Dimension(11, pytest.approx(81 / 99)),
        Dimension(4, pytest.approx(4 / 99)),
        Dimension(0, pytest.approx(1 / 99)),
    )


def test_infinite_values_are_counted_and_kept_out_of_the_rest(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", [[3, 4], [1, 1], [6, 8], NAN])
    shard = shard_paths(dataset.folder)[0]  # the writer would refuse what is put in here
    table = pq.read_table(shard)
    damaged = np.array([[3, 4], [np.inf, -np.inf], [6, 8], NAN], np.float32)
    place = table.column_names.index("layer_2")
    pq.write_table(table.set_column(place, table.schema.field(place), vector_array(damaged, "float32")), shard)
    first, second, _ = health(dataset)
    assert (first.n_nan_rows, first.n_infinite) == (1, 0)
    assert (second.n_nan_rows, second.n_infinite) == (1, 2)
    assert (second.norm_mean, second.norm_min, second.norm_max) == pytest.approx((7.5, 5, 10))
    assert second.anisotropy == pytest.approx(1)


@pytest.mark.parametrize("rows", [[NAN, NAN, NAN], np.empty((0, 2))])
def test_a_dataset_without_a_vector_has_no_numbers(tmp_path: Path, rows: object) -> None:
    dataset = dataset_of(tmp_path / "d", rows)
    for column in health(dataset, drift={"layer_0": dataset.layer(0)}):
        assert column.n_nan_rows == column.n_rows == len(dataset)
        assert (column.norm_mean, column.norm_min, column.norm_max, column.anisotropy) == (None,) * 4
        assert (column.strongest, column.drift) == ((), None)


def test_a_seed_draws_the_same_rows_and_another_one_others(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", random(400))
    assert health(dataset, sample=50) == health(dataset, sample=50)
    assert health(dataset, sample=50, seed=1) != health(dataset, sample=50, seed=2)
    assert health(dataset, sample=400, seed=1) == health(dataset, sample=9999, seed=2)  # all rows are all rows


@pytest.mark.parametrize(("n_rows", "sample"), [(0, 5), (1, 5), (30, 7), (30, 30), (10**9, 40)])
def test_sampled_rows_are_different_and_ascend(n_rows: int, sample: int) -> None:
    rows = sampled_rows(n_rows, sample=sample, seed=3).tolist()
    assert len(rows) == min(n_rows, sample)
    assert rows == sorted(set(rows))
    assert all(0 <= row < n_rows for row in rows)


def test_every_row_is_drawn_about_as_often() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        counts[sampled_rows(20, sample=5, seed=seed)] += 1
    assert counts.min() > 400  # of 500
    assert counts.max() < 600


def test_drift_from_the_same_vectors_is_none(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", random(20), random(20, seed=1), random(20, seed=2))
    found = health(dataset, drift={name: dataset.vectors(name) for name in COLUMNS})
    assert [column.drift for column in found] == [Drift(20, 1.0, 1.0, 0.0)] * 3


def test_drift_is_that_of_loops_over_the_rows(tmp_path: Path) -> None:
    stored = random(30)
    rows = [17, 4, 4, 29]  # in the caller's order
    anew = stored[rows] + 0.1 * random(4, seed=5)
    dataset = dataset_of(tmp_path / "d", stored, n_shards=3)
    first, second, _ = health(dataset, sample=3, drift={"layer_0": anew}, drift_rows=rows)
    a, b = stored[rows].astype(np.float64), anew.astype(np.float64)
    cosines = sorted(cosine(x, y) for x, y in zip(a, b, strict=True))
    errors = [math.sqrt((x - y) @ (x - y)) / math.sqrt(y @ y) for x, y in zip(a, b, strict=True)]
    assert first.drift == Drift(
        4, pytest.approx(cosines[0]), pytest.approx((cosines[1] + cosines[2]) / 2), pytest.approx(max(errors))
    )
    assert second.drift is None
    assert first.anisotropy == health(dataset, sample=3)[0].anisotropy


def test_drift_belongs_to_the_sampled_rows_where_no_others_are_named(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", random(50))
    rows = sampled_rows(50, sample=8, seed=4)
    found = health(dataset, sample=8, seed=4, drift={"layer_0": dataset.layer(0)[rows]})
    assert found[0].drift == Drift(8, 1.0, 1.0, 0.0)


def test_rounding_to_float16_shows_as_drift_of_its_size(tmp_path: Path) -> None:
    x = random(200, width=32)
    drift = health(dataset_of(tmp_path / "d", x, dtype="float16"), drift={"layer_0": x})[0].drift
    assert drift is not None
    assert 1e-5 < drift.worst_error < 2**-11
    assert 1 - 1e-6 < drift.worst_cosine < drift.median_cosine < 1


def test_a_vector_on_one_side_only_is_as_far_as_can_be(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", [[1, 0], NAN, NAN, [2, 0]])
    anew = {"layer_0": np.array([[1, 0], [1, 1], NAN, NAN], np.float32)}
    assert health(dataset, drift=anew)[0].drift == Drift(3, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("drift", "rows", "says"),
    [
        ({"layer_1": np.ones((2, 2))}, [0, 1], "'layer_1' .* for one of layer_0, layer_2, layer_5"),
        ({"layer_0": np.ones((3, 2))}, [0, 1], r"\[3, 2\]; expected \[2, 2\]"),
        ({"layer_0": np.ones((2, 3))}, [0, 1], r"\[2, 3\]; expected \[2, 2\]"),
        ({"layer_0": np.ones((2, 2))}, [0, 3], "run from 0 to 3; the rows are 0 to 2"),
        ({"layer_0": np.ones((2, 2))}, [-1, 0], "run from -1 to 0"),
    ],
)
def test_drift_that_does_not_fit_is_refused(
    tmp_path: Path, drift: dict[str, Vectors], rows: list[int], says: str
) -> None:
    dataset = dataset_of(tmp_path / "d", [[1, 0], [2, 0], [3, 0]])
    with pytest.raises(SpecError, match=says):
        health(dataset, drift=drift, drift_rows=rows)


def test_no_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="sample must be at least 1, not 0"):
        health(dataset_of(tmp_path / "d", [[1, 0]]), sample=0)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", random(9), n_shards=3)
    shard_paths(dataset.folder)[1].write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match=r"part-00001-\w+\.parquet"):
        health(dataset)


@pytest.mark.parametrize("rows", [[], [0], [8], [0, 1, 2, 3, 4, 5, 6, 7, 8], [2, 3, 6], [4]])
def test_some_units_are_those_of_all(tmp_path: Path, rows: list[int]) -> None:
    dataset = dataset_of(tmp_path / "d", random(9), n_shards=4)
    assert dataset.units_at(rows).to_pylist() == [dataset.units.to_pylist()[row] for row in rows]
