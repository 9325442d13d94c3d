"""Proves scores against their definition, written slow and obvious over transformers' own states, and that no score
depends on anything but its pair."""

from __future__ import annotations

from collections import Counter
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamina.apps.mix import Mix
from lamina.apps.score.baseline import Baseline, unrelated_pairs
from lamina.apps.score.figures import correlations, mean_of
from lamina.apps.score.matching import NAMES, Scores, idf_weights, score_pairs
from lamina.errors import SourceError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.extraction.idf import fit_idf
from lamina.text.source import rows_of
from tests.oracle import Oracle, load_oracle
from tests.samples import SCRIPTS

CANDIDATES = ["The river bank.", "a river ran by 7 banks", "x", "", "we sat on the bank of the big river", "河水大"]
REFERENCES = ["By the river's bank.", "the banks of 7 rivers", "x", "a", "the river", ""]
OTHERS = ["the bank", "7 banks by the river", "y", "b", "we sat on a bank", "河"]
LAYERS = (0, 3, 7, 12)


def found_by(
    model: Extractor, groups: list[tuple[str, ...]], *, weights: Any = None, batch_tokens: int | None = None,
    mixes: tuple[str, ...] = tuple(map(str, LAYERS)),
) -> dict[str, Scores]:  # fmt: skip
    texts = [text for group in groups for text in group]
    stream = model.stream(texts, layers="all", unit="token", batch_tokens=batch_tokens)
    return score_pairs(stream, [Mix.parse(m) for m in mixes], n_references=len(groups[0]) - 1, weights=weights)


def idf_of(oracle: Oracle, references: list[str]) -> dict[int, float]:
    """log((N + 1) / (n + 1)) for each token id that occurs."""
    counts = Counter(token for text in references for token in set(oracle.ids(text)))
    return {token: log((len(references) + 1) / (n + 1)) for token, n in counts.items()}


def defined(
    oracle: Oracle, candidate: str, reference: str, layer: int, idf: dict[int, float] | None, n_references: int
) -> tuple[float, float, float]:
    """Precision, recall and F1 of one pair, a token at a time (Zhang et al. 2020, equations 1 to 3 and "importance
    weighting"): a special token may be the most similar one, and weighs nothing itself."""
    ids = [oracle.ids(candidate), oracle.ids(reference)]
    states = [oracle.states(of_text)[layer].astype(np.float64) for of_text in ids]
    special = set(oracle.tokenizer.all_special_ids)

    def weight(token: int) -> float:
        if idf is None:
            return 0.0 if token in special else 1.0
        return idf.get(token, log((n_references + 1) / 1))

    def matched(own: int, other: int) -> float:
        best = [
            max(float(a @ b / np.sqrt((a @ a) * (b @ b))) for b in states[other]) for a in states[own]
        ]  # fmt: skip
        total = sum(map(weight, ids[own]))
        return sum(value * weight(token) for value, token in zip(best, ids[own], strict=True)) / total

    if min(map(len, ids)) == 2:  # [CLS] [SEP]
        return 0.0, 0.0, 0.0
    precision, recall = matched(0, 1), matched(1, 0)
    return precision, recall, 2 * precision * recall / (precision + recall)


@pytest.fixture(scope="module")
def deep_oracle(deep_bert: Path) -> Oracle:
    return load_oracle(deep_bert)


@pytest.mark.parametrize("with_idf", [False, True])
def test_as_defined(deep: Extractor, deep_oracle: Oracle, with_idf: bool) -> None:
    """A seeded random model of twelve layers, the same weights on both sides: to 1e-5."""
    idf = idf_of(deep_oracle, REFERENCES) if with_idf else None
    counted = fit_idf(rows_of(REFERENCES), deep.tokenizer)
    weights = idf_weights(counted.n_texts, counted.counts) if with_idf else None
    found = found_by(deep, list(zip(CANDIDATES, REFERENCES, strict=True)), weights=weights)
    compared = 0
    for pair, (candidate, reference) in enumerate(zip(CANDIDATES, REFERENCES, strict=True)):
        for layer in LAYERS:
            scores = found[str(layer)]
            expected = defined(deep_oracle, candidate, reference, layer, idf, len(REFERENCES))
            got = [scores.precision[pair], scores.recall[pair], scores.f1[pair]]
            np.testing.assert_allclose(got, expected, atol=1e-5)
            compared += expected != (0, 0, 0)
    assert compared == 4 * len(LAYERS)


def test_several_references_and_the_best_of_each_number(deep: Extractor) -> None:
    both = found_by(deep, list(zip(CANDIDATES, REFERENCES, OTHERS, strict=True)))
    one = found_by(deep, list(zip(CANDIDATES, REFERENCES, strict=True)))
    other = found_by(deep, list(zip(CANDIDATES, OTHERS, strict=True)))
    for layer, scores in both.items():
        for name in NAMES:
            expected = np.maximum(getattr(one[layer], name), getattr(other[layer], name))
            np.testing.assert_array_equal(getattr(scores, name), expected)


def test_no_pair_depends_on_another_to_the_bit(minilm: Extractor) -> None:
    texts = [*SCRIPTS.values(), *CANDIDATES, *REFERENCES]
    groups = [(texts[i], texts[-1 - i]) for i in range(len(texts))]
    together = found_by(minilm, groups, mixes=("0", "6", "mean:-4..-1"))
    order = np.random.default_rng(0).permutation(len(groups))
    shuffled = found_by(minilm, [groups[i] for i in order], batch_tokens=64, mixes=("0", "6", "mean:-4..-1"))
    for layer, scores in together.items():
        for name in NAMES:
            np.testing.assert_array_equal(getattr(scores, name)[order], getattr(shuffled[layer], name))
    for i in (0, 7, 20):
        alone = found_by(minilm, [groups[i]], batch_tokens=32, mixes=("0", "6", "mean:-4..-1"))
        for layer, scores in alone.items():
            assert [getattr(scores, name)[0] for name in NAMES] == [getattr(together[layer], name)[i] for name in NAMES]


