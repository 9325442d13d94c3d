"""Proves that words and sentences are what Unicode says, cover every character that shows, and never overlap."""

from __future__ import annotations

import json
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.text.breaks import is_blank, sentence_ranges, word_ranges
from tests.samples import BARE, SCRIPTS, TEXTS


def surfaces(text: str) -> list[str]:
    return [text[start:end] for start, end in word_ranges(text)]


def shows(character: str) -> bool:
    """Whether a character is neither white space nor control, format, private or unassigned."""
    return category(character)[0] not in "ZC"


def assert_covers(ranges: list[tuple[int, int]], text: str) -> None:
    """Ranges are in order, disjoint, not blank, and hold every character that shows."""
    covered: set[int] = set()
    previous = 0
    for start, end in ranges:
        assert previous <= start < end <= len(text)
        assert any(shows(c) for c in text[start:end])
        covered.update(range(start, end))
        previous = end
    assert [i for i, c in enumerate(text) if shows(c) and i not in covered] == []


def assert_words_and_sentences_cover(text: str) -> None:
    assert_covers(word_ranges(text), text)
    assert_covers(sentence_ranges([text])[0], text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The bank, raised it.", ["The", "bank", ",", "raised", "it", "."]),
        ("don't can’t", ["don't", "can’t"]),
        ("3.14 1,000 2x", ["3.14", "1,000", "2x"]),
        ("wait... (no)", ["wait", ".", ".", ".", "(", "no", ")"]),
        ("snake_case e-mail", ["snake_case", "e", "-", "mail"]),
        ("Cafe\u0301 noir", ["Cafe\u0301", "noir"]),
        ("नदी बहती", ["नदी", "बहती"]),
        ("שָׁלוֹם לָךְ", ["שָׁלוֹם", "לָךְ"]),
        ("강물은 흐른다", ["강물은", "흐른다"]),
        ("東京で待つ。", ["東京", "で", "待つ", "。"]),
        ("ภาษาไทย", ["ภาษา", "ไทย"]),
        ("我们喜欢音乐", ["我们", "喜欢", "音乐"]),
        ("👩‍👩‍👧‍👦!", ["👩‍👩‍👧‍👦", "!"]),  # one family, seven code points
        ("👋🏽👋", ["👋🏽", "👋"]),  # a skin tone stays with its hand
        ("🇫🇷🇩🇪", ["🇫🇷", "🇩🇪"]),
        ("𐌰𐌷𐍅𐌰 𝒇x", ["𐌰𐌷𐍅𐌰", "𝒇x"]),  # offsets count characters, not UTF-16 units
        ("😀a😀", ["😀", "a", "😀"]),
        ("a\u2028b\x85c", ["a", "b", "c"]),
        ("a\u00a0b\u3000c", ["a", "b", "c"]),
        ("a\x00b", ["a", "b"]),
    ],
)
def test_words_are_those_that_a_reader_sees(text: str, words: list[str]) -> None:
    assert surfaces(text) == words


@pytest.mark.parametrize("text", ["", " ", "\t\r\n", "\x00", "\u200b", "\u2028", "\ue000", "  \u3000\x1f "], ids=ascii)
def test_what_does_not_show_holds_no_word_and_no_sentence(text: str) -> None:
    assert word_ranges(text) == []
    assert sentence_ranges([text])[0] == []
    assert is_blank(text)


@pytest.mark.parametrize("text", TEXTS, ids=list(SCRIPTS))
def test_words_and_sentences_cover_all_that_shows_in_every_script(text: str) -> None:
    assert_words_and_sentences_cover(text)


@pytest.mark.parametrize("text", BARE, ids=ascii)
def test_words_and_sentences_cover_all_that_shows_in_next_to_nothing(text: str) -> None:
    assert_words_and_sentences_cover(text)


def test_words_and_sentences_cover_all_that_shows_in_hostile_strings(shared_data: Path) -> None:
    texts = json.loads((shared_data / "naughty_strings" / "blns.json").read_text("utf-8"))
    assert len(texts) > 500
    for text in texts:
        assert_words_and_sentences_cover(text)


@settings(max_examples=500)
@given(st.text(max_size=60))
def test_words_and_sentences_cover_all_that_shows_in_any_text(text: str) -> None:
    assert_words_and_sentences_cover(text)


@given(st.lists(st.sampled_from("a é1.,'_-\u0301\u200d👩👋🏽🇫🇷नी東タไ\n\r\x00\u00a0𐌰"), max_size=30).map("".join))
def test_words_and_sentences_cover_all_that_shows_where_rules_meet(text: str) -> None:
    assert_words_and_sentences_cover(text)


def test_a_long_text_is_cut_as_its_parts_are() -> None:
    part = "One river, two banks. "
    once = word_ranges(part)
    n = 2000
    expected = [(start + i * len(part), end + i * len(part)) for i in range(n) for start, end in once]
    assert word_ranges(part * n) == expected


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One river. Two banks!  Three?", ["One river.", "Two banks!", "Three?"]),
        ("Mr. Bank met her. She left.", ["Mr. Bank met her.", "She left."]),
        ("It cost 3.14 euros. Really.", ["It cost 3.14 euros.", "Really."]),
        ("one line\nanother line", ["one line", "another line"]),
        ("河水流向大海。银行加息了！", ["河水流向大海。", "银行加息了！"]),
        ("नदी बहती है। वर्षा होती है।", ["नदी बहती है।", "वर्षा होती है।"]),
        ("ฝนตกหนัก แม่น้ำไหลช้า", ["ฝนตกหนัก", "แม่น้ำไหลช้า"]),
        ("no end", ["no end"]),
        ("  \n 😀. Yes.\t", ["😀.", "Yes."]),
    ],
)
def test_sentences_are_those_that_a_reader_sees(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_ranges([text])[0]] == sentences


def test_texts_broken_together_have_the_sentences_that_each_has_alone() -> None:
    texts = [*SCRIPTS.values(), "", "\n", "ends.\n", "One. Two.\u2029Three.", "\u2029", "a\r\nb. C", " ", "x"]
    assert sentence_ranges(texts) == [sentence_ranges([text])[0] for text in texts]
    assert sentence_ranges([]) == []
