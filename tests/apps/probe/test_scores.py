"""Proves that scores are scikit-learn's, and that intervals are those of resampling, done one resample at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, r2_score

import lamina.apps.probe.scores as scores
from lamina.apps.probe.scores import METRICS, RESAMPLES, Examples, Judge, score, widening_of
from lamina.apps.spans import span_scores, spans_of

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def examples(metric: str, n: int = 300, *, seed: int = 0) -> tuple[Examples, np.ndarray]:
    """Labels and predictions that agree in part; texts of five rows."""
    rng = np.random.default_rng(seed)
    texts = np.arange(n) // 5
    if METRICS[metric].task == "numbers":
        truth = rng.normal(size=n) * 3 + 100
        return Examples(truth, (), texts), truth + rng.normal(size=n) * 2
    names = TAGS if metric == "span-f1" else tuple("abcde")
    truth = rng.integers(5, size=n)
    return Examples(truth, names, texts), np.where(rng.random(n) < 0.7, truth, rng.integers(5, size=n))


def slow(metric: str, given: Examples, predicted: np.ndarray, rows: np.ndarray) -> float:
    """The score of some rows, by somebody else."""
    truth, said = given.truth[rows], predicted[rows]
    if metric == "accuracy":
        return float(accuracy_score(truth, said))
    if metric == "macro-f1":
        return float(f1_score(truth, said, average="macro"))
    if metric == "r2":
        return float(r2_score(truth, said))
    if metric == "spearman":
        return float(spearmanr(truth, said).statistic)
    texts = np.split(np.arange(len(rows)), np.flatnonzero(np.diff(given.texts[rows])) + 1)
    there, found = ([spans_of([TAGS[values[k]] for k in text]) for text in texts] for values in (truth, said))
    return span_scores(there, found)["all"].f1


@pytest.mark.parametrize("metric", METRICS)
def test_a_score_is_what_others_compute(metric: str) -> None:
    given, predicted = examples(metric)
    assert score(metric, given, predicted) == pytest.approx(slow(metric, given, predicted, np.arange(300)), abs=1e-9)
    assert score(metric, given, given.truth) == pytest.approx(1)


@pytest.mark.parametrize("metric", [name for name in METRICS if name not in ("spearman", "span-f1")])
def test_resampling_is_what_it_says_one_resample_at_a_time(metric: str) -> None:
    given, predicted = examples(metric, 100)
    clusters = np.repeat(np.arange(25), 4)
    spread = Judge(metric, given, clusters, seed=3).spreads([predicted])[:, 0]
    rng = np.random.default_rng(3)
    for k in range(20):
        drawn = rng.integers(25, size=25)
        rows = np.concatenate([np.flatnonzero(clusters == cluster) for cluster in drawn])
        assert spread[k] == pytest.approx(slow(metric, given, predicted, rows), abs=1e-9)


def test_spearmans_spread_is_close_to_that_of_ranking_each_resample_anew() -> None:
    given, predicted = examples("spearman", 400)
    fast = Judge("spearman", given, np.arange(400)).spreads([predicted])[:, 0]
    rng = np.random.default_rng(1)
    anew = [slow("spearman", given, predicted, rng.integers(400, size=400)) for _ in range(400)]
    assert fast.std() == pytest.approx(np.std(anew), rel=0.2)
    assert fast.mean() == pytest.approx(np.mean(anew), abs=0.01)


def test_spans_are_resampled_with_their_texts() -> None:
    given, predicted = examples("span-f1", 100)
    spread = Judge("span-f1", given, given.texts, seed=5).spreads([predicted])[:, 0]
    drawn = np.random.default_rng(5).integers(20, size=20)
    rows = np.concatenate([np.flatnonzero(given.texts == text) for text in drawn])
    texts = Examples(given.truth[rows], given.classes, np.repeat(np.arange(20), 5))
    assert spread[0] == pytest.approx(score("span-f1", texts, predicted[rows]), abs=1e-9)


def test_memory_is_bounded_without_another_result(monkeypatch: pytest.MonkeyPatch) -> None:
    given, predicted = examples("macro-f1", 200)
    judge = Judge("macro-f1", given, np.arange(200))
    whole = judge.spreads([predicted])
    monkeypatch.setattr(scores, "CELLS", 200 * 7)
    np.testing.assert_array_equal(judge.spreads([predicted]), whole)
    assert whole.shape == (RESAMPLES, 1)


def test_an_interval_holds_the_truth_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 samples of 150 examples, of which 80 % are right in the long run."""
    monkeypatch.setattr(scores, "RESAMPLES", 200)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        given = Examples(np.zeros(150, np.int64), ("a", "b"), np.arange(150))
        predicted = (rng.random(150) < 0.2).astype(np.int64)
        judge = Judge("accuracy", given, np.arange(150), seed=int(rng.integers(1000)))
        low, high = judge.interval(score("accuracy", given, predicted), judge.spreads([predicted])[:, 0])
        held += low <= 0.8 <= high
    assert 0.91 <= held / 300 <= 0.98


