"""Proves that units are the text's and not the windows', which tokens each takes, and that none is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from lamina.extraction.table import units_table
from lamina.spec import Overlap, Unit
from lamina.text.text import Text
from lamina.text.units import n_ordinary
from lamina.text.windows import Segments, make_segments, make_windows
from tests.languages.conftest import KINDS, Reading

WINDOW = 16
UNCUT = 1_000_000


def segments_of(reading: Reading, kind: Unit, *, max_tokens: int, overlap: Overlap = "centre") -> Segments:
    units = reading.units[kind]
    windows = make_windows(reading.tokens, max_tokens=max_tokens, stride=None, overlap=overlap)
    return make_segments(units.first, units.last, windows)


def table_of(reading: Reading, kind: Unit, texts: Sequence[str], segments: Segments) -> pa.Table:
    held = [Text(text) for text in texts]
    return units_table(kind, held, reading.tokens, reading.units[kind], segments, reading.tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_the_same_however_the_text_is_cut(reading: Reading, texts: list[str], kind: Unit) -> None:
    tables = [table_of(reading, kind, texts, segments_of(reading, kind, max_tokens=size)) for size in (UNCUT, WINDOW)]
    uncut, cut = (table.drop_columns("n_windows") for table in tables)
    assert cut.equals(uncut)
    n_uncut, n_cut = (table["n_windows"].to_numpy() for table in tables)
    units = reading.units[kind]
    assert np.array_equal(n_uncut, (units.first < units.last).astype(int))
    assert (n_cut >= n_uncut).all()
    assert (n_cut == 1).all() if kind == "token" else (n_cut > 1).any()


@pytest.mark.parametrize("kind", KINDS)
def test_windows_divide_the_tokens_of_every_unit_among_themselves(reading: Reading, kind: Unit) -> None:
    units = reading.units[kind]
    segments = segments_of(reading, kind, max_tokens=WINDOW)
    order = np.lexsort((segments.first, segments.unit))
    unit, first, last = segments.unit[order], segments.first[order], segments.last[order]
    is_first = np.concatenate(([True], unit[1:] != unit[:-1]))
    assert np.array_equal(unit[is_first], np.flatnonzero(units.first < units.last))
    assert np.array_equal(first[is_first], units.first[unit[is_first]])
    assert np.array_equal(last[np.roll(is_first, -1)], units.last[unit[is_first]])
    assert np.array_equal(first[1:][~is_first[1:]], last[:-1][~is_first[1:]])  # the next one begins where one ends


@pytest.mark.parametrize("kind", ["word", "sentence"])
def test_units_take_the_tokens_that_overlap_them(reading: Reading, texts: list[str], kind: Unit) -> None:
    """The slow twin, on 200 texts: every token of the text is held against every unit's characters.

    A byte-level token of a space alone, which has no character, is taken where it stands strictly inside.
    """
    units, tokens = reading.units[kind], reading.tokens
    chosen = np.random.default_rng(0).permutation(len(texts))[:200]
    places = list(zip(range(tokens.ids.size), tokens.starts.tolist(), tokens.ends.tolist(), strict=True))
    of_text = {int(i): places[tokens.bounds[i] : tokens.bounds[i + 1]] for i in chosen}
    n_compared = 0
    for u in np.flatnonzero(np.isin(units.text, chosen)).tolist():
        text = int(units.text[u])
        start, end = int(units.starts[u]), int(units.ends[u])
        expected = [t for t, low, high in of_text[text] if low < end and high > start]
        assert list(range(int(units.first[u]), int(units.last[u]))) == expected, texts[text][start:end]
        n_compared += 1
    assert n_compared > (5000 if kind == "word" else 300)


def test_the_tokens_of_the_words_and_those_left_out_are_all_tokens(reading: Reading, texts: list[str]) -> None:
    """A token that several words share counts as often; which ones do is found character by character."""
    words, tokens = reading.units["word"], reading.tokens
    origins = np.concatenate(([0], np.cumsum(tokens.lengths)))
    word_at = np.full(origins[-1], -1)
    for u, start, end in zip(range(len(words)), words.starts.tolist(), words.ends.tolist(), strict=True):
        origin = origins[words.text[u]]
        word_at[origin + start : origin + end] = u
    flat = word_at.tolist()
    low, high = ((origins[tokens.text_index] + ends).tolist() for ends in (tokens.starts, tokens.ends))
    # Of each token; one without a character is in a word that stands on both its sides.
    n_words = np.array(
        [
            len({*flat[a:b]} - {-1}) if a < b else int(0 < a < len(flat) and flat[a - 1] == flat[a] != -1)
            for a, b in zip(low, high, strict=True)
        ]
    )
    assert (n_words[tokens.special] == 0).all()
    ordinary = n_words[~tokens.special]
    n_left_out, n_shared = int((ordinary == 0).sum()), int((ordinary - 1).clip(0).sum())
    n_tokens = np.bincount(words.text, weights=n_ordinary(words, tokens), minlength=len(texts))
    per_text = np.bincount(tokens.text_index, weights=n_words, minlength=len(texts))
    assert np.array_equal(n_tokens, per_text)
    assert int(n_tokens.sum()) + n_left_out - n_shared == ordinary.size
    left_out = np.flatnonzero((n_words == 0) & ~tokens.special)
    shown = (texts[tokens.text_index[t]][tokens.starts[t] : tokens.ends[t]] for t in left_out)
    assert not any(character.isalnum() for surface in shown for character in surface)
