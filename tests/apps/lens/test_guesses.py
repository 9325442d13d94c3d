"""Proves that a lens reads logits as a full sort would, and that its figures are those of its tokens."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.lens.guesses import Lens, by_layer, lens_of, look, records
from lamina.errors import SpecError

RNG = np.random.default_rng(3)
T, V = 6, 40
TRUTH = np.array([-1, 0, 7, 39, 7, 12])


def logits(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(T, V)).astype(np.float32) * 3
    values[4] = values[4].round()  # ties
    values[5] = np.nan  # cut off
    return values


def test_views_are_those_of_a_full_sort() -> None:
    values = logits(0)
    view = look(values, TRUTH, k=4)
    for t in range(T - 1):
        order = sorted(range(V), key=lambda token: (-values[t, token], token))
        chances = np.exp(values[t].astype(float)) / np.exp(values[t].astype(float)).sum()
        assert view.candidates[t].tolist() == order[:4]
        np.testing.assert_allclose(view.probabilities[t], chances[order[:4]], rtol=1e-5)
        if TRUTH[t] >= 0:
            assert view.ranks[t] == order.index(TRUTH[t]) + 1
            assert view.probability[t] == pytest.approx(chances[TRUTH[t]], rel=1e-5)
    assert (view.ranks[0], view.ranks[5]) == (0, 0)
    assert np.isnan(view.probabilities[5]).all()
    assert np.isnan(view.probability[[0, 5]]).all()


def test_the_whole_vocabulary_sums_to_one() -> None:
    view = look(logits(1)[:5], TRUTH[:5], k=V)
    np.testing.assert_allclose(view.probabilities.sum(axis=1), 1, rtol=1e-5)
    for k in (0, V + 1):
        with pytest.raises(SpecError, match="k must be"):
            look(logits(1), TRUTH, k=k)


def lens(seed: int, special: list[bool]) -> Lens:
    units = pa.table(
        {"token": [f"t{i}" for i in range(T)], "surface": list("abcdef"), "start": range(T), "end": range(1, T + 1),
         "special": special}
    )  # fmt: skip
    views = {k: look(logits(seed + k), TRUTH, k=3) for k in (0, 2)}
    return lens_of(units, TRUTH, views, names={i: f"<{i}>" for i in range(V)})


def test_layers_are_counted_over_ordinary_tokens_whose_truth_is_known() -> None:
    lenses = [lens(10, [True, False, False, False, True, False]), lens(20, [False] * T)]
    rows = by_layer(lenses)
    assert [row["layer"] for row in rows] == [0, 2]
    for place, row in enumerate(rows):
        ranks = [*lenses[0].ranks[place][[1, 2, 3]], *lenses[1].ranks[place][[1, 2, 3, 4]]]
        chances = [*lenses[0].probability[place][[1, 2, 3]], *lenses[1].probability[place][[1, 2, 3, 4]]]
        first = [*lenses[0].probabilities[place][[1, 2, 3], 0], *lenses[1].probabilities[place][[0, 1, 2, 3, 4], 0]]
        assert row["tokens"] == 7
        assert row["right"] == pytest.approx(np.mean([rank == 1 for rank in ranks]))
        assert row["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
        assert row["median_rank"] == np.median(ranks)
        assert row["probability"] == pytest.approx(np.mean(chances))
        assert row["confidence"] == pytest.approx(np.mean(first))


def test_records_say_it_all() -> None:
    one = lens(10, [True] + [False] * 5)
    found = records(one)
    assert [token["token"] for token in found] == [f"t{i}" for i in range(T)]
    assert found[0]["special"]
    assert found[0]["layers"][0]["rank"] is None
    assert found[2]["layers"][1]["rank"] == one.ranks[1, 2]
    assert [c["token"] for c in found[3]["layers"][0]["candidates"]] == [f"<{i}>" for i in one.candidates[0, 3]]


def test_nothing_is_no_lens() -> None:
    with pytest.raises(SpecError, match="no text"):
        by_layer([])
    with pytest.raises(SpecError, match="one layer"):
        lens_of(pa.table({}), TRUTH, {}, names={})
