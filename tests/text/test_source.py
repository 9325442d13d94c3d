"""Proves that texts come out of files as they were put in, with their columns, or with an error that names the row."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lamina.text.source
from lamina.errors import LaminaError, SourceError
from lamina.text.source import Rows, Source, rows_of
from tests.samples import BARE, TEXTS


def read(path: Path, **options: Any) -> list[Rows]:
    return list(Source(str(path), **options).rows())


def texts_of(rows: list[Rows]) -> list[str]:
    return [text for group in rows for text in group.texts]


def columns_of(rows: list[Rows]) -> dict[str, list[Any]]:
    return pa.concat_tables([group.columns for group in rows]).to_pydict()


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Plain text


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("", []),
        ("\n", [""]),
        ("one", ["one"]),
        ("one\n", ["one"]),
        ("one\n\ntwo\n", ["one", "", "two"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("a\rb\nc\u2028d\x85e\x0cf\n", ["a\rb", "c\u2028d\x85e\x0cf"]),
        ("\ufeffone\ntwo", ["one", "two"]),
        ("one\n\ufefftwo", ["one", "\ufefftwo"]),
        (' "quoted", not \\n cut\t\n', [' "quoted", not \\n cut\t']),
        ("nul\x00inside\n", ["nul\x00inside"]),
    ],
    ids=ascii,
)
def test_a_line_is_a_text(tmp_path: Path, content: str, texts: list[str]) -> None:
    rows = read(written(tmp_path / "a.txt", content))
    assert texts_of(rows) == texts
    assert all(group.columns.num_columns == 0 for group in rows)


@pytest.mark.parametrize("format", ["txt", "csv", "tsv", "jsonl"])
def test_standard_input_is_read_as_a_file_is(monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    content = {"txt": "one\ntwo\n", "csv": "text\none\ntwo\n", "tsv": "text\none\ntwo\n"}
    content["jsonl"] = '{"text": "one"}\n{"text": "two"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content[format].encode())))
    assert texts_of(list(Source("-", format=format).rows())) == ["one", "two"]


def test_standard_input_is_plain_text_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("text\nеще один".encode())))
    assert texts_of(list(Source("-").rows())) == ["text", "еще один"]


def test_parquet_from_standard_input_is_refused() -> None:
    with pytest.raises(SourceError, match="give a file"):
        list(Source("-", format="parquet").rows())


# Comma and tab separated values


def test_every_value_of_a_csv_is_the_string_that_was_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "id,text,n\n007,one,1\n008,,1.50\n,NA,x\n")
    rows = read(path)
    assert texts_of(rows) == ["one", "", "NA"]
    assert columns_of(rows) == {"id": ["007", "008", ""], "n": ["1", "1.50", "x"]}
    assert set(rows[0].columns.schema.types) == {pa.string()}


def test_quotes_in_a_csv_hold_commas_newlines_and_quotes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'text,b\r\n"one, ""two""\r\nthree\nfour",x\r\n"",y\r\n')
    rows = read(path)
    assert texts_of(rows) == ['one, "two"\r\nthree\nfour', ""]
    assert columns_of(rows) == {"b": ["x", "y"]}


def test_a_quote_in_a_tsv_is_a_quote(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tb\n"Oh", he said\t"\nno "end\t1\n')
    rows = read(path)
    assert texts_of(rows) == ['"Oh", he said', 'no "end']
    assert columns_of(rows) == {"b": ['"', "1"]}


def test_columns_without_a_header_can_be_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "4.2\tone\n5.0\ttwo\n")
    rows = read(path, columns=("score", "first"), text="first")
    assert texts_of(rows) == ["one", "two"]
    assert columns_of(rows) == {"score": ["4.2", "5.0"]}


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_line_ends_and_byte_order_marks_are_no_part_of_a_value(tmp_path: Path, start: str, end: str) -> None:
    path = written(tmp_path / "a.csv", start + end.join(["text,b", "one,1", "two,2", ""]))
    rows = read(path)
    assert texts_of(rows) == ["one", "two"]
    assert columns_of(rows) == {"b": ["1", "2"]}


def test_blank_lines_are_rows_only_where_there_is_one_column(tmp_path: Path) -> None:
    assert texts_of(read(written(tmp_path / "a.csv", "text,b\none,1\n\ntwo,2\n"))) == ["one", "two"]
    assert texts_of(read(written(tmp_path / "b.csv", "text\none\n\ntwo\n"))) == ["one", "", "two"]


def test_a_value_may_be_longer_than_the_csv_module_expects(tmp_path: Path) -> None:
    long = "word " * 100_000
    assert texts_of(read(written(tmp_path / "a.csv", f'text,b\n"{long}",1\n'))) == [long]


values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(values, values), max_size=8))
def test_a_csv_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "b"), *rows])
    found = read(path)
    assert texts_of(found) == [text for text, _ in rows]
    assert [b for group in found for b in group.columns.column("b").to_pylist()] == [b for _, b in rows]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,b\none,1\ntwo\n", "line 3: 1 values for 2 columns"),
        ("a.csv", "text,b\none,1,2\n", "line 2: 3 values for 2 columns"),
        ("a.csv", 'text,b\none,1\n"two,2\n', "line 3"),
        ("a.csv", 'text,b\n"one"x,1\n', "line 2"),
        ("a.csv", "text,text\none,1\n", "two columns of one name"),
        ("a.tsv", "text\tb\none,1\n", "line 2: 1 values for 2 columns"),
    ],
)
def test_a_row_that_does_not_fit_is_named_by_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(written(tmp_path / name, content))


# JSON lines


def test_jsonl_keeps_what_other_separators_would_cut(tmp_path: Path) -> None:
    texts = [*TEXTS, *BARE]
    for ensure_ascii in (True, False):
        lines = [json.dumps({"text": text, "n": i}, ensure_ascii=ensure_ascii) for i, text in enumerate(texts)]
        rows = read(written(tmp_path / "a.jsonl", "\n".join(lines)))
        assert texts_of(rows) == texts
        assert columns_of(rows) == {"n": list(range(len(texts)))}


def test_jsonl_skips_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ndjson", '\ufeff{"text": "one"}\r\n\r\n  \n{"text": "two"}')
    assert texts_of(read(path)) == ["one", "two"]


def test_jsonl_columns_keep_their_types_and_may_be_missing(tmp_path: Path) -> None:
    lines = [
        {"text": "one", "n": 1, "x": 0.5, "tags": ["a", 1], "flag": True, "no": None},
        {"x": 2.5, "text": "two", "n": 2, "flag": False, "tags": {"b": "é"}},
    ]
    rows = read(written(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines))))
    assert columns_of(rows) == {
        "n": [1, 2], "x": [0.5, 2.5], "tags": ['["a", 1]', '{"b": "é"}'], "flag": [True, False], "no": [None, None],
    }  # fmt: skip


@given(st.lists(values, max_size=8), st.booleans())
def test_jsonl_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], ensure_ascii: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    written(path, "".join(json.dumps({"text": text}, ensure_ascii=ensure_ascii) + "\n" for text in texts))
    assert texts_of(read(path)) == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "one"}\n{"text": ', "line 2 is no JSON"),
        ('{"text": "one"}\n["two"]', "line 2: expected an object, found a list"),
        ('{"text": "one"}\n"two"', "line 2: expected an object, found a str"),
        ("[" * 100_000, "line 1 is no JSON"),
        ('{"text": "one"}\n{"text": 2}', "row 1 of column 'text' is an int, not a string"),
        ('{"text": null}', r"row 0 .* empty \(null\)"),
        ('{"text": "one"}\n{"txt": "two"}', r"row 1 .* empty \(null\)"),
    ],
    ids=lambda value: value[:40],
)
def test_a_line_that_holds_no_text_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(written(tmp_path / "a.jsonl", content))


@pytest.mark.parametrize("second", ['"x"', "true", "[1]", "9" * 30, '"\\ud800"'], ids=lambda value: value[:8])
def test_a_column_of_mixed_kinds_is_refused_by_its_name(tmp_path: Path, second: str) -> None:
    path = written(tmp_path / "a.jsonl", f'{{"text": "one", "n": 1}}\n{{"text": "two", "n": {second}}}\n')
    with pytest.raises(SourceError, match=r"row 1: column 'n' holds .* does not fit the column's kind, int64"):
        read(path)
    assert texts_of(read(path, keep=())) == ["one", "two"]


def test_a_column_keeps_the_kind_of_its_first_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.text.source, "ROWS", 2)
    lines = [json.dumps({"text": "t", "n": n}) for n in (1, 2, 3, "four")]
    with pytest.raises(SourceError, match="row 3: column 'n' holds a str"):
        read(written(tmp_path / "a.jsonl", "\n".join(lines)))


# Parquet


def test_parquet_gives_texts_and_typed_columns(tmp_path: Path) -> None:
    table = pa.table({"n": pa.array([1, None, 3], pa.int16()), "text": TEXTS[:3], "tags": pa.array([["a"], [], None])})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read(tmp_path / "a.parquet")
    assert texts_of(rows) == TEXTS[:3]
    assert pa.concat_tables([group.columns for group in rows]).equals(table.drop_columns("text"))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()])
def test_parquet_strings_of_every_kind_are_texts(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"text": pa.array(["one", "two", "one"]).cast(kind)}), tmp_path / "a.parquet")
    assert texts_of(read(tmp_path / "a.parquet")) == ["one", "two", "one"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array(["one", None]), r"row 1 .* empty \(null\)"),
        (pa.array([1, 2]), "row 0 .* is int64, not a string"),
        (pa.array([b"one", b"\xff"]), "row 0 .* is binary, not a string"),
        (pa.array([["one"], ["two"]]), "row 0 .* is list<.*string>, not a string"),
    ],
    ids=["null", "numbers", "bytes", "lists"],
)
def test_a_parquet_column_that_is_no_text_is_refused(tmp_path: Path, column: pa.Array, message: str) -> None:
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=message):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + bytes(64) + b"PAR1"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        read(written(tmp_path / "a.parquet", content))


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(1000)]}), tmp_path / "a.parquet", compression="zstd")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[100:900] = bytes(800)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        read(written(tmp_path / "b.parquet", bytes(content)))


# Whatever the format


COLUMNS = {
    "a.csv": b"id,body,label\n1,one,x\n",
    "a.tsv": b"id\tbody\tlabel\n1\tone\tx\n",
    "a.jsonl": b'{"id": "1", "body": "one", "label": "x"}\n',
    "a.parquet": b"",
}


@pytest.fixture(params=list(COLUMNS))
def three_columns(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": ["1"], "body": ["one"], "label": ["x"]}), path)
    else:
        path.write_bytes(COLUMNS[path.name])
    return path


def test_the_text_column_can_be_named_and_all_others_travel_along(three_columns: Path) -> None:
    rows = read(three_columns, text="body")
    assert texts_of(rows) == ["one"]
    assert columns_of(rows) == {"id": ["1"], "label": ["x"]}


@pytest.mark.parametrize(("keep", "kept"), [((), []), (("label",), ["label"]), (("label", "id"), ["id", "label"])])
def test_only_the_columns_to_keep_travel_along(three_columns: Path, keep: tuple[str, ...], kept: list[str]) -> None:
    assert read(three_columns, text="body", keep=keep)[0].columns.column_names == kept


def test_a_text_column_that_is_missing_or_unclear_is_an_error_that_lists_them(three_columns: Path) -> None:
    with pytest.raises(SourceError, match="no column 'text'; it has id, body, label"):
        read(three_columns, text="text")
    with pytest.raises(SourceError, match="columns id, body, label: say which one holds the text"):
        read(three_columns)
    with pytest.raises(SourceError, match="no column 'stars' to keep; it has id, body, label"):
        read(three_columns, text="body", keep=("stars",))


def test_the_name_of_a_text_column_in_plain_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no column 'body'"):
        read(written(tmp_path / "a.txt", "one\n"), text="body")


def test_named_columns_of_plain_text_are_the_first_words_of_a_line_and_its_rest(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "good  a  fine film .\n\nbad no\n")
    (rows,) = Source(str(path), columns=("label", "text")).rows()
    assert [str(text) for text in rows.texts] == ["a  fine film .", "no"]
    assert rows.columns.to_pydict() == {"label": ["good", "bad"]}
    with pytest.raises(SourceError, match=r"line 2: 1 words for 2 columns \(label, text\)"):
        read(written(tmp_path / "b.txt", "good fine\nbad\n"), columns=("label", "text"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_names_are_for_files_without_a_header_only(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="csv and tsv files without a header"):
        read(tmp_path / name, columns=("text",))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.txt", b"one\ntwo\nthr\xe9e\n", "line 3"),
        ("a.jsonl", b'{"text": "one"}\n{"text": "tw\xe9"}\n', "line 2"),
        ("a.csv", b"text,b\none,1\ntw\xe9,2\n", "line"),
        ("a.tsv", b"text\tb\none\t1\ntw\xe9\t2\n", "line"),
    ],
)
def test_bytes_that_are_no_utf8_are_named_by_their_row(tmp_path: Path, name: str, content: bytes, line: str) -> None:
    with pytest.raises(SourceError, match=rf"{name}, .*{line}.*byte 0xE9 is no UTF-8"):
        read(written(tmp_path / name, content))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_bytes_that_are_no_utf8_deep_in_a_table_are_named_by_their_row(tmp_path: Path, name: str) -> None:
    content = "text\n" + "".join(f"text number {i}\n" for i in range(5000))
    with pytest.raises(SourceError, match=r"line 4002\b"):
        read(written(tmp_path / name, content.encode().replace(b"number 4000", b"number \xff")))


@pytest.mark.parametrize("name", ["no.txt", "no.csv", "no.tsv", "no.jsonl", "no.parquet"])
def test_a_file_that_is_not_there_is_said_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=rf"{name} cannot be read: No such file"):
        read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(SourceError, match=rf"{name} cannot be read"):
        read(tmp_path / name)


def test_the_name_of_a_file_says_its_format_unless_told(tmp_path: Path) -> None:
    path = written(tmp_path / "A.CSV", "text,b\none,1\n")
    assert texts_of(read(path)) == ["one"]
    assert texts_of(read(path, format="txt")) == ["text,b", "one,1"]
    with pytest.raises(SourceError, match=r"expected \.txt, \.csv"):
        read(written(tmp_path / "a.xlsx", ""))
    with pytest.raises(LaminaError, match="format 'xlsx' is not one of txt, csv"):
        read(tmp_path / "a.xlsx", format="xlsx")


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_an_empty_file_has_no_texts_or_says_that_it_has_no_columns(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, "")
    if name == "a.csv":
        with pytest.raises(SourceError, match="is empty: it has no line of columns' names"):
            read(path)
    else:
        assert texts_of(read(path)) == []


def test_texts_come_in_bounded_groups_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.text.source, "ROWS", 4)
    monkeypatch.setattr(lamina.text.source, "CHARACTERS", 10)
    texts = ["a", "b", "c", "d", "e", "long as a sentence", "f", "ggggg", "hhhhh", "i"]
    groups = read(written(tmp_path / "a.txt", "\n".join(texts)))
    assert [group.texts for group in groups] == [
        ["a", "b", "c", "d"],
        ["e", "long as a sentence"],
        ["f", "ggggg", "hhhhh"],
        ["i"],
    ]


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.text.source, "ROWS", 2)
    path = written(tmp_path / "a.jsonl", '{"text": "one"}\n' * 4 + "no JSON\n")
    rows = Source(str(path)).rows()
    assert next(rows).texts == ["one", "one"]
    assert next(rows).texts == ["one", "one"]
    with pytest.raises(SourceError, match="line 5"):
        next(rows)


def test_characters_are_counted_over_all_texts(tmp_path: Path) -> None:
    assert Source(str(written(tmp_path / "a.csv", "text,b\naé𐌰,123\n,4\n"))).count_characters() == 3


# Python iterables


def test_strings_of_any_iterable_are_texts() -> None:
    assert texts_of(list(rows_of(text for text in TEXTS))) == TEXTS
    assert list(rows_of([])) == []


@pytest.mark.parametrize("texts", ["one string", b"bytes"])
def test_one_string_is_no_iterable_of_texts(texts: Any) -> None:
    with pytest.raises(SourceError, match="put it in a list"):
        rows_of(texts)


@pytest.mark.parametrize(
    ("item", "message"),
    [(3, "is an int"), (None, r"is empty \(null\)"), (b"b", "is a bytes"), (("a", "b"), "is a tuple")],
)
def test_an_item_that_is_no_string_is_named_by_its_row(item: Any, message: str) -> None:
    with pytest.raises(SourceError, match=f"row 2 of the input {message}"):
        list(rows_of(["a", "b", item]))
