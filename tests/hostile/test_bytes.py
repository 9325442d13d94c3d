"""Bytes that are no text, or hardly: invalid UTF-8, marks, NULs, line ends of every kind, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.errors import SourceError
from lamina.text.source import Source
from lamina.text.text import Unreadable, as_text

WRAPPED = {"txt": b"%s\n", "csv": b"text\n%s\n", "tsv": b"text\n%s\n", "jsonl": b'{"text": "%s"}\n', "conll": b"%s O\n"}


def texts(path: Path, **options: Any) -> list[str]:
    return [as_text(text).text for rows in Source(str(path), **options).rows() for text in rows.texts]


@pytest.mark.parametrize("format", WRAPPED)
def test_bytes_that_are_no_utf8_are_refused_or_replaced_as_python_does(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"in.{format}"
    for broken in (b"caf\xe9", b"!\xff\xfe", b"a\xc0\x80b", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"x\x80"):
        path.write_bytes(WRAPPED[format] % broken)
        with pytest.raises(SourceError, match=r"line \d: byte 0x[0-9A-F]{2} is no UTF-8 \(.*\), [\d,]+ bytes in"):
            texts(path)
        assert texts(path, errors="replace") == [broken.decode(errors="replace")]


def test_parquet_with_strings_that_are_none_is_refused_or_replaced(tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"caf\xe9", b""]).view(pa.string())  # as writers without a check leave them
    table = pa.table({"text": broken, "other": pa.array([b"\xff", b"a", b"b"]).view(pa.string())})
    table = table.append_column("words", pa.array([["a"], ["b"], ["c"]]))
    pq.write_table(table, tmp_path / "in.parquet")
    source = Source(str(tmp_path / "in.parquet"), text="text")
    with pytest.raises(SourceError, match=r"in\.parquet.*row 0: column 'other' holds a string of which byte 0xFF"):
        list(source.rows())
    (rows,) = source.rows(on_error="mark")
    assert [isinstance(text, Unreadable) for text in rows.texts] == [True, True, False]
    assert rows.columns["other"].to_pylist() == [None, "a", "b"]
    (rows,) = Source(str(tmp_path / "in.parquet"), text="text", errors="replace").rows()
    assert rows.texts == ["fine", "caf\ufffd", ""]
    assert rows.columns["other"].to_pylist() == ["\ufffd", "a", "b"]


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
@pytest.mark.parametrize("format", WRAPPED)
def test_a_file_in_utf16_is_told_so(tmp_path: Path, format: str, mark: bytes) -> None:
    path = tmp_path / f"in.{format}"
    path.write_bytes(mark + "text\n".encode("utf-16-le" if mark[0] == 0xFF else "utf-16-be"))
    with pytest.raises(SourceError, match="begins with the mark of UTF-16: save it as UTF-8"):
        texts(path)


def test_one_mark_at_the_beginning_is_no_text_and_any_other_is(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfa\n\xef\xbb\xbfb")
    assert texts(path) == ["\ufeffa", "\ufeffb"]


@given(
    st.lists(st.text("ab \r\0\x0b\x0c\x1c\x85\u2028é", max_size=8), max_size=6),
    st.lists(st.sampled_from(["\n", "\r\n"]), min_size=6),
)
def test_lines_of_text_end_at_a_line_feed_and_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], ends: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "mixed.txt"
    path.write_bytes("".join(line + end for line, end in zip(lines, ends, strict=False)).encode())
    assert texts(path) == [
        line.removesuffix("\r") if end == "\n" else line for line, end in zip(lines, ends, strict=False)
    ]


def test_ids_that_come_twice_travel_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,text\n1,a\n1,b\n1,a\n")
    (rows,) = Source(str(path)).rows()
    assert (rows.texts, rows.columns["id"].to_pylist()) == (["a", "b", "a"], ["1", "1", "1"])


@pytest.mark.parametrize("name", ["a\0b.txt", "x" * 5_000 + ".txt"])
def test_a_name_that_no_file_can_have_is_refused(name: str) -> None:
    source = Source(name)
    assert source.can_be_read_twice
    with pytest.raises(SourceError, match="cannot be read"):
        list(source.rows())
