"""Proves the field's sums, gradient and best tagging against a twin that lists every tagging there is."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from lamina.apps.tag.crf import Crf, Packed, _crf, _flat, _Loss, decode, expected, fit_crf, probabilities

K, D = 3, 4
LENGTHS = np.array([3, 1, 4, 0, 3], np.int64)
ANY = (np.ones(K, bool), np.ones((K, K), bool), np.ones(K, bool))
RULES = (
    np.array([True, False, True]),
    np.array([[True, False, True], [True, True, True], [False, True, True]]),
    np.array([True, True, False]),
)


def random_field(seed: int, size: float = 1.0) -> Crf:
    draw = np.random.default_rng(seed).normal
    return Crf(*(size * draw(size=shape) for shape in ((D, K), (K,), (K,), (K, K), (K,))))


def random_words(seed: int, size: float = 1.0) -> np.ndarray:
    return (size * np.random.default_rng(seed).normal(size=(LENGTHS.sum(), D))).astype(np.float32)


def value(scores: np.ndarray, tags: tuple[int, ...], crf: Crf) -> float:
    """The score of one tagging of one sentence, term by term."""
    total = crf.first[tags[0]] + crf.last[tags[-1]]
    total += sum(scores[i, tag] for i, tag in enumerate(tags))
    return float(total + sum(crf.transitions[a, b] for a, b in pairwise(tags)))


def taggings(n: int) -> list[tuple[int, ...]]:
    return list(product(range(K), repeat=n))


def sentences(scores: np.ndarray) -> list[np.ndarray]:
    ends = np.cumsum(LENGTHS)
    return [scores[end - n : end] for end, n in zip(ends, LENGTHS, strict=True)]


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_sums_over_all_taggings_are_those_of_the_list(size: float) -> None:
    crf, scores = random_field(1, size), random_words(2, size) @ random_field(1, size).weight
    log_sum, first, last, transitions, words = 0.0, np.zeros(K), np.zeros(K), np.zeros((K, K)), []
    for one in sentences(scores):
        if not len(one):
            continue
        every = taggings(len(one))
        values = np.array([value(one, tags, crf) for tags in every])
        share = np.exp(values - values.max())
        log_sum += float(np.log(share.sum()) + values.max())
        share /= share.sum()
        of_word = np.zeros((len(one), K))
        for tags, part in zip(every, share, strict=True):
            first[tags[0]] += part
            last[tags[-1]] += part
            for i, tag in enumerate(tags):
                of_word[i, tag] += part
            for a, b in pairwise(tags):
                transitions[a, b] += part
        words.append(of_word)
    packed = Packed.of(LENGTHS)
    found = expected(scores[packed.rows], crf, packed)
    assert found.log_sum == pytest.approx(log_sum, rel=1e-10)
    for mine, theirs in ((first, found.first), (last, found.last), (transitions, found.transitions)):
        np.testing.assert_allclose(mine, theirs, atol=1e-10)
    np.testing.assert_allclose(probabilities(scores, LENGTHS, crf), np.concatenate(words), atol=1e-10)


def test_nothing_vanishes_over_a_long_sentence_with_wild_scores() -> None:
    scores = np.random.default_rng(0).normal(size=(2000, K)) * 500
    likely = probabilities(scores, np.array([2000]), random_field(3))
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-9)


def test_the_gradient_is_the_slope_of_the_loss() -> None:
    vectors, tags = random_words(4), np.random.default_rng(5).integers(K, size=LENGTHS.sum())
    packed = Packed.of(LENGTHS)
    loss = _Loss.of(vectors[packed.rows].astype(np.float64), tags[packed.rows], packed, K, 0.7)  # type: ignore[arg-type]
    numbers = _flat(random_field(6))
    _, gradient = loss(numbers)
    for k in range(len(numbers)):
        step = np.zeros_like(numbers)
        step[k] = 1e-3
        slope = (loss(numbers + step)[0] - loss(numbers - step)[0]) / 2e-3
        assert gradient[k] == pytest.approx(slope, abs=3e-5)  # scores are multiplied in float32


def test_numbers_go_into_one_vector_and_back() -> None:
    crf = random_field(7)
    again = _crf(_flat(crf), D, K)
    for name in ("weight", "bias", "first", "transitions", "last"):
        np.testing.assert_array_equal(getattr(crf, name), getattr(again, name))


@pytest.mark.parametrize("rules", [ANY, RULES])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_tagging_is_the_best_of_the_list(rules: tuple[np.ndarray, ...], seed: int) -> None:
    crf = random_field(seed)
    scores = crf.scores(random_words(seed + 10))
    first, follow, last = rules
    best: list[int] = []
    for one in sentences(scores):
        allowed = [
            tags
            for tags in taggings(len(one))
            if not tags or (first[tags[0]] and last[tags[-1]] and all(follow[a, b] for a, b in pairwise(tags)))
        ]
        best += max(allowed, key=lambda tags: value(one, tags, crf) if tags else 0.0)
    np.testing.assert_array_equal(decode(scores, LENGTHS, crf, rules), best)


def test_sentences_do_not_know_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    crf, scores = random_field(8), random_words(9) @ random_field(8).weight
    whole = decode(scores, LENGTHS, crf, ANY)
    alone = [decode(one, np.array([len(one)]), crf, ANY) for one in sentences(scores) if len(one)]
    np.testing.assert_array_equal(whole, np.concatenate(alone))
    monkeypatch.setattr("lamina.apps.tag.crf.SENTENCES", 2)
    np.testing.assert_array_equal(decode(scores, LENGTHS, crf, ANY), whole)
    assert decode(scores[:0], np.array([], np.int64), crf, ANY).shape == (0,)
    assert probabilities(scores[:0], np.array([], np.int64), crf).shape == (0, K)


def test_a_fit_finds_the_least_loss_and_what_only_the_order_tells() -> None:
    """Words say nothing here; tags go round 0, 1, 2. Without transitions a third would be right."""
    lengths = np.array([6] * 60)
    starts = np.random.default_rng(1).integers(3, size=60)
    tags = np.concatenate([(start + np.arange(6)) % 3 for start in starts])
    vectors = np.random.default_rng(2).normal(size=(len(tags), D)).astype(np.float32) / 4
    vectors[::6, :3] += np.eye(3)[starts] * 2  # but for each sentence's first
    losses: list[float] = []
    crf = fit_crf(vectors, lengths, tags, 3, l2=1.0, on_step=lambda _, loss: losses.append(loss))
    assert losses == sorted(losses, reverse=True)
    assert (decode(crf.scores(vectors), lengths, crf, ANY) == tags).mean() > 0.95
    packed = Packed.of(lengths)
    loss = _Loss.of(vectors[packed.rows], tags[packed.rows], packed, 3, 1.0)
    least, gradient = loss(_flat(crf))
    assert np.abs(gradient).max() < 1e-2
    again = fit_crf(vectors, lengths, tags, 3, l2=1.0, start=random_field(3))
    assert loss(_flat(again))[0] == pytest.approx(least, abs=1e-3)
