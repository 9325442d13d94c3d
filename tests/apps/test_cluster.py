"""Proves that clusters are those that are there, are named by their words, and compared with labels rightly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.cluster import agreement, by_layer, cluster, described
from lamina.embeddings import Embeddings
from lamina.errors import SpecError

THEMES = {"rain": "cold rain fell", "music": "loud music played", "bread": "fresh bread rose"}


@pytest.fixture(scope="module")
def blobs() -> tuple[Embeddings, list[str]]:
    """Three heaps at layer 1, none at layer 0; the first theme has most units; the last unit is empty."""
    rng = np.random.default_rng(0)
    labels = ["rain"] * 30 + ["music"] * 20 + ["bread"] * 10
    centres = {"rain": [9, 0, 0, 0], "music": [0, 9, 0, 0], "bread": [0, 0, 9, 0]}
    apart = np.array([centres[label] for label in labels]) + rng.standard_normal((60, 4))
    mixed = rng.standard_normal((60, 4))
    columns = {
        name: np.vstack([x, np.full(4, np.nan)]).astype(np.float32)
        for name, x in (("layer_0", mixed), ("layer_1", apart))
    }
    units = pa.table(
        {
            "surface": [f"{THEMES[label]} again {k}" for k, label in enumerate(labels)] + [""],
            "status": ["ok"] * 60 + ["empty"],
            "n_tokens": [4] * 60 + [0],
        }
    )
    return Embeddings(units, columns, n_texts=61), [*labels, None]  # type: ignore[list-item]


@pytest.mark.parametrize("options", [{"k": 3}, {}, {"method": "density"}])
def test_heaps_are_found(blobs: tuple[Embeddings, list[str]], options: dict[str, object]) -> None:
    data, labels = blobs
    found = cluster(data, layer=1, **options)  # type: ignore[arg-type]
    assert len(found) == 3
    assert found.assigned[60] == -1
    scores = agreement(found.assigned, labels)
    assert scores["v_measure"] == pytest.approx(1.0)
    assert scores["accuracy"] == 1.0
    assert (found.assigned[:30] == 0).mean() > 0.9  # the largest is called 0
    assert found.silhouette is not None
    assert found.silhouette > 0.5


def test_clusters_are_named_by_their_own_words(blobs: tuple[Embeddings, list[str]]) -> None:
    data, _ = blobs
    clusters = described(cluster(data, layer=1, k=3), data, n_words=3)
    assert [one.size for one in clusters] == [30, 20, 10]
    for one, theme in zip(clusters, THEMES.values(), strict=True):
        assert set(one.words) == set(theme.split())
        assert all(theme in text for text in one.central)


def test_layers_are_told_apart(blobs: tuple[Embeddings, list[str]]) -> None:
    data, labels = blobs
    low, high = by_layer(data, labels)
    assert (low["layer"], high["layer"]) == ("0", "1")
    assert low["clusters"] == high["clusters"] == 3  # as many as labels
    assert high["v_measure"] > low["v_measure"] + 0.5


def test_agreement_is_that_of_the_definitions() -> None:
    """Two clusters that split one label and join two: by hand."""
    scores = agreement(np.array([0, 0, 1, 1, -1, 1]), ["a", "a", "a", "b", "b", None])
    assert scores["accuracy"] == pytest.approx(3 / 4)
    h, h_given = (
        1.0,
        0.5,
    )  # entropies in bits of the clusters, 2 and 2; and of clusters given labels aaa|b: 3/4 * H(1/3)
    labels_h = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    labels_given = 0.5 * 0 + 0.5 * 1.0
    h_given = 0.75 * -(2 / 3 * np.log2(2 / 3) + 1 / 3 * np.log2(1 / 3))
    homogeneity, completeness = 1 - labels_given / labels_h, 1 - h_given / h
    assert scores["v_measure"] == pytest.approx(2 * homogeneity * completeness / (homogeneity + completeness))


def test_the_same_seed_gives_the_same_clusters(blobs: tuple[Embeddings, list[str]]) -> None:
    data, _ = blobs
    np.testing.assert_array_equal(cluster(data, layer=0, k=5).assigned, cluster(data, layer=0, k=5).assigned)


@pytest.mark.parametrize("options", [{"k": 61}, {"method": "median"}, {"method": "density", "k": 2}, {"layer": 7}])
def test_what_cannot_be_is_refused(blobs: tuple[Embeddings, list[str]], options: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        cluster(blobs[0], **options)  # type: ignore[arg-type]
