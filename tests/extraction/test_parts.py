"""A chunk that is computed in parts gives what it gives in one piece, to the bit, from whichever row on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lamina.embeddings import Embeddings, concatenate
from lamina.extraction import parts as parts_module
from lamina.extraction.extractor import Extractor
from lamina.spec import Spec
from lamina.text.source import rows_of
from lamina.text.text import Text
from tests.samples import SCRIPTS

LONG = " ".join(SCRIPTS.values())  # many windows of 64 tokens
TEXTS = ["", "one word more", LONG, "one word more", "", "a b c"]
UNITS = ("text", "sentence", "word", "token")


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of about seven rows of two layers of 64 numbers."""
    monkeypatch.setattr(parts_module, "room", lambda *_: 7 * 2 * 64 * 4)


def _parts(model: Extractor, texts: list[Any], specs: dict[str, Spec], **how: Any) -> list[dict[str, Embeddings]]:
    return list(model.stream_rows(rows_of(texts), specs, batch_tokens=1, even_if_empty=True, **how))


def _same(found: Embeddings, expected: Embeddings) -> None:
    assert found.units.equals(expected.units)
    assert found.n_texts == expected.n_texts
    for name, matrix in expected.columns.items():
        np.testing.assert_array_equal(found.columns[name], matrix)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("overlap", ["centre", "mean"])
def test_parts_laid_end_to_end_are_the_whole(deep: Extractor, in_parts: None, unit: Any, overlap: Any) -> None:
    specs = {"": Spec(layers="3,7", unit=unit, overlap=overlap)}
    found = [part[""] for part in _parts(deep, TEXTS, specs)]
    assert unit == "text" or len(found) > 1
    assert max(len(part) for part in found) <= 8
    with pytest.MonkeyPatch.context() as whole:
        whole.setattr(parts_module, "room", lambda *_: 1 << 30)
        (expected,) = _parts(deep, TEXTS, specs)
    _same(concatenate(found), expected[""])


def test_each_text_ends_in_one_part_with_its_last_row(deep: Extractor, in_parts: None) -> None:
    ended = 0
    for part in _parts(deep, TEXTS, {"": Spec(layers="3,7", unit="word")}):
        ids = part[""].units.column("text_id").to_pylist()
        ended += part[""].n_texts
        assert all(text <= ended for text in ids)
        assert [text for text in ids if text < ended - part[""].n_texts] == []
    assert ended == len(TEXTS)


def test_several_tables_keep_in_step(deep: Extractor, in_parts: None) -> None:
    specs = {unit: Spec(layers="3,7", unit=unit) for unit in UNITS}  # type: ignore[arg-type]
    found = _parts(deep, TEXTS, specs)
    assert len(found) > 10
    expected = deep.extract_views(TEXTS, specs)
    for unit in UNITS:
        _same(concatenate(part[unit] for part in found), concatenate([expected[unit]]))


@pytest.mark.parametrize("unit", ["word", "token", "sentence"])
@pytest.mark.parametrize("small", [True, False])
def test_what_begins_later_is_the_rest(
    deep: Extractor, monkeypatch: pytest.MonkeyPatch, unit: Any, small: bool
) -> None:
    if small:
        monkeypatch.setattr(parts_module, "room", lambda *_: 7 * 2 * 64 * 4)
    specs = {"": Spec(layers="3,7", unit=unit)}
    whole = deep.extract(TEXTS, layers="3,7", unit=unit)
    ids = whole.units.column("text_id").to_numpy()
    for text in range(len(TEXTS) + 1):
        first = int(np.searchsorted(ids, text))
        n_rows = int((ids == text).sum())
        for row in {0, 1, n_rows // 2, n_rows} if n_rows else {0}:
            rest = concatenate(part[""] for part in _parts(deep, TEXTS, specs, starts={"": (text, row)}))
            assert rest.n_texts == len(TEXTS) - text
            assert rest.units.equals(whole.units.slice(first + row))
            np.testing.assert_array_equal(rest.layer(7), whole.layer(7)[first + row :])


def test_tables_may_begin_at_different_rows(deep: Extractor, in_parts: None) -> None:
    specs = {"words": Spec(layers="3,7", unit="word"), "texts": Spec(layers="3")}
    whole = deep.extract_views(TEXTS, specs)
    found = _parts(deep, TEXTS, specs, starts={"words": (2, 11), "texts": (4, 0)})
    words, texts = (concatenate(part[name] for part in found) for name in specs)
    before = int(np.searchsorted(whole["words"].units.column("text_id").to_numpy(), 2)) + 11
    assert words.units.equals(whole["words"].units.slice(before))
    np.testing.assert_array_equal(words.layer(3), whole["words"].layer(3)[before:])
    assert (texts.n_texts, words.n_texts) == (2, 4)
    np.testing.assert_array_equal(texts.layer(3), whole["texts"].layer(3)[4:])


def test_spans_in_any_order_and_pairs_come_in_parts_too(deep: Extractor, in_parts: None) -> None:
    spans = tuple((start, start + 9) for start in [*range(0, 400, 7), *range(300, 0, -11)])
    for texts, unit in (([Text(LONG, spans=spans)], "span"), ([Text("Where?", pair=LONG)], "word")):
        found = _parts(deep, texts, {"": Spec(layers="3,7", unit=unit)})  # type: ignore[arg-type]
        assert len(found) > 5
        _same(concatenate(part[""] for part in found), deep.extract(texts, layers="3,7", unit=unit))  # type: ignore[arg-type]


def test_a_chunk_that_fits_is_not_touched(deep: Extractor) -> None:
    assert len(_parts(deep, TEXTS, {"": Spec(layers="3,7", unit="token")})) == 1
