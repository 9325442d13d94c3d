"""Proves that an index finds the dataset's own rows, and that a stored one says when it no longer fits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamina.apps.search import graph, index_files
from lamina.apps.search.index import Index
from lamina.apps.search.index_files import build_index, find_index, is_current
from lamina.apps.transformed import transformed
from lamina.dataset.lock import locked
from lamina.dataset.reader import Dataset
from lamina.embeddings import Embeddings
from lamina.errors import DatasetError, SpecError
from tests.dataset.making import embeddings, files_in, units_of, write

QUERIES = np.random.default_rng(9).standard_normal((4, 16)).astype(np.float32)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three shards; the second text of each is empty."""
    parts = [embeddings(40, first=first) for first in (0, 40, 80)]
    return write(tmp_path / "data", parts, shard_a_part=True)


def assert_same(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_rows_are_those_of_the_dataset(dataset: Dataset) -> None:
    vectors = np.asarray(dataset.layer(2), np.float64)
    scores = QUERIES @ vectors.T / np.linalg.norm(QUERIES, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)
    scores[:, [1, 41, 81]] = -np.inf  # empty texts say nothing
    index = Index.of(dataset, 2)
    found = index.search(QUERIES, k=6)
    assert len(index) == 117
    np.testing.assert_array_equal(found.rows, np.argsort(-scores, axis=1)[:, :6])
    np.testing.assert_allclose(found.scores, -np.sort(-scores, axis=1)[:, :6], atol=1e-6)
    everything = index.search(QUERIES, k=200)
    assert (everything.rows[:, 117:] == -1).all()
    assert sorted(everything.rows[0, :117].tolist()) == sorted(set(range(120)) - {1, 41, 81})


def test_a_filter_is_of_the_datasets_rows(dataset: Dataset) -> None:
    where = np.arange(120) % 10 == 1  # the empty ones are among them
    found = Index.of(dataset, 2).search(QUERIES, k=20, where=where)
    assert sorted(found.rows[0, :9].tolist()) == [11, 21, 31, 51, 61, 71, 91, 101, 111]
    assert (found.rows[:, 9:] == -1).all()


@pytest.mark.parametrize("layer", [2, -1, "mean:0,5", "concat:0,2", "0.3,0.7:2,5"])
@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_stored_is_as_in_memory(dataset: Dataset, layer: int | str, metric: Any) -> None:
    stored = build_index(dataset, layer, metric=metric)
    queries = QUERIES.repeat(2, axis=1) if "concat" in str(layer) else QUERIES
    assert_same(stored.open().search(queries, k=7), Index.of(dataset, layer, metric=metric).search(queries, k=7))
    again = find_index(dataset, layer, metric=metric)
    assert again == stored
    assert is_current(again, dataset, layer)
    assert stored.header.n_vectors == 117
    assert stored.header.rows is not None


def test_the_last_layer_has_one_index_under_both_its_names(dataset: Dataset) -> None:
    assert build_index(dataset, -1).folder == build_index(dataset, 5).folder


def test_through_a_transform(dataset: Dataset) -> None:
    dataset.fit_transform("centred")
    stored = build_index(dataset, 2, transform="centred")
    seen = transformed(dataset, dataset, "centred")
    assert_same(stored.open().search(QUERIES, k=5), Index.of(seen, 2).search(QUERIES, k=5))
    assert find_index(dataset, 2) is None
    dataset.fit_transform("centred", remove=1, overwrite=True)
    found = find_index(dataset, 2, transform="centred")
    assert found is not None
    assert not is_current(found, dataset, 2, transform="centred")
    renewed = build_index(dataset, 2, transform="centred")
    assert is_current(renewed, dataset, 2, transform="centred")


def test_half_the_bytes_in_float16(dataset: Dataset) -> None:
    whole, half = build_index(dataset, 2).header, build_index(dataset, 2, dtype="float16")
    assert half.header.vectors.n_bytes * 2 == whole.vectors.n_bytes
    found, expected = half.open().search(QUERIES, k=5), Index.of(dataset, 2).search(QUERIES, k=5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-3)
    names = {path.name.split("-")[0] for path in half.folder.iterdir()}
    assert names == {"index.json", "vectors", "rows"}  # nothing is left of the float32 one


def test_an_index_of_other_data_is_told(dataset: Dataset, tmp_path: Path) -> None:
    stored = build_index(dataset, 2)
    other = write(tmp_path / "other", [embeddings(120, seed=1)])
    shutil.copytree(dataset.folder / "indexes", other.folder / "indexes")
    found = find_index(other, 2)
    assert found is not None
    assert not is_current(found, other, 2)
    renewed = build_index(other, 2)
    assert is_current(renewed, other, 2)
    assert renewed.header != stored.header
    assert_same(renewed.open().search(QUERIES, k=5), Index.of(other, 2).search(QUERIES, k=5))


def test_a_dataset_that_is_overwritten_loses_its_indexes(dataset: Dataset) -> None:
    build_index(dataset, 2)
    again = write(dataset.folder, [embeddings(20)], overwrite=True)
    assert find_index(again, 2) is None


def test_an_index_of_no_row(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", [embeddings(0)])
    for index in (Index.of(empty, 2), build_index(empty, 2).open()):
        assert (index.search(QUERIES, k=3).rows == -1).all()


@pytest.mark.parametrize("method", ["exact", "usearch"])
def test_an_index_of_rows_that_all_say_nothing(tmp_path: Path, method: Any) -> None:
    nothing = np.full((2, 16), np.nan, np.float32)
    said = Embeddings(units_of(["", ""]), dict.fromkeys(embeddings(0).columns, nothing), 2)
    dataset = write(tmp_path / "empty", [said])
    for index in (Index.of(dataset, 2), build_index(dataset, 2, method=method).open()):
        for queries in (QUERIES, QUERIES[:1]):
            assert (index.search(queries, k=3).rows == -1).all()


@pytest.mark.parametrize("damage", ["cut", "gone", "header", "newer", "foreign"])
def test_damage_is_an_error_that_says_what_to_do(dataset: Dataset, damage: str) -> None:
    stored = build_index(dataset, 2)
    header, vectors = stored.folder / "index.json", stored.folder / stored.header.vectors.name
    if damage == "cut":
        vectors.write_bytes(vectors.read_bytes()[:-1])
    elif damage == "gone":
        vectors.unlink()
    elif damage == "header":
        header.write_text(header.read_text().replace('"n_rows": 120', '"n_rows": 121'))
    elif damage == "newer":
        header.write_text(json.dumps(json.loads(header.read_text()) | {"format_version": 2}))
    else:
        header.write_text('{"format": "something else"}')

    def opened() -> Any:
        found = find_index(dataset, 2)
        assert found is not None
        return found.open()

    with pytest.raises(DatasetError, match="again" if damage != "newer" else "newer Lamina"):
        opened()
    build_index(dataset, 2)
    assert_same(opened().search(QUERIES), Index.of(dataset, 2).search(QUERIES))


def test_one_that_cannot_be_written_leaves_the_old_one(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(dataset, 2)
    before = files_in(dataset.folder / "indexes")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(index_files, "write_whole", full)
    with pytest.raises(DatasetError, match="No space left"):
        build_index(dataset, 2, dtype="float16")
    assert files_in(dataset.folder / "indexes") == before
    monkeypatch.undo()
    found = find_index(dataset, 2)
    assert found is not None
    found.open()


def test_two_do_not_write_one_index_at_once(dataset: Dataset) -> None:
    folder = build_index(dataset, 2).folder
    with locked(folder), pytest.raises(DatasetError, match="is being written"):
        build_index(dataset, 2, dtype="float16")


@pytest.mark.parametrize(
    "options", [{"method": "faiss"}, {"dtype": "int8"}, {"recall": 0.0}, {"metric": "l2"}, {"layer": 3}]
)
def test_what_cannot_be_indexed_is_refused(dataset: Dataset, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        build_index(dataset, **{"layer": 2, **options})
    assert not list(dataset.folder.glob("indexes/*/index.json"))


def test_a_metric_is_no_path(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cosine, dot"):
        build_index(dataset, 2, metric="x/../../../outside")  # type: ignore[arg-type]
    assert not (dataset.folder / "indexes").exists()


class TestGraph:
    """Approximate search."""

    @pytest.fixture
    def large(self, tmp_path: Path) -> Dataset:
        return write(tmp_path / "large", [embeddings(3000)])

    def test_its_results_have_exact_scores(self, large: Dataset) -> None:
        stored = build_index(large, 2, method="usearch")
        graph = stored.header.graph
        assert graph is not None
        assert graph["recall"] >= 0.99
        index = stored.open()
        found, exact = index.search(QUERIES, k=10), index.search(QUERIES, k=10, method="exact")
        assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.rows, exact.rows, strict=True)]) >= 0.9
        for q in range(len(QUERIES)):
            scores = dict(zip(exact.rows[q].tolist(), exact.scores[q].tolist(), strict=True))
            for row, score in zip(found.rows[q].tolist(), found.scores[q].tolist(), strict=True):
                assert scores.get(row, score) == score

    def test_the_recall_is_the_share_of_the_exact_neighbours(self, large: Dataset) -> None:
        """Told anew by scoring everything, each of the sample's rows itself left out."""
        stored = build_index(large, 2, method="usearch")
        index, about = stored.open(), stored.header.graph
        assert about is not None
        vectors = np.asarray(index.vectors, np.float64)
        places = np.sort(np.random.default_rng(0).choice(len(index), 500, replace=False))
        scores = vectors[places] @ vectors.T
        scores[np.arange(500), places] = -np.inf
        expected = np.argsort(-scores, axis=1)[:, :10]
        assert index.graph is not None
        got = index.graph.nearest(index.vectors[places], index.vectors, 11).rows
        recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(got, expected, strict=True)])
        assert about["recall"] == pytest.approx(recall, abs=1e-9)

    def test_a_filtered_search_is_exact(self, large: Dataset) -> None:
        index = build_index(large, 2, method="usearch").open()
        where = np.arange(len(large)) % 100 == 0
        assert_same(index.search(QUERIES, k=5, where=where), Index.of(large, 2).search(QUERIES, k=5, where=where))
        with pytest.raises(SpecError, match="filtered"):
            index.search(QUERIES, where=where, method="usearch")
        with pytest.raises(SpecError, match="no graph"):
            Index.of(large, 2).search(QUERIES, method="usearch")

    @pytest.mark.parametrize(
        ("queries", "k", "said"),
        [
            (QUERIES[0], 3, r"\[Q, 16\]"),
            (QUERIES[:, :8], 3, r"\[Q, 16\]"),
            (QUERIES, 0, "k must be"),
            (np.full_like(QUERIES, np.nan), 3, "query 0 has a vector that is not finite"),
        ],
    )
    def test_what_cannot_be_searched_is_refused_by_the_graph_too(
        self, large: Dataset, queries: np.ndarray, k: int, said: str
    ) -> None:
        index = build_index(large, 2, method="usearch").open()
        for method in ("exact", "usearch"):
            with pytest.raises(SpecError, match=said):
                index.search(queries, k=k, method=method)  # type: ignore[arg-type]

    def test_a_recall_that_no_search_reaches_is_refused(self, large: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(graph, "WIDTHS", (1,))
        monkeypatch.setattr(graph.Graph, "candidates", lambda *_: (np.arange(0), np.arange(0)))
        with pytest.raises(SpecError, match=r"finds 0.0% of the 10 nearest"):
            build_index(large, 2, method="usearch")
        found = find_index(large, 2)
        assert found is not None
        assert found.header.graph is None  # exact search stays
        assert_same(found.open().search(QUERIES), Index.of(large, 2).search(QUERIES))

    def test_a_damaged_graph_is_told(self, large: Dataset) -> None:
        stored = build_index(large, 2, method="usearch")
        assert stored.header.graph is not None
        path = stored.folder / stored.header.graph["file"]["name"]
        path.write_bytes(b"x" * path.stat().st_size)
        with pytest.raises(DatasetError, match="index the dataset again"):
            stored.open()
        stored.open("exact").search(QUERIES)
        assert_same(build_index(large, 2, method="usearch").open().search(QUERIES, method="exact"),
                    Index.of(large, 2).search(QUERIES))  # fmt: skip

    def test_few_vectors(self, tmp_path: Path) -> None:
        few = write(tmp_path / "few", [embeddings(5)])
        index = build_index(few, 2, method="usearch").open()
        assert_same(index.search(QUERIES, k=9), index.search(QUERIES, k=9, method="exact"))
