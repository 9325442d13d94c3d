"""Proves that columns travel along with their texts, row by row, under names that nothing else bears."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lamina.embeddings import Embeddings, concatenate
from lamina.extraction.extractor import Extractor
from lamina.spec import Spec
from lamina.text.source import Rows

TABLE = pa.table({"id": ["x", "y", "z", "w"], "n": [1, 2, None, 4]})
TEXTS: list[Any] = ["the river", "", "the river", "bank"]


def extract(model: Extractor, unit: Any, columns: pa.Table = TABLE) -> Embeddings:
    return concatenate(part[""] for part in model.stream_rows([Rows(TEXTS, columns)], {"": Spec(unit=unit)}))


@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_every_row_bears_the_columns_of_its_text(tiny: Extractor, unit: str) -> None:
    found = extract(tiny, unit).units
    for text_id, name, n in zip(*(found[c].to_pylist() for c in ("text_id", "id", "n")), strict=True):
        assert (name, n) == (TABLE["id"][text_id].as_py(), TABLE["n"][text_id].as_py())
    assert set(found["text_id"].to_pylist()) == ({0, 2, 3} if unit == "word" else {0, 1, 2, 3})
    assert found.schema.field("n").type == pa.int64()


def test_columns_of_several_groups_are_laid_end_to_end(tiny: Extractor) -> None:
    groups = [Rows(TEXTS[:1], TABLE.slice(0, 1)), Rows(TEXTS[1:], TABLE.slice(1))]
    found = concatenate(part[""] for part in tiny.stream_rows(groups, {"": Spec()}))
    assert found.units["id"].to_pylist() == ["x", "y", "z", "w"]


def test_a_name_that_is_taken_gets_a_prefix(tiny: Extractor) -> None:
    taken = {
        "text_id": "t",
        "surface": "s",
        "start": "0",
        "combined": "c",
        "layer_0": "l",
        "layer_x": "y",
        "token": "k",
    }
    found = extract(tiny, "text", pa.table({name: [value] * 4 for name, value in taken.items()})).units
    for name, value in taken.items():
        assert found[f"input_{name}"].to_pylist() == [value] * 4
    assert found["text_id"].to_pylist() == [0, 1, 2, 3]


def test_no_two_columns_ever_bear_one_name(tiny: Extractor) -> None:
    found = extract(tiny, "text", pa.table({"start": ["a"] * 4, "input_start": ["b"] * 4})).units
    assert len(set(found.column_names)) == len(found.column_names)
