"""Proves that baselines guess as they say, from what a probe sees and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from lamina.apps.folds import Parts, crossed
from lamina.apps.probe.baselines import bag_of_words, commonest, control_values, of_type, types_of
from lamina.apps.probe.features import Layout
from lamina.apps.probe.linear import Targets

RNG = np.random.default_rng(0)
SURFACES = [str(word) for word in RNG.choice(["the", "The", "bank", "run", "so", "rare1", "rare2"], size=200)]
CLASSES = RNG.integers(4, size=200)
PARTS = crossed(CLASSES, folds=4)


def test_types_are_surfaces_whatever_their_case() -> None:
    assert types_of(["The", "the", "STRASSE", "straße", "a"]).tolist() == [0, 0, 1, 1, 2]


def test_the_commonest_class_of_a_type_is_that_of_the_rows_seen() -> None:
    types = types_of(SURFACES)
    found = of_type(types, CLASSES, 4, PARTS)
    for held in PARTS.held:
        seen = [(t, c) for t, c, part in zip(types, CLASSES, PARTS.of, strict=True) if part != held]
        whole = Counter(c for _, c in seen).most_common(1)[0][1]
        for row in np.flatnonzero(PARTS.of == held):
            counts = Counter(c for t, c in seen if t == types[row])
            assert counts[found[row]] == max(counts.values(), default=whole)


def test_a_type_never_seen_gets_what_is_commonest() -> None:
    classes = np.array([1, 1, 0, 0, 0, 2])
    parts = Parts(np.array([0, 0, 1, 1, 1, 1]), (0,))
    assert of_type(np.array([7, 3, 3, 4, 4, 5]), classes, 3, parts)[:2].tolist() == [0, 0]
    assert commonest(classes, 3, parts)[:2].tolist() == [0, 0]


def test_numbers_are_guessed_by_their_means() -> None:
    numbers = np.array([9.0, 9.0, 1.0, 3.0, 5.0])
    parts = Parts(np.array([0, 0, 1, 1, 1]), (0,))
    assert of_type(np.array([2, 9, 2, 2, 4]), numbers, 0, parts)[:2].tolist() == [2.0, 3.0]
    assert commonest(numbers, 0, parts)[:2].tolist() == [3.0, 3.0]


def test_a_control_label_belongs_to_its_type_and_comes_as_often_as_in_the_data() -> None:
    types = np.repeat(np.arange(4000), 2)
    values = np.repeat([0, 1, 1, 1], 2000)
    drawn = control_values(types, values, seed=1)
    assert (drawn[::2] == drawn[1::2]).all()
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)
    assert (control_values(types, values, seed=1) == drawn).all()
    assert (control_values(types, values, seed=2) != drawn).any()


@pytest.mark.parametrize("words", [("good fine", "bad sad"), ("电影很好", "电影很坏"), ("ดี มาก", "แย่ มาก")])
def test_words_alone_tell_what_words_tell(words: tuple[str, str]) -> None:
    """Also in scripts without spaces between words."""
    rng = np.random.default_rng(0)
    classes = rng.integers(2, size=80)
    texts = [f"{words[k]} {rng.integers(5)}" for k in classes]
    parts = crossed(classes, folds=4)
    layout = Layout.of(parts)
    said = bag_of_words(texts, Targets(classes[layout.order], 2), layout, parts)
    assert said is not None
    assert (said.argmax(axis=1) == classes).mean() > 0.95


def test_words_say_nothing_of_labels_drawn_by_lot() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdefghij"), size=6)) for _ in range(300)]
    classes = rng.integers(2, size=300)
    parts = crossed(classes, folds=5)
    layout = Layout.of(parts)
    said = bag_of_words(texts, Targets(classes[layout.order], 2), layout, parts)
    assert said is not None
    assert abs((said.argmax(axis=1) == classes).mean() - 0.5) < 0.1


def test_texts_without_a_word_that_comes_twice_have_no_bag() -> None:
    parts = crossed([0, 1] * 5, folds=2)
    layout = Layout.of(parts)
    assert bag_of_words(["..."] * 10, Targets(np.array([0, 1] * 5), 2), layout, parts) is None
    assert bag_of_words([f"w{k}" for k in range(10)], Targets(np.array([0, 1] * 5), 2), layout, parts) is None
