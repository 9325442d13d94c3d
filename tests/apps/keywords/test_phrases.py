"""Proves which runs of words are phrases: by hand, in several scripts, and against a slow twin."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest

from lamina.apps.keywords import find_phrases
from lamina.apps.keywords.phrases import common_words
from lamina.apps.keywords.stop_words import ENGLISH
from lamina.errors import SpecError
from lamina.text.breaks import sentence_ranges, word_ranges
from tests.samples import SCRIPTS


def units(*texts: str, **columns: list[object]) -> pa.Table:
    """The units table of the texts' words, with the columns a word table needs here."""
    rows = [
        {"text_id": k, "surface": text[a:b], "start": a, "end": b, **{name: of[k] for name, of in columns.items()}}
        for k, text in enumerate(texts)
        for a, b in word_ranges(text)
    ]
    return pa.Table.from_pylist(rows)


def sentences(*texts: str) -> pa.Table:
    found = [(k, a, b) for k, ranges in enumerate(sentence_ranges(list(texts))) for a, b in ranges]
    return pa.table({name: [row[n] for row in found] for n, name in enumerate(("text_id", "start", "end"))})


def names(*texts: str, **options: object) -> list[str]:
    return list(find_phrases(units(*texts), **options).names)  # type: ignore[arg-type]


def test_phrases_cross_no_punctuation_and_begin_and_end_with_no_stop_word() -> None:
    text = "The bank of England, a red brick."
    assert names(text, stop_words=ENGLISH) == ["bank", "bank of England", "England", "red", "red brick", "brick"]
    assert names(text, stop_words=ENGLISH, max_words=1) == ["bank", "England", "red", "brick"]
    assert "The bank" in names(text)


def test_what_a_joiner_holds_together_is_one_word() -> None:
    assert names("A well-known R&D team", max_words=2, stop_words=ENGLISH) == [
        "well-known", "well-known R&D", "R&D", "R&D team", "team",
    ]  # fmt: skip
    assert names("He came - late", max_words=2) == ["He", "He came", "came", "late"]
    assert names("- a -", stop_words={"a"}) == []


def test_a_sentence_ends_without_a_full_stop_where_it_is_known() -> None:
    text = "Cold rain\nWarm wind"
    assert "rain Warm" in names(text)
    assert names(text, sentences=sentences(text)) == ["Cold", "Cold rain", "rain", "Warm", "Warm wind", "wind"]


def test_numbers_alone_are_no_phrase() -> None:
    assert names("50 1999 Super 50") == ["50 1999 Super", "1999 Super", "1999 Super 50", "Super", "Super 50"]


def test_words_without_spaces_are_written_so() -> None:
    found = find_phrases(units("河水流向大海。"), max_words=2)
    assert "大海" in found.names
    assert not any(" " in name for name in found.names)


def test_the_same_phrase_is_one_with_every_place() -> None:
    found = find_phrases(units("Snow fell. snow fell", "SNOW"), max_words=1)
    assert found.names == ("Snow", "fell", "SNOW")
    assert found.documents == (0, 1)
    assert found.phrase.tolist() == [0, 0, 1, 1, 2]
    assert found.first.tolist() == [0, 3, 1, 4, 5]
    assert find_phrases(units("Snow fell. snow fell", "SNOW"), max_words=1, min_count=2).names == ("Snow", "fell")


def test_texts_with_one_value_are_one_document() -> None:
    table = units("Snow fell.", "Rain fell.", "Loud music.", "Lost.", kind=["a", "b", "a", None])
    found = find_phrases(table, max_words=1, by="kind")
    assert found.documents == ("a", "b")
    assert found.names == ("Snow", "fell", "Loud", "music", "Rain", "fell")
    assert found.texts[:, :2].tolist() == [[0, 0], [0, 2], [1, 1]]


@pytest.mark.parametrize("script", SCRIPTS)
def test_as_a_slow_twin_has_it(script: str) -> None:
    """Every run of one to three words, each condition tested on its own, in texts without joiners."""
    text = SCRIPTS[script].replace("-", " ").replace("'", " ").replace("’", " ").replace("&", " ")
    words, stops = word_ranges(text), {"the", "a", "на", "le"}
    expected: dict[str, int] = {}
    for first in range(len(words)):
        for last in range(first, min(first + 3, len(words))):
            run = words[first : last + 1]
            shown = [text[a:b] for a, b in run]
            if not all(any(c.isalnum() for c in one) for one in shown) or not any(c.isalpha() for c in "".join(shown)):
                continue
            if shown[0].casefold() in stops or shown[-1].casefold() in stops:
                continue
            gaps = ["", *(" " if b > a else "" for (_, a), (b, _) in pairwise(run))]
            name = "".join(gap + one for gap, one in zip(gaps, shown, strict=True)).casefold()
            expected[name] = expected.get(name, 0) + 1
    found = find_phrases(units(text), stop_words=stops)
    places = {name.casefold(): int((found.phrase == k).sum()) for k, name in enumerate(found.names)}
    assert places == expected


def test_common_words_are_those_of_many_texts() -> None:
    table = units(*(f"the river {k} flows" if k % 4 else f"The ship {k}" for k in range(40)))
    assert common_words(table) == {"the", "river", "flows", "ship"}
    assert common_words(table, share=0.5) == {"the", "river", "flows"}
    with pytest.raises(SpecError, match="20 are needed"):
        common_words(units("one text"))


def test_nothing_has_no_phrase() -> None:
    empty = units("a b").slice(0, 0)
    assert len(find_phrases(empty)) == 0
    assert find_phrases(units("... !?")).documents == (0,)


@pytest.mark.parametrize("options", [{"max_words": 0}, {"by": "nothing"}])
def test_what_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        find_phrases(units("one text"), **options)  # type: ignore[arg-type]
