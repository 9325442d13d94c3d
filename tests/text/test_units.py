"""Proves which tokens a unit takes: those that overlap its characters, and the ones that its pool asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.text.breaks import sentence_ranges, word_ranges
from lamina.text.text import Text, as_text
from lamina.text.tokenizer import Tokenizer, load_tokenizer
from lamina.text.tokens import Tokens
from lamina.text.units import Units, cut, kept_tokens, n_ordinary, pooled_tokens
from lamina.text.units import make_units as make
from tests.checkpoints import save_vocabulary
from tests.samples import BARE, TEXTS
from tests.text.tokens_by_hand import tokens_at


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(save_vocabulary(tmp_path_factory.mktemp("vocabulary")))


def make_units(kind: Any, texts: Sequence[str | Text], tokens: Tokens) -> Units:
    return make(kind, [as_text(text) for text in texts], tokens)


def ranges(units: Units) -> list[tuple[int, int]]:
    return list(zip(units.first.tolist(), units.last.tolist(), strict=True))


def overlapping(tokens: Tokens, text: int, start: int, end: int) -> list[int]:
    """The slow twin: every ordinary token of a text that shares a character with start to end."""
    of_text = range(int(tokens.bounds[text]), int(tokens.bounds[text + 1]))
    return [t for t in of_text if not tokens.special[t] and tokens.starts[t] < end and tokens.ends[t] > start]


def assert_words_take_what_overlaps(texts: list[str], tokens: Tokens) -> None:
    units = make_units("word", texts, tokens)
    places = [(i, start, end) for i, text in enumerate(texts) for start, end in word_ranges(text)]
    assert list(zip(units.text.tolist(), units.starts.tolist(), units.ends.tolist(), strict=True)) == places
    for (first, last), place in zip(ranges(units), places, strict=True):
        assert list(range(first, last)) == overlapping(tokens, *place)


def test_a_word_takes_every_token_that_overlaps_it() -> None:
    #        ab cde: two pieces of "ab", one token over both words' edge, one inside "cde"
    tokens = tokens_at([(0, 1), (1, 2), (1, 4), (4, 6)], lengths=[6])
    units = make_units("word", ["ab cde"], tokens)
    assert ranges(units) == [(1, 4), (3, 5)]
    assert not units.special.any()


def test_a_word_whose_tokens_were_dropped_keeps_its_row() -> None:
    tokens = tokens_at([(0, 1), (4, 5)], lengths=[5])
    units = make_units("word", ["a b c"], tokens)
    assert units.starts.tolist() == [0, 2, 4]
    assert (units.last - units.first).tolist() == [1, 0, 1]
    assert n_ordinary(units, tokens).tolist() == [1, 0, 1]


def test_words_never_take_special_tokens() -> None:
    tokens = tokens_at([(0, 1)], [], [(0, 1), (1, 2)], lengths=[1, 1, 2])
    units = make_units("word", ["a", "b", "cd"], tokens)
    assert ranges(units)[0] == (1, 2)
    assert ranges(units)[2] == (6, 8)
    assert (units.last - units.first).tolist() == [1, 0, 2]


def test_words_of_all_scripts_take_what_overlaps(tokenizer: Tokenizer) -> None:
    texts = TEXTS + BARE
    assert_words_take_what_overlaps(texts, tokenizer.encode(texts))


@given(st.lists(st.text(max_size=30), max_size=4))
def test_words_of_any_text_take_what_overlaps(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert_words_take_what_overlaps(texts, tokenizer.encode(texts))


def test_a_text_is_one_unit_with_all_its_tokens() -> None:
    tokens = tokens_at([(0, 1), (1, 2)], [], lengths=[2, 0])
    units = make_units("text", ["ab", ""], tokens)
    assert ranges(units) == [(0, 4), (4, 6)]
    assert n_ordinary(units, tokens).tolist() == [2, 0]


def test_each_token_is_a_unit_and_special_ones_say_so() -> None:
    tokens = tokens_at([(0, 1), (1, 2)], [], lengths=[2, 0])
    units = make_units("token", ["ab", ""], tokens)
    assert ranges(units) == [(i, i + 1) for i in range(6)]
    assert units.special.tolist() == [True, False, False, True, True, True]
    assert units.text.tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("pool", "special", "expected"),
    [
        ("mean", "include", [(0, 5), (5, 7)]),
        ("mean", "exclude", [(1, 4), (6, 6)]),
        ("cls", "include", [(0, 1), (5, 6)]),
        ("cls", "exclude", [(0, 1), (5, 6)]),
        ("first", "include", [(1, 2), (6, 6)]),
        ("last", "include", [(3, 4), (6, 6)]),
        ("last", "exclude", [(3, 4), (6, 6)]),
        ("max", "include", [(0, 5), (5, 7)]),
    ],
)
def test_a_pool_takes_these_tokens_of_a_text(pool: Any, special: Any, expected: list[tuple[int, int]]) -> None:
    tokens = tokens_at([(0, 1), (1, 2), (2, 3)], [], lengths=[3, 0])
    units = make_units("text", ["abc", ""], tokens)
    first, last = pooled_tokens(units, tokens, whole=True, pool=pool, special=special)
    found = list(zip(first.tolist(), last.tolist(), strict=True))
    assert found[0] == expected[0]
    assert found[1] == expected[1] or (
        expected[1][0] == expected[1][1] and found[1][0] == found[1][1]
    )  # empty anywhere


@pytest.mark.parametrize(("pool", "expected"), [("first", [1, 3]), ("last", [2, 3])])
def test_first_and_last_take_one_piece_of_a_word(pool: Any, expected: list[int]) -> None:
    tokens = tokens_at([(0, 1), (1, 2), (3, 4)], lengths=[4])
    units = make_units("word", ["ab c"], tokens)
    first, last = pooled_tokens(units, tokens, whole=False, pool=pool, special="include")
    assert first.tolist() == expected
    assert (last - first).tolist() == [1, 1]


def cut_to(tokens: Tokens, units: Units, max_tokens: int) -> tuple[Tokens, Units]:
    keep = kept_tokens(tokens, max_tokens)
    return cut(tokens, keep), units.kept(keep)


def test_cutting_keeps_the_first_tokens_and_marks_what_lost_some() -> None:
    tokens = tokens_at([(0, 1), (1, 2), (3, 4), (4, 5), (6, 7)], [(0, 1)], lengths=[7, 1])
    units = make_units("word", ["ab cd e", "f"], tokens)
    kept, less = cut_to(tokens, units, 5)
    assert kept.ids.tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
    assert kept.bounds.tolist() == [0, 5, 8]
    assert kept.special.tolist() == [True, False, False, False, True, True, False, True]
    assert less.cut.tolist() == [False, True, True, False]
    assert (less.last - less.first).tolist() == [2, 1, 0, 1]
    assert n_ordinary(less, kept).tolist() == [2, 1, 0, 1]
    assert (kept.starts[-4], kept.ends[-4]) == (7, 7)  # the suffix stays where it was


def test_cutting_leaves_short_texts_alone() -> None:
    tokens = tokens_at([(0, 1)], [], lengths=[1, 0])
    units = make_units("text", ["a", ""], tokens)
    kept, less = cut_to(tokens, units, 3)
    assert kept.ids.tolist() == tokens.ids.tolist()
    assert not less.cut.any()


def test_sentences_take_what_overlaps(tokenizer: Tokenizer) -> None:
    texts = ["The river. The bank!", "", "one sentence", *TEXTS]
    tokens = tokenizer.encode(texts)
    units = make_units("sentence", texts, tokens)
    places = [(i, start, end) for i, text in enumerate(texts) for start, end in sentence_ranges([text])[0]]
    assert list(zip(units.text.tolist(), units.starts.tolist(), units.ends.tolist(), strict=True)) == places
    for (first, last), place in zip(ranges(units), places, strict=True):
        assert list(range(first, last)) == overlapping(tokens, *place)


def test_given_words_are_taken_as_they_are(tokenizer: Tokenizer) -> None:
    text = Text.of_words(["New York", "isn't", "a", "河"])
    assert text.text == "New York isn't a 河"
    tokens = tokenizer.encode([text])
    units = make_units("word", [text], tokens)
    assert [text.text[a:b] for a, b in zip(units.starts, units.ends, strict=True)] == ["New York", "isn't", "a", "河"]
    assert all(list(range(*pair)) == overlapping(tokens, 0, int(a), int(b))
               for pair, a, b in zip(ranges(units), units.starts, units.ends, strict=True))  # fmt: skip


def test_spans_are_taken_as_they_are_given_and_may_overlap(tokenizer: Tokenizer) -> None:
    text = Text.with_spans("the river bank", [(4, 14), (0, 9), (4, 4), (3, 4)])
    tokens = tokenizer.encode([text, "no spans"])
    units = make_units("span", [text, "no spans"], tokens)
    assert units.text.tolist() == [0, 0, 0, 0]
    assert (units.last - units.first).tolist() == [2, 2, 0, 0]  # an empty span, and a blank, have no token


@pytest.mark.parametrize("span", [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_a_span_outside_its_text_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="of a text of 3 characters"):
        Text.with_spans("abc", [span])


def test_both_texts_of_a_pair_have_their_rows_and_offsets(tokenizer: Tokenizer) -> None:
    pair = Text("the river", pair="bank the")
    tokens = tokenizer.encode(["a", pair])
    assert [tokenizer.piece(int(i)) for i in tokens.ids[3:]] == [
        "[CLS]", "the", "river", "[SEP]", "bank", "the", "[SEP]",
    ]  # fmt: skip
    assert tokens.types.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert tokens.special.tolist() == [True, False, True, True, False, False, True, False, False, True]
    assert (tokens.fixed.tolist(), tokens.is_pair.tolist()) == ([1, 4], [False, True])
    words = make_units("word", ["a", pair], tokens)
    assert ranges(words) == [(1, 2), (4, 5), (5, 6), (7, 8), (8, 9)]
    assert ranges(make_units("text", ["a", pair], tokens)) == [(0, 3), (3, 7), (7, 10)]
    assert ranges(make_units("pair", ["a", pair], tokens)) == [(0, 3), (3, 10)]
