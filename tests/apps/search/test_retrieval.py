"""Proves the measures of retrieval against their definitions written out, and what judgements may look like."""

from __future__ import annotations

from math import log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lamina.apps.answer.squad import read_squad
from lamina.apps.search.index import Index
from lamina.apps.search.retrieval import Qrels, retrieval
from lamina.errors import SourceError, SpecError
from lamina.extraction.extractor import Extractor


def slowly(ranking: list[int], judged: dict[int, int], k: int) -> tuple[float, float, float]:
    """nDCG at k, recall at k and the reciprocal rank of one query."""
    gains = [max(judged.get(row, 0), 0) for row in ranking if row >= 0]
    ideal = sorted((gain for gain in judged.values() if gain > 0), reverse=True)
    dcg = sum(gain / log2(rank + 1) for rank, gain in enumerate(gains[:k], start=1))
    best = sum(gain / log2(rank + 1) for rank, gain in enumerate(ideal[:k], start=1))
    found = sum(gain > 0 for gain in gains[:k])
    ranks = [rank for rank, gain in enumerate(gains, start=1) if gain > 0]
    return dcg / best, found / len(ideal), 1 / ranks[0] if ranks else 0.0


@given(
    seed=st.integers(0, 999),
    judged=st.lists(st.dictionaries(st.integers(-3, 20), st.integers(-1, 3), max_size=6), min_size=1, max_size=5),
    k=st.integers(1, 12),
)
def test_as_defined(seed: int, judged: list[dict[int, int]], k: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(21)[:12] for _ in judged])
    rows[:, 12 - seed % 4 :] = -1  # fewer results than asked for
    asked = [query for query, of_query in enumerate(judged) if any(gain > 0 for gain in of_query.values())]
    assume(asked)
    expected = np.mean([slowly(rows[query].tolist(), judged[query], k) for query in asked], axis=0)
    found = retrieval(rows, judged, cutoffs=(k,))
    np.testing.assert_allclose([found.ndcg[k], found.recall[k], found.mrr], expected, rtol=1e-12)
    assert found.n_queries == len(asked)


def test_by_hand() -> None:
    rows = np.array([[4, 2, 7], [1, 0, 3]])
    found = retrieval(rows, [{2: 1, 9: 2}, {1: 3}], cutoffs=(1, 3))
    assert found.mrr == pytest.approx((1 / 2 + 1) / 2)
    assert found.recall == {1: pytest.approx(0.5), 3: pytest.approx(0.75)}
    assert found.ndcg[3] == pytest.approx((1 / log2(3) / (2 + 1 / log2(3)) + 1) / 2)
    assert found.row() == {
        "mrr": found.mrr, "ndcg@1": found.ndcg[1], "ndcg@3": found.ndcg[3], "recall@1": 0.5, "recall@3": 0.75
    }  # fmt: skip


@pytest.mark.parametrize("cutoff", [0, 4])
def test_a_cutoff_beyond_the_results_is_refused(cutoff: int) -> None:
    with pytest.raises(SpecError, match="cutoff"):
        retrieval(np.array([[1, 2, 3]]), [{1: 1}], cutoffs=(cutoff,))


def test_nothing_to_find_is_said() -> None:
    with pytest.raises(SpecError, match="nothing to measure"):
        retrieval(np.array([[1], [2]]), [{}, {1: 0}], cutoffs=(1,))


def test_judgements_of_trec() -> None:
    qrels = Qrels.parse(["q1 0 d2 1", "", "q1 0 d9 2", "q2\t0\td1\t0"], "qrels")
    judged = qrels.of_rows(["q1", "q2", "q3"], ["d1", "d2"])
    assert judged[0][1] == 1
    assert sorted(judged[0].values()) == [1, 2]
    assert min(judged[0]) < 0  # d9 is not there, and is missed in every ranking
    assert judged[1:] == [{0: 0}, {}]
    assert Qrels.of_pairs([("a", "x"), ("a", "y")]).of_rows(["a"], ["y", "x"]) == [{1: 1, 0: 1}]


@pytest.mark.parametrize("line", ["q1 d2 1", "q1 0 d2 yes", "q1 0 d 2 1"])
def test_a_line_that_is_no_judgement_is_named(line: str) -> None:
    with pytest.raises(SourceError, match="judgements, line 2"):
        Qrels.parse(["q1 0 d2 1", line], "judgements")


def test_ids_must_fit() -> None:
    with pytest.raises(SpecError, match="no query has a judgement"):
        Qrels.of_pairs([("1", "x")]).of_rows(["q1"], ["x"])
    with pytest.raises(SpecError, match="no document that was judged is there"):
        Qrels.of_pairs([("1", "y")]).of_rows(["1"], ["x"])
    with pytest.raises(SpecError, match="two documents have the id 'x'"):
        Qrels.of_pairs([("1", "x")]).of_rows(["1"], ["x", "y", "x"])


def test_a_question_of_xquad_finds_its_paragraph(minilm: Extractor, shared_data: Path) -> None:
    squad = read_squad(shared_data / "xquad/xquad.en.json")
    passages = minilm.extract(squad.passages, layers=-1)
    questions = minilm.extract([question.text for question in squad.questions], layers=-1)
    found = Index.of(passages).search(questions.layer(-1), k=100)
    figures = retrieval(found.rows, [{question.passage: 1} for question in squad.questions])
    assert figures.mrr >= 0.92
    assert figures.n_queries == 1190