@pytest.mark.parametrize("wrong", [0, 1])
def test_where_all_is_right_or_wrong_the_interval_says_what_so_few_allow(wrong: int) -> None:
    """One of 20 may be wrong in the long run although none was: with 0.025 ** (1 / 20) = 0.832 right, 2.5 % of samples
    are all right."""
    given = Examples(np.zeros(60, np.int64), ("a", "b"), np.arange(60))
    judge = Judge("accuracy", given, np.arange(60) // 3)
    predicted = np.full(60, wrong)
    low, high = judge.interval(1.0 - wrong, judge.spreads([predicted])[:, 0])
    bound = 0.025 ** (1 / 20)
    assert (low, high) == pytest.approx((0, 1 - bound) if wrong else (bound, 1))


def test_a_cross_validated_interval_is_wider_by_the_formula() -> None:
    assert widening_of(1) == 1
    assert widening_of(5) == pytest.approx(1.5)
    assert widening_of(2) ** 2 == pytest.approx(1 + 2 * (1 / 2) / (1 / 2))  # 1 + J n_test / n_train
    given, predicted = examples("accuracy")
    value = score("accuracy", given, predicted)
    plain, wide = (Judge("accuracy", given, np.arange(300), widening) for widening in (1.0, 1.5))
    spread = plain.spreads([predicted])[:, 0]
    (low, high), (lower, higher) = plain.interval(value, spread), wide.interval(value, spread)
    assert value - lower == pytest.approx(1.5 * (value - low))
    assert higher - value == pytest.approx(1.5 * (high - value))


def test_the_noise_of_a_difference_is_of_the_difference_not_of_either_score() -> None:
    """Two predictions that are wrong on nearly the same examples differ by little noise."""
    given, predicted = examples("accuracy", 2000)
    other = predicted.copy()
    other[:10] = given.truth[:10]
    judge = Judge("accuracy", given, np.arange(2000))
    one, two = judge.spreads([predicted, other]).T
    assert judge.noise(one, two) < 0.25 * judge.noise(one, np.full_like(one, one.mean()))


def test_metrics_that_fit_come_with_the_telling_one_first() -> None:
    assert examples("accuracy")[0].fitting() == ["accuracy", "macro-f1"]
    assert examples("span-f1")[0].fitting() == ["span-f1", "accuracy", "macro-f1"]
    assert examples("r2")[0].fitting() == ["spearman", "r2"]


def test_what_predicts_the_same_everywhere_knows_nothing() -> None:
    given, _ = examples("spearman")
    assert score("spearman", given, np.ones(300)) == 0
    assert score("r2", given, np.full(300, given.truth.mean())) == pytest.approx(0)
    assert score(
        "macro-f1", Examples(np.array([0, 0]), ("a", "b", "c"), np.arange(2)), np.array([0, 1])
    ) == pytest.approx(1 / 3)
