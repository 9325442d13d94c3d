"""Proves that maps keep what they say they keep, that points travel, and that nothing is drawn that has no vector."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

from lamina.apps.map.pictures import (
    Map,
    Method,
    make_map,
    neighbours_kept,
    principal,
    standardised,
    turned,
    variance_kept,
)
from lamina.embeddings import Embeddings
from lamina.errors import MissingExtraError, SpecError

RNG = np.random.default_rng(7)
CLOUD = (RNG.normal(size=(80, 12)) * np.linspace(3, 0.1, 12)).astype(np.float32)
TURN = np.linalg.qr(RNG.normal(size=(12, 12)))[0].astype(np.float32)


def embeddings(*layers: np.ndarray, status: list[str] | None = None) -> Embeddings:
    n = len(layers[0])
    units = pa.table({"status": status or ["ok"] * n, "surface": [f"text {i}" for i in range(n)]})
    return Embeddings(units, {f"layer_{k}": layer for k, layer in enumerate(layers)}, n_texts=n)


def centred(points: np.ndarray) -> np.ndarray:
    return points - points.mean(axis=0)


@pytest.mark.parametrize("shape", [(80, 12), (7, 12)])
def test_principal_directions_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    vectors = centred(CLOUD[: shape[0], : shape[1]])
    expected = PCA(4).fit_transform(vectors.astype(np.float64))
    found = principal(vectors, 4)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    np.testing.assert_array_equal(found, principal(vectors, 4))


def test_directions_beyond_the_rank_are_zero() -> None:
    flat = np.outer(np.arange(5, dtype=np.float32) - 2, np.ones(3, np.float32))
    found = principal(flat, 4)
    assert np.abs(found[:, 1:]).max() == 0
    assert found.shape == (5, 4)


def test_variance_kept_is_that_of_the_components() -> None:
    vectors = centred(CLOUD)
    share = PCA(2).fit(vectors).explained_variance_ratio_.sum()
    assert variance_kept(vectors, standardised(principal(vectors, 2))) == pytest.approx(share, abs=1e-5)
    assert variance_kept(vectors, RNG.normal(size=(80, 2)).astype(np.float32)) < share / 2
    assert variance_kept(vectors, np.zeros((80, 2), np.float32)) == 0


def test_neighbours_kept_is_that_of_a_count_by_hand() -> None:
    vectors, picture = CLOUD[:30], CLOUD[:30, 3:5].copy()

    def nearest(space: np.ndarray, i: int) -> set[int]:
        apart = [(float(((space[j] - space[i]) ** 2).sum()), j) for j in range(30) if j != i]
        return {j for _, j in sorted(apart)[:10]}

    expected = np.mean([len(nearest(vectors, i) & nearest(picture, i)) / 10 for i in range(30)])
    assert neighbours_kept(vectors, picture) == pytest.approx(expected)
    assert neighbours_kept(vectors, vectors) == 1


def test_a_picture_is_turned_as_near_as_any_turn_can() -> None:
    one, other = (standardised(RNG.normal(size=(40, 2)).astype(np.float32)) for _ in range(2))
    found = ((turned(one, to=other) - other) ** 2).sum()
    for angle in np.linspace(0, 2 * np.pi, 721):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for mirror in (np.eye(2), np.diag([1, -1])):
            assert found <= ((one @ turn @ mirror - other) ** 2).sum() + 1e-4


def test_a_layer_that_is_only_turned_does_not_move() -> None:
    found = make_map(embeddings(CLOUD, CLOUD @ TURN, (CLOUD @ TURN) * 3), normalize=False)
    assert found.layers == ("0", "1", "2")
    assert max(found.moved) < 1e-3
    assert found.variance[0] == pytest.approx(found.variance[2], abs=1e-5)
    radius = np.sqrt((found.points**2).sum(axis=2).mean(axis=1))
    np.testing.assert_allclose(radius, 1, atol=1e-5)


def test_another_layer_moves_less_than_it_would_unturned() -> None:
    other = CLOUD + RNG.normal(size=CLOUD.shape).astype(np.float32)
    found = make_map(embeddings(CLOUD, other @ TURN), normalize=False)
    raw = [standardised(principal(centred(layer), 2)) for layer in (CLOUD, other @ TURN)]
    unturned = np.sqrt(((raw[0] - raw[1]) ** 2).sum(axis=1).mean())
    assert 0.01 < found.moved[1] < unturned + 1e-6


def test_layers_and_mixes_are_pictures_each() -> None:
    data = embeddings(CLOUD, CLOUD @ TURN, CLOUD[::-1].copy())
    assert make_map(data, layers=["0", "mean:1,2", 2]).layers == ("0", "mean:1,2", "2")
    assert make_map(data, layers="1..2").layers == ("1", "2")
    assert make_map(data, layers=-1).layers == ("2",)
    with pytest.raises(SpecError, match="layer 5"):
        make_map(data, layers=5)
    with pytest.raises(SpecError, match="no layer"):
        make_map(data, layers=[])


def test_units_without_a_vector_are_left_out_and_counted() -> None:
    layer = CLOUD.copy()
    layer[3] = np.nan
    found = make_map(embeddings(layer, status=["ok"] * 79 + ["empty"]))
    assert (len(found), found.n_unusable, found.n_thinned) == (78, 2, 0)
    assert not {3, 79} & set(found.rows.tolist())
    assert np.isfinite(found.points).all()


def test_too_many_are_thinned_the_same_way_twice() -> None:
    data = embeddings(CLOUD, CLOUD)
    one, again, other = (make_map(data, most=20, seed=seed) for seed in (0, 0, 1))
    assert (len(one), one.n_thinned) == (20, 60)
    np.testing.assert_array_equal(one.rows, again.rows)
    np.testing.assert_array_equal(one.points, again.points)
    assert one.rows.tolist() != other.rows.tolist()


def test_rows_are_chosen() -> None:
    found = make_map(embeddings(CLOUD), rows=[5, 2, 9, 2])
    assert found.rows.tolist() == [2, 5, 9]
    for rows in ([0, 1], [0, 1, 99], [-1, 2, 3]):
        with pytest.raises(SpecError):
            make_map(embeddings(CLOUD), rows=rows)


def test_points_that_are_all_the_same_are_one_place() -> None:
    found = make_map(embeddings(np.ones((5, 4), np.float32)))
    assert np.abs(found.points).max() == 0
    assert found.variance == (0,)


def groups() -> np.ndarray:
    """Three groups far from each other."""
    centres = RNG.normal(size=(3, 12)) * 20
    return (np.repeat(centres, 20, axis=0) + RNG.normal(size=(60, 12))).astype(np.float32)


def pure(found: Map) -> float:
    """The share of points whose nearest point is of their group of 20."""
    apart = ((found.points[0][:, None] - found.points[0]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((apart.argmin(axis=1) // 20 == np.arange(60) // 20).mean())


def test_tsne_parts_what_is_far_apart_and_begins_where_the_next_layer_ended() -> None:
    cloud = groups()
    moved = cloud + RNG.normal(size=cloud.shape).astype(np.float32) * 0.1
    found = make_map(embeddings(cloud, moved), method="tsne", normalize=False)
    assert pure(found) == 1
    assert found.moved[1] < 0.5  # two independent pictures are 1 and more apart
    again = make_map(embeddings(cloud, moved), method="tsne", normalize=False)
    np.testing.assert_array_equal(found.points, again.points)


def test_umap_parts_what_is_far_apart() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed: pip install 'lamina[umap]'")
    assert pure(make_map(embeddings(groups()), method="umap", normalize=False)) == 1


@pytest.mark.parametrize(
    ("method", "module", "extra"), [("tsne", "sklearn.manifold", "apps"), ("umap", "umap", "umap")]
)
def test_a_library_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, method: Method, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'lamina\[{extra}\]'"):
        make_map(embeddings(CLOUD), method=method)


def test_another_method_is_refused() -> None:
    with pytest.raises(SpecError, match="pca, tsne, umap"):
        make_map(embeddings(CLOUD), method="mds")  # type: ignore[arg-type]
