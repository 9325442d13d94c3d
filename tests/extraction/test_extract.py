"""Proves that every input gets a vector or a clear error: empty, hostile, huge, or no text at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lamina.extraction.regroup
from lamina.errors import LaminaError, SourceError, SpecError, TextError
from lamina.extraction.extractor import Extractor
from lamina.text.text import Text
from tests.samples import BARE, TEXTS


def column(found: Any, name: str) -> list[Any]:
    return list(found.units[name].to_pylist())


@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_no_text_gives_no_row_but_every_column(tiny: Extractor, unit: Any) -> None:
    found = tiny.extract([], unit=unit)
    assert len(found) == found.n_texts == 0
    assert {name: matrix.shape for name, matrix in found.columns.items()} == {"layer_0": (0, 8), "layer_1": (0, 8)}
    assert found.units.schema.equals(tiny.extract(["a"], unit=unit).units.schema)


def test_an_empty_stream_has_no_parts(tiny: Extractor) -> None:
    assert list(tiny.stream([])) == []


BLANK = ["", " ", "\t\r\n", "\x00", "\x01\x02\x1f\x7f", "\u200b\u200d", "\ue000"]


@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_a_text_that_yields_nothing_keeps_its_row_and_says_so(tiny: Extractor, text: str) -> None:
    found = tiny.extract(["the", text, "river"])
    assert column(found, "status") == ["ok", "empty", "ok"]
    assert column(found, "n_tokens") == [1, 0, 1]
    assert (found.units["surface"][1].as_py(), found.units["end"][1].as_py()) == (text, len(text))
    assert np.isfinite(found.layer(1)).all()  # of [CLS] and [SEP]


@pytest.mark.parametrize("options", [{"special": "exclude"}, {"pool": "first"}, {"pool": "last"}], ids=str)
def test_nothing_is_nan_where_special_tokens_do_not_count(tiny: Extractor, options: dict[str, Any]) -> None:
    found = tiny.extract(["the", *BLANK, "river"], **options)
    for layer in found.layers:
        empty = np.isnan(found.layer(layer)).all(axis=1)
        assert empty.tolist() == [False, *[True] * len(BLANK), False]
        assert np.isfinite(found.layer(layer)[~empty]).all()


def test_a_batch_of_nothing_but_empty_texts_is_nan_without_special_tokens(tiny: Extractor) -> None:
    found = tiny.extract(["", " "], special="exclude", combine="mean", normalize=True)
    assert np.isnan(found.combined).all()
    assert column(found, "status") == ["empty", "empty"]


def test_an_empty_text_has_no_words_and_two_special_tokens(tiny: Extractor) -> None:
    assert column(tiny.extract(["", "the", "\x00"], unit="word"), "text_id") == [1]
    assert column(tiny.extract(["", "the"], unit="token"), "token") == ["[CLS]", "[SEP]", "[CLS]", "the", "[SEP]"]


def test_a_nul_inside_a_text_is_kept_in_its_surface(tiny: Extractor) -> None:
    found = tiny.extract(["the\x00river"])
    assert column(found, "surface") == ["the\x00river"]
    assert column(found, "status") == ["ok"]


def test_a_word_that_the_tokenizer_drops_keeps_its_row(tiny: Extractor) -> None:
    found = tiny.extract(["the \u0301 river"], unit="word")  # a lone accent, stripped by an uncased tokenizer
    dropped = column(found, "n_tokens").index(0)
    assert column(found, "status")[dropped] == "dropped"
    assert np.isnan(found.layer(1)[dropped]).all()
    assert np.isfinite(np.delete(found.layer(1), dropped, axis=0)).all()


@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_half_a_surrogate_pair_is_an_error_that_names_its_row(tiny: Extractor, unit: Any) -> None:
    with pytest.raises(TextError, match=r"text 2 holds half a surrogate pair \(U\+D83D\) at character 4") as caught:
        tiny.extract(["the", "river", "one \ud83d", "two"], unit=unit)
    assert caught.value.row == 2


def test_an_error_counts_rows_of_the_input_where_texts_repeat(tiny: Extractor) -> None:
    with pytest.raises(TextError, match="text 3 ") as caught:
        tiny.extract(["the", "the", "the", "\udc00"])
    assert caught.value.row == 3
    with pytest.raises(TextError, match="text 2 has ") as caught:
        tiny.extract(["a", "a", "a " * 20], long="error")
    assert caught.value.row == 2


def test_an_error_counts_rows_of_the_input_over_all_parts(tiny: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.extraction.regroup, "MAX_TEXTS", 3)
    with pytest.raises(TextError, match="text 10 ") as caught:
        list(tiny.stream([*(f"text {i}" for i in range(10)), "\udc00"]))
    assert caught.value.row == 10


@pytest.mark.parametrize(("item", "kind"), [(3, "int"), (None, "null"), (b"the", "bytes"), (("a", "b"), "tuple")])
def test_an_item_that_is_no_string_is_an_error_that_names_its_row(tiny: Extractor, item: Any, kind: str) -> None:
    with pytest.raises((SourceError, TextError), match=rf"\b1\b.*{kind}"):
        tiny.extract(["the", item])


@pytest.mark.parametrize("item", [5, None, b"the"])
def test_a_text_that_holds_no_string_is_an_error(tiny: Extractor, item: Any) -> None:
    with pytest.raises((LaminaError, ValueError)):
        tiny.extract([Text(item)])
    with pytest.raises((LaminaError, ValueError)):
        tiny.extract([Text("the", pair=item if item is not None else 5)])


def test_one_string_is_refused_rather_than_read_letter_by_letter(tiny: Extractor) -> None:
    with pytest.raises(SourceError, match="put it in a list"):
        tiny.extract("the river")


def test_hostile_strings_all_get_a_vector(tiny: Extractor, shared_data: Path) -> None:
    texts = json.loads((shared_data / "naughty_strings" / "blns.json").read_text("utf-8")) + TEXTS + BARE
    found = tiny.extract(texts)
    assert column(found, "surface") == texts
    assert np.isfinite(found.layer(1)).all()
    words = tiny.extract(texts, unit="word")
    assert [
        texts[t][a:b] for t, a, b in zip(*(column(words, n) for n in ("text_id", "start", "end")), strict=True)
    ] == (column(words, "surface"))
    assert (np.isnan(words.layer(1)).all(axis=1) == (np.array(column(words, "n_tokens")) == 0)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6), st.sampled_from(["text", "word", "token"]))
def test_any_text_gets_its_rows_in_order(tiny: Extractor, texts: list[str], unit: Any) -> None:
    found = tiny.extract(texts, unit=unit)
    rows = column(found, "text_id")
    assert rows == sorted(rows)
    if unit == "text":
        assert rows == list(range(len(texts)))
        assert column(found, "surface") == texts
    for layer in found.layers:
        nan = np.isnan(found.layer(layer))
        assert (nan.all(axis=1) == nan.any(axis=1)).all()
        if unit != "text":
            assert (nan.all(axis=1) == (np.array(column(found, "n_tokens")) == 0)).all()


def test_a_million_characters_are_read_whole(minilm: Extractor) -> None:
    text = "The river bends again. " * 43_479
    found = minilm.extract([text], layers=0)
    assert len(text) > 1_000_000
    assert column(found, "n_tokens") == [5 * 43_479]
    assert column(found, "end") == [len(text)]
    assert column(found, "status") == ["ok"]
    assert np.isfinite(found.layer(0)).all()


def test_a_million_characters_without_a_space_are_one_unknown_token(tiny: Extractor) -> None:
    found = tiny.extract(["x" * 1_000_000], unit="token")
    assert column(found, "token") == ["[CLS]", "[UNK]", "[SEP]"]
    assert column(found, "end") == [0, 1_000_000, 1_000_000]


@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_repeated_texts_each_have_their_rows(tiny: Extractor, unit: Any) -> None:
    texts = ["the river", "bank", "the river", "", "bank", "the river"]
    found = tiny.extract(texts, unit=unit)
    once = [tiny.extract([text], unit=unit) for text in texts]
    assert column(found, "text_id") == [i for i, part in enumerate(once) for _ in range(len(part))]
    assert column(found, "surface") == [surface for part in once for surface in column(part, "surface")]
    for layer in found.layers:
        assert np.array_equal(found.layer(layer), np.concatenate([part.layer(layer) for part in once]))


def test_an_iterator_is_read_once_and_whole(tiny: Extractor) -> None:
    texts = [f"text {i}" for i in range(2500)]
    found = tiny.extract((text for text in texts), layers=0)
    assert column(found, "surface") == texts
    assert column(found, "text_id") == list(range(2500))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 17}, "max_tokens is 17; this model takes 3 to 16 tokens, of which 2 are special"),
        ({"max_tokens": 2}, "takes 3 to 16"),
        ({"max_tokens": 0}, "max_tokens must be"),
        ({"stride": 15}, "stride 15 would skip tokens: a window of 16 holds 14"),
        ({"max_tokens": 8, "stride": 7}, "stride 7 would skip tokens: a window of 8 holds 6"),
        ({"stride": 0}, "stride must be"),
        ({"layers": 2}, "layer 2 does not exist: this model has layers 0 to 1"),
        ({"combine": [1, 2, 3]}, "combine has 3 weights for 2 layers"),
        ({"pool": "cls", "unit": "word"}, "one vector a text"),
        ({"batch_tokens": 0}, "batch_tokens must be at least 1"),
        ({"unit": "page"}, "unit must be one of"),
    ],
    ids=str,
)
def test_what_contradicts_the_model_is_refused_before_a_text_is_read(
    tiny: Extractor, options: dict[str, Any], message: str
) -> None:
    def texts() -> Any:
        raise AssertionError("a text was asked for")
        yield

    with pytest.raises(SpecError, match=message):
        tiny.extract(texts(), **options)
    with pytest.raises(SpecError, match=message):
        tiny.stream(texts(), **options)


def test_the_largest_window_and_stride_are_taken(tiny: Extractor) -> None:
    found = tiny.extract(["a " * 50], max_tokens=16, stride=14)
    assert column(found, "n_windows") == [4]
    assert column(tiny.extract(["a b c"], max_tokens=3, stride=1), "n_windows") == [3]
