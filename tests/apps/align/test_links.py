"""Links between words: each method against its slow twin, words without vectors, mixes, parts, what is refused."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina import Text
from lamina.apps.align.links import METHODS, Float32, align, joined, link_matrix
from lamina.embeddings import Embeddings
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor

Pair = tuple[Float32, Float32]
SOURCE = ["The red house is old .", "", "She reads a book .", "Two dogs"]
TARGET = ["La maison rouge est vieille .", "Rien .", "Elle lit un livre .", "Deux chiens"]


@st.composite
def vectors(draw: st.DrawFn) -> Pair:
    """Few dimensions of whole numbers: many equal similarities, zeros among them."""
    m, n, seed = draw(st.integers(0, 6)), draw(st.integers(0, 6)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    one, two = rng.integers(-2, 3, (m, 3)), rng.integers(-2, 3, (n, 3))
    return one.astype(np.float32), two.astype(np.float32)


def cosine(one: Float32, two: Float32) -> float:
    """In float32, as in the program, so that equal ones stay equal."""

    def unit(vector: Float32) -> Float32:
        length = np.sqrt((vector * vector).sum())
        return vector / length if length else vector

    return (np.float32(unit(one) @ unit(two)) + 1) / 2


def mutual(table: list[list[float]]) -> set[tuple[int, int]]:
    """Pairs that are the first best of their row and of their column, one by one."""
    found = set()
    for i, row in enumerate(table):
        for j, value in enumerate(row):
            column = [other[j] for other in table]
            if row.index(max(row)) == j and column.index(max(column)) == i:
                assert value == max(row)
                found.add((i, j))
    return found


def links(one: Float32, two: Float32, method: str, **options: float) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(link_matrix(one, two, method, **options)), strict=True)}  # type: ignore[arg-type]


def table_of(one: Float32, two: Float32) -> list[list[float]]:
    from lamina.embeddings import unit_length

    return [[float(value) for value in row] for row in (unit_length(one) @ unit_length(two).T + 1) / 2]


@settings(deadline=None)
@given(vectors())
def test_intersection_is_what_two_words_choose_of_each_other(pair: Pair) -> None:
    assert links(*pair, "intersection") == mutual(table_of(*pair))
    for row, of_word in zip(table_of(*pair), pair[0], strict=True):
        assert row == pytest.approx([float(cosine(of_word, other)) for other in pair[1]], abs=1e-6)


@settings(deadline=None)
@given(vectors())
def test_itermax_looks_once_more_among_what_is_left(pair: Pair) -> None:
    table = table_of(*pair)
    expected = mutual(table)
    rows, columns = {i for i, _ in expected}, {j for _, j in expected}
    if min(map(len, pair)) > 2 and len(rows) < len(pair[0]) and len(columns) < len(pair[1]):
        worth = {0: np.float32(1), 1: np.float32(0.9), 2: np.float32(0)}
        second = [
            [float(np.float32(value) * worth[(i in rows) + (j in columns)]) for j, value in enumerate(row)]
            for i, row in enumerate(table)
        ]
        expected = expected | {(i, j) for i, j in mutual(second) if i not in rows or j not in columns}
    assert links(*pair, "itermax") == expected


@settings(deadline=None)
@given(vectors())
def test_match_has_the_largest_sum_of_all_assignments(pair: Pair) -> None:
    table = np.array(table_of(*pair)).reshape(len(pair[0]), len(pair[1]))
    found = links(*pair, "match")
    wide = table if table.shape[0] <= table.shape[1] else table.T
    n = min(table.shape)
    assert len(found) == len({i for i, _ in found}) == len({j for _, j in found}) == n
    best = max(
        (sum(wide[i, j] for i, j in enumerate(chosen)) for chosen in permutations(range(wide.shape[1]), n)), default=0.0
    )
    assert sum(table[i, j] for i, j in found) == pytest.approx(best, abs=1e-5)


@settings(deadline=None)
@given(vectors(), st.sampled_from([0.0, 0.001, 0.1, 0.4]))
def test_softmax_asks_both_directions(pair: Pair, threshold: float) -> None:
    products = [[float(one @ two) for two in pair[1]] for one in pair[0]]
    expected = set()
    for i, row in enumerate(products):
        for j, value in enumerate(row):
            forward = math.exp(value) / sum(map(math.exp, row))
            backward = math.exp(value) / sum(math.exp(other[j]) for other in products)
            if forward > threshold and backward > threshold:
                expected.add((i, j))
    assert links(*pair, "softmax", threshold=threshold) == expected


def test_softmax_of_long_vectors_does_not_overflow() -> None:
    one = np.eye(3, dtype=np.float32) * 1000
    assert links(one, one, "softmax") == {(0, 0), (1, 1), (2, 2)}


def sides(model: Extractor, **options: object) -> tuple[Embeddings, Embeddings]:
    source, target = (
        model.extract([Text.of_words(text.split()) for text in texts], unit="word", **options)  # type: ignore[arg-type]
        for texts in (SOURCE, TARGET)
    )
    return source, target


def test_each_pair_by_itself_gives_the_same(minilm: Extractor) -> None:
    source, target = sides(minilm)
    whole = align(source, target, methods=METHODS, layers=["3", "mean:2..4"])
    assert [(one.layer, one.method) for one in whole] == [(k, m) for k in ("3", "mean:2..4") for m in METHODS]
    alone = [
        align(
            *(minilm.extract([Text.of_words(text.split())], unit="word") for text in pair),
            methods=METHODS,
            layers=["3", "mean:2..4"],
        )
        for pair in zip(SOURCE, TARGET, strict=True)
    ]
    assert joined(alone) == whole
    assert all(one.links[1] == () for one in whole)  # no word at all on one side
    (found,) = align(source, target, layers=3)
    assert {(5, 5)} < set(found.links[0])
    assert found.links[0] == tuple(sorted(found.links[0]))


def test_a_word_without_a_token_counts_and_is_never_linked(minilm: Extractor) -> None:
    source = minilm.extract([Text.of_words(["\u200b", "red", "\u200b", "house"])], unit="word")
    target = minilm.extract([Text.of_words(["red", "\u200b", "house"])], unit="word")
    for one in align(source, target, methods=METHODS, layers=0, threshold=0.2):
        assert one.links == (((1, 0), (3, 2)),), one


def test_what_cannot_be_aligned_is_refused(minilm: Extractor) -> None:
    source, target = sides(minilm, layers=3)
    tokens = minilm.extract(SOURCE, unit="token", layers=3)
    with pytest.raises(SpecError, match="unit='word'"):
        align(tokens, target)
    with pytest.raises(SpecError, match="no pairs"):
        align(source, minilm.extract(["one"], unit="word", layers=3))
    for wrong in ({"methods": "best"}, {"methods": []}, {"threshold": 1.0}, {"threshold": float("nan")}, {"layers": 5}):
        with pytest.raises(SpecError):
            align(source, target, **wrong)  # type: ignore[arg-type]
