"""Mining by margin against a slow twin, ties and sentences without a vector, and its figures by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.apps.align.mining import Float32, mine, parallel_scores, ratio_margin
from lamina.embeddings import Embeddings
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor


def held(vectors: Float32) -> Embeddings:
    """Sentences of one layer; a row of NaN is one without a token."""
    status = ["empty" if np.isnan(row).any() else "ok" for row in vectors]
    return Embeddings(pa.table({"status": status}), {"layer_1": vectors}, n_texts=len(vectors))


def slowly(one: Float32, two: Float32, k: int) -> dict[str, Any]:
    """Every pair's margin by the paper's formula, one by one; then the greedy choice."""
    here, there = ([i for i, row in enumerate(side) if not np.isnan(row).any()] for side in (one, two))
    cosine = {
        (i, j): float(one[i].astype(float) @ two[j] / (np.linalg.norm(one[i]) * np.linalg.norm(two[j])))
        for i in here for j in there
    }  # fmt: skip
    ahead = {i: sorted(there, key=lambda j: (-cosine[i, j], j))[:k] for i in here}
    back = {j: sorted(here, key=lambda i: (-cosine[i, j], i))[:k] for j in there}
    pairs = {(i, j) for i in here for j in ahead[i]} | {(i, j) for j in there for i in back[j]}
    margins = {}
    for i, j in pairs:
        around = sum(cosine[i, z] for z in ahead[i]) / (2 * len(ahead[i]))
        around += sum(cosine[z, j] for z in back[j]) / (2 * len(back[j]))
        margins[i, j] = cosine[i, j] / around if around > 0 else 0.0
    order = sorted(pairs, key=lambda pair: (-margins[pair], pair))
    chosen: list[tuple[int, int]] = []
    for i, j in order:
        if all(i != x and j != y for x, y in chosen):
            chosen.append((i, j))
    return {
        "chosen": chosen,
        "margins": [margins[pair] for pair in chosen],
        "forward": [next((j for x, j in order if x == i), -1) for i in range(len(one))],
        "backward": [next((i for i, y in order if y == j), -1) for j in range(len(two))],
        "plain": ([ahead[i][0] if i in ahead else -1 for i in range(len(one))],
                  [back[j][0] if j in back else -1 for j in range(len(two))]),
    }  # fmt: skip


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
def test_mining_is_the_formula(x: int, y: int, k: int, seed: int, gaps: bool) -> None:
    rng = np.random.default_rng(seed)
    one, two = (rng.normal(size=(n, 6)).astype(np.float32) for n in (x, y))
    if gaps:
        one[: x // 2], two[y // 2 + 1 :] = np.nan, np.nan
    found, expected = mine(held(one), held(two), layer=1, neighbours=k), slowly(one, two, k)
    assert list(zip(found.source.tolist(), found.target.tolist(), strict=True)) == expected["chosen"]
    assert found.margin.tolist() == pytest.approx(expected["margins"], rel=1e-4, abs=1e-5)
    assert found.forward.tolist() == expected["forward"]
    assert found.backward.tolist() == expected["backward"]
    assert tuple(side.tolist() for side in found.plain) == expected["plain"]


def test_equal_sentences_are_taken_in_their_order() -> None:
    same = np.ones((4, 3), np.float32)
    found = mine(held(same), held(same[:3]), layer=1)
    assert found.source.tolist() == found.target.tolist() == [0, 1, 2]
    assert found.margin.tolist() == pytest.approx([1, 1, 1])


def test_a_margin_without_likeness_around_is_0() -> None:
    cosine, around = np.array([0.5, 0.5, -0.5]), np.array([0.5, 0.0, -0.25])
    assert ratio_margin(cosine, around, around).tolist() == [1.0, 0.0, 0.0]


def test_the_figures_by_hand() -> None:
    vectors = np.eye(4, dtype=np.float32)
    source, target = vectors, vectors[[0, 1, 3, 2]]  # two of four stand elsewhere
    figures = parallel_scores(mine(held(source), held(target), layer=1, neighbours=2))
    assert figures["forward"] == figures["backward"] == figures["plain_forward"] == figures["plain_backward"] == 0.5
    assert (figures["precision"], figures["recall"], figures["f1"]) == (0.5, 0.5, 0.5)  # equal margins, not cut between
    perfect = parallel_scores(mine(held(source), held(source), layer=1, neighbours=2))
    assert perfect["f1"] == perfect["forward"] == 1.0


def test_only_pairs_above_a_margin_are_kept() -> None:
    rng = np.random.default_rng(0)
    found = mine(*(held(rng.normal(size=(20, 8)).astype(np.float32)) for _ in range(2)), layer=1)
    assert (np.diff(found.margin) <= 0).all()
    middle = float(found.margin[5])
    assert len(found.above(middle)) == 6
    assert len(found.above(1e9)) == 0


def test_translations_are_found_among_others(minilm: Extractor) -> None:
    source = ["The cat sleeps.", "", "My train is late.", "I bought three apples."]
    target = ["I have bought three apples.", "My train was late.", "Snow fell all night.", "A cat is sleeping."]
    found = mine(minilm.extract(source), minilm.extract(target), layer=6)
    pairs = dict(zip(found.source.tolist(), found.target.tolist(), strict=True))
    assert (pairs[0], pairs[2], pairs[3]) == (3, 1, 0)


def test_what_cannot_be_mined_is_refused() -> None:
    one, none = held(np.ones((2, 3), np.float32)), held(np.full((2, 3), np.nan, np.float32))
    for sides, options in (((one, none), {}), ((one, one), {"neighbours": 0}), ((one, one), {"layer": 2})):
        with pytest.raises(SpecError):
            mine(*sides, **{"layer": 1, **options})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="parallel"):
        parallel_scores(mine(one, held(np.ones((3, 3), np.float32)), layer=1))
