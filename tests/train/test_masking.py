"""Proves that masks are drawn as Devlin et al. 2019 say: the shares, the replacements, whole words, and never [CLS]."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.errors import SpecError
from lamina.train.masking import Bool, Int32, Int64, Masked, Masking, draw_masks

MASK = 4
ORDINARY = np.arange(100, 600, dtype=np.int32)
Case = tuple[Int32, Int64, Bool, Bool]


def case_of(lengths: list[int], *, seed: int = 0, going_on: float = 0.4) -> Case:
    """Sequences between two special tokens each, their words of one to several tokens."""
    rng = np.random.default_rng(seed)
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    T = int(bounds[-1])
    may = np.ones(T, bool)
    may[bounds[:-1]] = may[bounds[1:] - 1] = False
    return rng.integers(100, 600, T).astype(np.int32), bounds, may, rng.random(T) < going_on


def drawn(case: Case, masking: Masking, *, seed: int = 0) -> Masked:
    ids, bounds, may, inside = case
    return draw_masks(
        ids, bounds, may=may, inside=inside, masking=masking, mask_id=MASK, ordinary=ORDINARY,
        rng=np.random.default_rng(seed),
    )  # fmt: skip


def words_of(case: Case) -> list[list[list[int]]]:
    """The slow twin's words: for each sequence, the places of each word that may be masked."""
    _, bounds, may, inside = case
    found = []
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        words: list[list[int]] = []
        for place in range(low, high):
            if not may[place]:
                continue
            if inside[place] and place > low and may[place - 1]:
                words[-1].append(place)
            else:
                words.append([place])
        found.append(words)
    return found


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_each_sequence_gives_its_share_and_whole_words_stay_whole(whole_words: bool, seed: int) -> None:
    case = case_of([12, 3, 90, 128, 30, 4], seed=seed)
    found = drawn(case, Masking(whole_words=whole_words), seed=seed)
    chosen = set(found.places.tolist())
    for words in words_of(case):
        n = sum(map(len, words))
        taken = [place for word in words for place in word if place in chosen]
        wanted = max(1, round(0.15 * n))
        if not whole_words:
            assert len(taken) == wanted
            continue
        assert all(len(chosen & set(word)) in (0, len(word)) for word in words)
        longest = max(map(len, words))
        assert len(taken) >= 1
        assert abs(len(taken) - wanted) <= longest


def test_what_is_guessed_is_what_stood_there_and_nothing_else_changes() -> None:
    case = case_of([128] * 20)
    found = drawn(case, Masking())
    ids = case[0]
    assert np.array_equal(ids[found.places], found.targets)
    assert np.array_equal(found.places, np.unique(found.places))
    others = np.setdiff1d(np.arange(ids.size), found.places)
    assert np.array_equal(found.ids[others], ids[others])
    assert case[2][found.places].all()  # never [CLS] or [SEP]


def test_of_ten_chosen_eight_are_masked_one_is_swapped_one_stays() -> None:
    """Bounds of five standard deviations of a binomial draw."""
    case = case_of([128] * 2000)
    found = drawn(case, Masking())
    M = found.places.size
    assert 2000 * round(0.15 * 126) == M
    shown = found.ids[found.places]
    masked, same = shown == MASK, shown == found.targets
    swapped = ~masked & ~same
    for share, expected in ((masked, 0.8), (swapped, 0.1 * 499 / 500), (same, 0.1 + 0.1 / 500)):
        assert abs(share.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / M)
    counts = np.bincount(shown[swapped], minlength=600)[100:]
    assert counts.sum() == swapped.sum()  # only ordinary tokens
    expected = swapped.sum() / 500
    # chi squared: as often one as another
    assert ((counts - expected) ** 2 / expected).sum() < 499 + 5 * np.sqrt(2 * 499)


@pytest.mark.parametrize("whole_words", [False, True])
def test_every_place_is_chosen_as_often_whatever_the_length_of_its_word(whole_words: bool) -> None:
    case = case_of([66], going_on=0.35, seed=3)
    counts = np.zeros(66)
    n = 6000
    for seed in range(n):
        counts[drawn(case, Masking(whole_words=whole_words), seed=seed).places] += 1
    may = case[2]
    assert counts[~may].sum() == 0
    share = counts[may] / n
    expected = round(0.15 * 64) / 64
    if not whole_words:
        assert abs(share - expected).max() < 5 * np.sqrt(expected * (1 - expected) / n)
    else:  # a long word is taken if half of it fits: within a seventh of the share of a short one
        assert share.min() > expected * 0.85
        assert share.max() < expected * 1.15
    assert share.mean() == pytest.approx(expected, rel=0.03)


def test_another_draw_is_another_and_the_same_seed_the_same() -> None:
    case = case_of([128] * 4)
    one, again, other = (drawn(case, Masking(), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.ids, again.ids)
    assert np.array_equal(one.places, again.places)
    assert not np.array_equal(one.places, other.places)


def test_a_sequence_of_special_tokens_alone_has_no_place() -> None:
    found = drawn(case_of([2, 2, 40]), Masking())
    assert found.places.min() >= 4
    assert drawn(case_of([2, 2]), Masking(whole_words=True)).places.size == 0


def test_all_can_be_masked_and_all_shown_as_they_are() -> None:
    case = case_of([40])
    everything = drawn(case, Masking(share=1.0, mask=1.0, random=0.0))
    assert (everything.ids[case[2]] == MASK).all()
    assert np.array_equal(drawn(case, Masking(mask=0.0, random=0.0)).ids, case[0])


WRONG = [{"share": 0}, {"share": 1.5}, {"mask": 0.9, "random": 0.2}, {"mask": -0.1}, {"random": True}]


@pytest.mark.parametrize("wrong", WRONG)
def test_shares_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        Masking(**wrong)