def test_a_text_that_comes_in_several_parts_is_one(minilm: Extractor) -> None:
    """A part ends between texts, or, of a long one, between its tokens."""
    texts = ["We sat on the river bank.", "The bank of the river, where we sat."]
    whole = minilm.extract(texts, unit="token")
    first, second = (
        type(whole)(whole.units.slice(low, n), {k: v[low : low + n] for k, v in whole.columns.items()}, n_texts)
        for low, n, n_texts in ((0, 12, 1), (12, len(whole) - 12, 1))
    )
    mixes = [Mix.parse(4)]
    expected, found = score_pairs([whole], mixes)["4"], score_pairs([first, second], mixes)["4"]
    for name in NAMES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_equal_texts_score_1_and_empty_ones_0(minilm: Extractor) -> None:
    groups = [("The same text.", "The same text."), ("", "something"), ("something", ""), ("", "")]
    found = found_by(minilm, groups, mixes=("4",))["4"]
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), [1, 0, 0, 0], atol=1e-6)


def test_what_weighs_nothing_has_no_score(minilm: Extractor) -> None:
    counted = fit_idf(rows_of(["river"]), minilm.tokenizer)
    weights = idf_weights(counted.n_texts, counted.counts)
    found = found_by(minilm, [("a river", "river")], weights=weights, mixes=("4",))["4"]
    assert np.isnan(found.recall[0])  # the one reference's only token occurs in all references
    assert found.precision[0] > 0
    assert mean_of(found.precision) == found.precision[0]


def test_what_makes_no_pairs_is_refused(minilm: Extractor) -> None:
    with pytest.raises(SpecError, match="3 texts are no whole number"):
        score_pairs([minilm.extract(["a", "b", "c"], unit="token")], [Mix.parse(4)])
    with pytest.raises(SpecError, match="unit='token'"):
        score_pairs([minilm.extract(["a", "b"])], [Mix.parse(4)])
    assert len(score_pairs([], [Mix.parse(4)])["4"]) == 0


def test_the_published_scores_rescale_to_the_published_ones(shared_data: Path) -> None:
    """BERTScore's README gives the means of its ten example pairs by RoBERTa-large's layer 17, raw and rescaled. (Its
    weights are not here; rescaling is linear, so means rescale as pairs do.)"""
    path = shared_data / "bertscore/rescale_baseline/en/roberta-large.tsv"
    baseline = Baseline.parse(path.read_text(), path.name)
    raw = Scores(*(np.array([value]) for value in (0.957378, 0.961325, 0.959333, 0.0)))
    found = baseline.rescaled(raw, "17")
    np.testing.assert_allclose(
        [found.precision[0], found.recall[0], found.f1[0]], [0.747044, 0.770484, 0.759045], atol=1e-5
    )


def test_every_published_baseline_is_read(shared_data: Path) -> None:
    paths = sorted((shared_data / "bertscore/rescale_baseline").rglob("*.tsv"))
    assert len(paths) > 60
    for path in paths:
        baseline = Baseline.parse(path.read_text(), path.name)
        assert list(baseline.of_layer) == list(map(str, range(len(baseline.of_layer))))
        assert Baseline.parse(baseline.text(), "again") == baseline


@pytest.mark.parametrize("text", ["", "LAYER,P,R,F\n", "0,0.1,0.2\n", "0,a,b,c\n", "0,1.0,0.2,0.3\n"])
def test_what_is_no_baseline_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="mine"):
        Baseline.parse(text, "mine.tsv")


def test_a_layer_without_a_baseline_is_refused() -> None:
    scores = Scores(*(np.ones(1) for _ in NAMES))
    with pytest.raises(SpecError, match="no layer 4; it has 0, 1"):
        Baseline({"0": (0.1, 0.1, 0.1), "1": (0.2, 0.2, 0.2)}).rescaled(scores, "4")


def test_unrelated_pairs_are_of_different_texts_in_whatever_order() -> None:
    texts = [f"text {i}" for i in range(40)] * 2
    pairs = unrelated_pairs(texts)
    assert len(pairs) == 40
    assert all(a != b for a, b in pairs)
    assert sorted(a for a, _ in pairs) == sorted(b for _, b in pairs) == sorted(set(texts))
    assert unrelated_pairs(texts[::-1]) == pairs
    assert unrelated_pairs(texts, seed=1) != pairs
    assert unrelated_pairs(texts, most=7) == pairs[:7]
    with pytest.raises(SpecError):
        unrelated_pairs(["a", "a"])


def test_figures_do_not_depend_on_the_order_of_the_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, judged = rng.random(500), rng.integers(0, 5, 500).astype(float)
    scores[3], judged[4] = np.nan, np.nan
    order = rng.permutation(500)
    assert mean_of(scores) == mean_of(scores[order])
    assert correlations(scores, judged) == correlations(scores[order], judged[order])


def test_correlations_by_hand() -> None:
    found = correlations(np.array([1.0, 2.0, 4.0, np.nan]), np.array([1.0, 3.0, 2.0, 9.0]))
    assert found["spearman"] == pytest.approx(0.5)
    assert found["kendall"] == pytest.approx(1 / 3)
    assert found["pearson"] == pytest.approx(0.32732684)
    assert np.isnan(correlations(np.ones(3), np.arange(3.0))["pearson"])
    with pytest.raises(SpecError, match="two pairs"):
        correlations(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
