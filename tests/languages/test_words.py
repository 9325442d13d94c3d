"""Proves that the words of a text are the text's own: whole, once, in order, and the same under every tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from unicodedata import category

import numpy as np
import pyarrow as pa
import pytest

from lamina.extraction.table import units_table
from lamina.text.breaks import word_ranges
from lamina.text.text import Text
from lamina.text.windows import make_segments, make_windows
from tests.languages.conftest import Reading
from tests.languages.corpus import TOKENIZERS

COLUMNS = ["text_id", "start", "end", "surface", "special"]


def word_table(reading: Reading, texts: Sequence[str]) -> pa.Table:
    units, tokens = reading.units["word"], reading.tokens
    windows = make_windows(tokens, max_tokens=512, stride=None)
    segments = make_segments(units.first, units.last, windows)
    return units_table("word", [Text(text) for text in texts], tokens, units, segments, reading.tokenizer)


def test_the_word_table_is_the_same_for_every_tokenizer(read_by: Callable[[str], Reading], texts: list[str]) -> None:
    tables = {name: word_table(read_by(name), texts).select(COLUMNS) for name in TOKENIZERS}
    assert len(tables) == 5
    expected = tables["uncased"]
    assert expected.num_rows > 100_000
    assert [name for name, table in tables.items() if not table.equals(expected)] == []


def test_every_word_is_cut_out_of_its_text(reading: Reading, texts: list[str]) -> None:
    table = word_table(reading, texts)
    places = zip(*(table[name].to_pylist() for name in ("text_id", "start", "end", "surface")), strict=True)
    assert [(i, start) for i, start, end, surface in places if texts[i][start:end] != surface] == []
    assert set(table["status"].to_pylist()) <= {"ok", "dropped"}


def test_every_character_that_shows_is_in_one_word(read_by: Callable[[str], Reading], texts: list[str]) -> None:
    units = read_by("uncased").units["word"]
    words: list[list[tuple[int, int]]] = [[] for _ in texts]
    for i, start, end in zip(units.text.tolist(), units.starts.tolist(), units.ends.tolist(), strict=True):
        words[i].append((start, end))
    for text, of_text in zip(texts, words, strict=True):
        shows = np.array([category(character)[0] not in "ZC" for character in text], np.bool_)
        times = np.zeros(len(text), int)
        for start, end in of_text:
            times[start:end] += 1
            assert shows[start:end].any(), text
        assert (times[shows] == 1).all(), text
        assert (times <= 1).all(), text
        assert of_text == sorted(of_text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Où aller\u202f? Voir\u202f: «\u202fici\u202f»", ["Où", "aller", "?", "Voir", ":", "«", "ici", "»"]),
        ("1\u202f000\u202f€", ["1\u202f000", "€"]),
    ],
)
def test_the_narrow_space_of_french_is_in_no_word_but_between_its_digits(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_ranges(text)] == words
