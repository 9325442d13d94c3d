"""Proves that a text longer than what was allowed is an error of its row, whatever the format."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lamina.errors import SourceError, SpecError
from lamina.text.source import Source
from lamina.text.text import Unreadable

TEXTS = ["four", "x" * 11, "x" * 10, "银行" * 5, "银行" * 6]


def _file(folder: Path, name: str) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": TEXTS}), path)
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    else:
        path.write_text("\n".join(TEXTS) + "\n")
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_longer_texts_are_marked_and_the_others_are_not_touched(tmp_path: Path, name: str) -> None:
    source = Source(str(_file(tmp_path, name)), longest=10)
    texts = [text for rows in source.rows(on_error="mark") for text in rows.texts]
    assert [isinstance(text, Unreadable) for text in texts] == [False, True, False, False, True]
    assert [texts[i] for i in (0, 2, 3)] == [TEXTS[i] for i in (0, 2, 3)]
    assert str(texts[1].reason) == "row 1 has a text of 11 characters, more than 10"


def test_it_stops_where_errors_stop(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="row 4 has a text of 12 characters, more than 11"):
        list(Source(str(_file(tmp_path, "a.txt")), longest=11).rows())


def test_a_bound_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at least 1 character"):
        Source(str(_file(tmp_path, "a.txt")), longest=0).rows()
