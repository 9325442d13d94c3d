"""Proves that exact search is exact: it agrees with scoring everything in float64, bit by bit, however it is asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.apps.search import exact
from lamina.apps.search.exact import Found, longest, nearest, prepared
from lamina.errors import SpecError


def slowly(queries: np.ndarray, vectors: np.ndarray, k: int, rows: np.ndarray | None = None) -> Found:
    """Every pair by itself in float64, then sorted: the largest first, equal ones by row."""
    places = range(len(vectors)) if rows is None else rows.tolist()
    found = Found(np.full((len(queries), k), -1), np.full((len(queries), k), np.nan))
    for q, query in enumerate(queries):
        scored = [(-float((query.astype(np.float64) * vectors[row]).sum()), row) for row in places]
        for rank, (score, row) in enumerate(sorted(scored)[:k]):
            found.rows[q, rank], found.scores[q, rank] = row, -score
    return found


def same(found: Found, expected: Found) -> bool:
    return np.array_equal(found.rows, expected.rows) and np.array_equal(found.scores, expected.scores, equal_nan=True)


def random(n: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 60),
    n_queries=st.integers(1, 9),
    width=st.integers(1, 20),
    k=st.integers(1, 70),
    kinds=st.integers(1, 60),  # fewer kinds of vectors than vectors: equal scores
    offset=st.sampled_from([0.0, 1000.0]),  # so large that all products are almost equal
    seed=st.integers(0, 99),
)
def test_as_scoring_everything(
    n: int, n_queries: int, width: int, k: int, kinds: int, offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = prepared(random(kinds, width, seed)[rng.integers(0, kinds, n)] + np.float32(offset), "cosine")
    queries = prepared(random(n_queries, width, seed + 1), "cosine")
    assert same(nearest(queries, vectors, k, bound=longest(vectors)), slowly(queries, vectors, k))


def test_almost_equal_scores_are_told_apart() -> None:
    """In float32 the products of these rows are noise; in float64 they have an order."""
    vectors = np.ones((5000, 64), np.float32)
    vectors[:, 0] += np.random.default_rng(0).permutation(5000).astype(np.float32) * 2**-23 * 4
    queries = np.ones((3, 64), np.float32)
    found = nearest(queries, vectors, 20, bound=longest(vectors))
    assert found.rows[0].tolist() == np.argsort(-vectors[:, 0], kind="stable")[:20].tolist()
    assert not np.array_equal(np.argsort(-(vectors @ queries[0]), kind="stable")[:20], found.rows[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_lengths_count_for_dot(dtype: type) -> None:
    vectors = (random(3000, 24, 5) * np.linspace(0.1, 9, 3000, dtype=np.float32)[:, None]).astype(dtype)
    queries = random(4, 24, 6) * 30
    assert same(nearest(queries, vectors, 7, bound=longest(vectors)), slowly(queries, vectors, 7))


def test_only_some_rows() -> None:
    vectors, queries = prepared(random(500, 8, 1), "cosine"), prepared(random(5, 8, 2), "cosine")
    rows = np.flatnonzero(np.random.default_rng(3).random(500) < 0.1)
    assert same(nearest(queries, vectors, 60, bound=1.1, rows=rows), slowly(queries, vectors, 60, rows))
    nothing = nearest(queries, vectors, 3, bound=1.1, rows=rows[:0])
    assert (nothing.rows == -1).all()
    assert np.isnan(nothing.scores).all()


@pytest.mark.parametrize(
    "sizes",
    [
        {"QUERIES": 1},
        {"QUERIES": 3, "THREADS": 1},
        {"PRODUCTS": 64, "ROWS": (16, 32), "FIRST": 16},
        {"PRODUCTS": 64, "ROWS": (16, 32), "FIRST": 16, "LARGE": 0, "THREADS": 3},
        {"PRODUCTS": 64, "ROWS": (16, 32), "FIRST": 16, "CANDIDATES": 8},
        {"PRODUCTS": 64, "ROWS": (16, 32), "FIRST": 16, "CANDIDATES": 8, "LARGE": 0, "THREADS": 3},
        {"RESCORED": 1},
    ],
)
def test_the_same_bits_whatever_is_computed_at_once(monkeypatch: pytest.MonkeyPatch, sizes: dict[str, object]) -> None:
    vectors = prepared(np.repeat(random(150, 33, 1), 4, axis=0), "cosine")  # each four times: equal scores
    queries = prepared(random(11, 33, 2), "cosine")
    expected = nearest(queries, vectors, 9, bound=longest(vectors))
    for name, value in sizes.items():
        monkeypatch.setattr(exact, name, value)
    assert same(nearest(queries, vectors, 9, bound=longest(vectors)), expected)


def test_the_same_bits_for_one_query_and_for_many_in_any_order() -> None:
    vectors, queries = prepared(random(5000, 96, 1), "cosine"), prepared(random(70, 96, 2), "cosine")
    together = nearest(queries, vectors, 10, bound=1.1)
    backwards = nearest(queries[::-1].copy(), vectors, 10, bound=1.1)
    assert same(Found(backwards.rows[::-1], backwards.scores[::-1]), together)
    for q in range(0, 70, 13):
        alone = nearest(queries[q : q + 1], vectors, 10, bound=1.1)
        assert same(alone, Found(together.rows[q : q + 1], together.scores[q : q + 1]))


def test_copies_of_one_vector_take_no_memory_for_each_query(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are as good: the candidates are thinned, and the first rows stay."""
    monkeypatch.setattr(exact, "CANDIDATES", 5000)
    monkeypatch.setattr(exact, "ROWS", (256, 256))
    monkeypatch.setattr(exact, "FIRST", 256)
    vectors = np.repeat(prepared(random(1, 12, 0), "cosine"), 4000, axis=0)
    found = nearest(prepared(random(6, 12, 1), "cosine"), vectors, 5, bound=1.1)
    assert found.rows.tolist() == [list(range(5))] * 6


@pytest.mark.parametrize(
    ("queries", "k", "said"),
    [
        (np.zeros((1, 3), np.float32), 1, r"\[Q, 4\]"),
        (np.zeros(4, np.float32), 1, r"\[Q, 4\]"),
        (np.zeros((1, 4), np.float32), 0, "k must be"),
        (np.zeros((1, 4), np.float32), True, "k must be"),
        (np.full((2, 4), np.nan, np.float32), 1, "query 0 has a vector that is not finite"),
    ],
)
def test_what_cannot_be_searched_is_refused(queries: np.ndarray, k: int, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        nearest(queries, np.zeros((2, 4), np.float32), k, bound=0.0)


def test_metrics() -> None:
    vectors = random(5, 3, 0)
    np.testing.assert_allclose(np.linalg.norm(prepared(vectors, "cosine"), axis=1), 1, rtol=1e-6)
    assert prepared(vectors, "dot") is vectors
    with pytest.raises(SpecError, match="cosine, dot"):
        prepared(vectors, "euclidean")  # type: ignore[arg-type]
    assert longest(vectors) == pytest.approx(np.linalg.norm(vectors, axis=1).max(), rel=1e-6)
    assert longest(vectors[:0]) == 0
