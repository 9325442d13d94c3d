"""Proves that sentences hold the same characters as words, in the same order, and cut no word in two."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from unicodedata import category

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lamina.text.breaks import sentence_ranges, word_ranges
from tests.languages.conftest import Reading

Ranges = list[tuple[int, int]]


def words_cut(words: Ranges, sentences: Ranges) -> Ranges:
    """The words that do not lie in one sentence, whole."""
    starts = [start for start, _ in sentences]
    holders = np.searchsorted(starts, [start for start, _ in words], side="right") - 1
    return [
        word
        for word, holder in zip(words, holders.tolist(), strict=True)
        if holder < 0 or sentences[holder][1] < word[1]
    ]


def visible(text: str, ranges: Ranges) -> str:
    parts = (text[start:end] for start, end in ranges)
    return "".join(c for part in parts for c in part if category(c)[0] not in "ZC")


def test_sentences_hold_the_characters_of_the_words_in_order(
    read_by: Callable[[str], Reading], texts: list[str]
) -> None:
    reading = read_by("uncased")
    ranges: dict[str, list[Ranges]] = {kind: [[] for _ in texts] for kind in ("word", "sentence")}
    for kind, found in ranges.items():
        units = reading.units[kind]  # type: ignore[index]
        for i, start, end in zip(units.text.tolist(), units.starts.tolist(), units.ends.tolist(), strict=True):
            found[i].append((start, end))
    for text, words, sentences in zip(texts, ranges["word"], ranges["sentence"], strict=True):
        assert visible(text, sentences) == visible(text, words) == visible(text, [(0, len(text))])
        assert all(one[1] <= two[0] for one, two in pairwise(sentences)), text
        assert words_cut(words, sentences) == [], text
    assert sum(map(len, ranges["sentence"])) > 1.5 * len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "www.example.com is a site. e.g. U.S.A. 3.14.",
        "ul. Długa 3a. tel.nr.5 d.h.",
        "www.موقع.وزارة هنا",
        "ארה.ב. גדולה",
        "डॉ.राम आए।",
        "ქ.თბილისი დიდია.",
        "ث.م.ع",
    ],
)
def test_a_full_stop_inside_a_word_ends_no_sentence(text: str) -> None:
    assert [text[a:b] for a, b in words_cut(word_ranges(text), sentence_ranges([text])[0])] == []


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([*"aBאا.,:?'1 ", "ქ", "अ", "东", "タ", "가", "e\u0301", "\n"]), max_size=9).map("".join)
)
@example("a.א")
def test_no_sentence_cuts_a_word_where_rules_meet(text: str) -> None:
    assert [text[a:b] for a, b in words_cut(word_ranges(text), sentence_ranges([text])[0])] == []
