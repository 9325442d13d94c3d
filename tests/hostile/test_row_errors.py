"""A row that cannot be read costs that row: it stops the job, or is marked and all others are as ever."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lamina
from lamina.cli.main import run
from lamina.embeddings import UNIT_FIELDS
from lamina.errors import LaminaError, SourceError, SpecError, TextError
from lamina.extraction.extractor import Extractor
from lamina.text.source import Source
from lamina.text.text import Text, Unreadable

GOOD = ["a river bank", "the bank, two seas", "no"]

# what is wrong -> the file's name, its bytes with a broken row in second place (of three), and what its reason names
BROKEN: dict[str, tuple[str, bytes, str]] = {
    "a number": ("in.jsonl", b'{"text": "a"}\n{"text": 7}\n{"text": "b"}\n', "row 1 of column 'text' is an int"),
    "a null": ("in.jsonl", b'{"text": "a"}\n{"text": null}\n{"text": "b"}\n', "row 1 of column 'text' is empty (null)"),
    "no text": ("in.jsonl", b'{"text": "a"}\n{}\n{"text": "b"}\n', "row 1 of column 'text' is empty (null)"),
    "a list": ("in.jsonl", b'{"text": "a"}\n{"text": ["b"]}\n{"text": "b"}\n', "row 1 of column 'text' is a list"),
    "broken json": ("in.jsonl", b'{"text": "a"}\n{"text": \n{"text": "b"}\n', "line 2 is no JSON"),
    "deep json": ("in.jsonl", b'{"text": "a"}\n' + b"[" * 100_000 + b'\n{"text": "b"}\n', "line 2 is no JSON"),
    "a long number": ("in.jsonl", b'{"text": "a"}\n' + b"9" * 5_000 + b'\n{"text": "b"}\n', "line 2 is no JSON"),
    "no object": ("in.jsonl", b'{"text": "a"}\n[1]\n{"text": "b"}\n', "line 2: expected an object, found a list"),
    "half a pair": ("in.jsonl", b'{"text": "a"}\n{"text": "x\\udc00"}\n{"text": "b"}\n', "surrogate pair (U+DC00) at"),
    "bytes in json": ("in.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n{"text": "b"}\n', "line 2: byte 0xFF is no UTF-8"),
    "bytes in txt": ("in.txt", b"a\ncaf\xe9\nb\n", "line 2: byte 0xE9 is no UTF-8 (invalid continuation byte), 3"),
    "bytes in csv": ("in.csv", b'text,n\na,1\n"\xe9\nb",2\nb,3\n', "line 3: byte 0xE9 is no UTF-8"),
    "bytes in tsv": ("in.tsv", b"text\tn\na\t1\n\xff\xfe\t2\nb\t3\n", "line 3: byte 0xFF is no UTF-8"),
    "too few values": ("in.csv", b"text,n\na,1\nb\nb,3\n", "line 3: 1 values for 2 columns (text, n)"),
    "too many values": ("in.tsv", b"text\tn\na\t1\nb\t2\t3\nb\t3\n", "line 3: 3 values for 2 columns"),
    "a lone return": ("in.tsv", b"text\tn\na\t1\nb\rc\t2\nb\t3\n", "line 3: new-line character"),
    "bytes in conll": ("in.conll", b"a O\n\n\xe9 O\n\nb O\n", "line 3: byte 0xE9"),
    "a kind of its own": (
        "in.jsonl",
        b'{"text": "a", "n": 1}\n{"text": "x", "n": "y"}\n{"text": "b", "n": 3}\n',
        "row 1: column 'n' holds a str",
    ),
}  # fmt: skip


@pytest.fixture
def broken(tmp_path: Path) -> Callable[[str], Path]:
    def make(case: str) -> Path:
        name, content, _ = BROKEN[case]
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_stops_with_its_place_or_is_marked_with_it(
    tiny: Extractor, tmp_path: Path, broken: Callable[[str], Path], case: str
) -> None:
    path, reason = broken(case), BROKEN[case][2]
    with pytest.raises((SourceError, TextError)) as caught:
        lamina.extract(path, tmp_path / "stopped", model=tiny)
    assert path.name in str(caught.value)
    assert reason.split(" (U+")[0] in str(caught.value)
    dataset = lamina.extract(path, tmp_path / "marked", model=tiny, on_error="mark")
    assert dataset.manifest.statuses == {"error": 1, "ok": 2}
    assert dataset.units["text_id"].to_pylist() == [0, 1, 2]
    (first, error, third) = dataset.units["error"].to_pylist()
    assert (first, third) == (None, None)
    assert reason in error
    assert str(tmp_path) not in error  # where the file lay is no part of a dataset
    alone = tiny.extract(["a", "b"], layers="all")
    for layer in dataset.layers:
        assert np.isnan(dataset.layer(layer)[1]).all()
        assert np.array_equal(dataset.layer(layer)[[0, 2]], alone.layer(layer).astype(np.float16))


def test_a_whole_number_is_never_made_of_a_fraction(tiny: Extractor, tmp_path: Path) -> None:
    lines = [json.dumps({"text": "a", "n": 1})] * 1024 + [json.dumps({"text": "b", "n": 2.5})]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(SourceError, match="row 1024: column 'n' holds a float"):
        list(Source(str(path)).rows())
    last = list(Source(str(path)).rows(on_error="mark"))[-1]
    assert isinstance(last.texts[-1], Unreadable)
    assert last.columns["n"].to_pylist() == [None]


def test_numbers_of_both_kinds_among_the_first_rows_are_fractions(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a", "n": 1}\n{"text": "b", "n": 2.5}\n{"text": "c", "n": null}\n')
    assert next(Source(str(path)).rows()).columns["n"].to_pylist() == [1.0, 2.5, None]


@pytest.mark.parametrize("unit", ["text", "sentence", "word", "token", "pair"])
def test_every_unit_keeps_a_row_for_what_could_not_be_read(tiny: Extractor, unit: Any) -> None:
    items: list[Any] = [GOOD[0], None, GOOD[1], "half \ud800", 3.5, GOOD[0], b"bytes"]
    found = tiny.extract(items, unit=unit, layers="all", on_error="mark")
    ids = found.units["text_id"].to_numpy()
    status = np.array(found.units["status"].to_pylist())
    assert ids[status == "error"].tolist() == [1, 3, 4, 6]
    errors = found.units.filter((status == "error").tolist())
    assert errors["n_tokens"].to_pylist() == [0] * 4
    assert set(errors["surface"].to_pylist()) == {""}
    assert errors["error"].to_pylist()[0].endswith("is empty (null), not a string")
    for place, text in ((0, GOOD[0]), (2, GOOD[1]), (5, GOOD[0])):
        alone = tiny.extract([text], unit=unit, layers="all")
        for layer in found.layers:
            assert np.array_equal(found.layer(layer)[ids == place], alone.layer(layer), equal_nan=True)
            assert np.isnan(found.layer(layer)[status == "error"]).all()


def test_the_column_is_there_whether_it_is_needed_or_not(tiny: Extractor, tmp_path: Path) -> None:
    """Shards of a job that stopped and was then told to mark have one schema."""
    assert tiny.extract(GOOD).units.column_names == list(UNIT_FIELDS)
    assert tiny.extract(GOOD).units["error"].null_count == len(GOOD)
    dataset = lamina.extract(GOOD, tmp_path / "d", model=tiny)
    table = pq.read_table(tmp_path / "d" / "shards")
    assert table.schema.field("error").type == pa.string()
    assert len(table) == len(dataset)


def test_what_only_the_spec_refuses_can_be_marked(deep: Extractor) -> None:
    pair = Text("a " * 70, pair="b")
    for items, options, reason in (
        (["a", "b " * 90], {"long": "error"}, "has 92 tokens, more than 64"),
        (["a", Text("a", pair="b")], {"pool": "cls"}, "is a pair"),
        (["a", pair], {}, "leaves no room for the second"),
        (["a", pair], {"long": "truncate"}, "leaves no room for the second"),
    ):
        with pytest.raises(TextError, match="text 1 "):
            deep.extract(items, **options)  # type: ignore[arg-type]
        found = deep.extract(items, on_error="mark", **options)  # type: ignore[arg-type]
        assert reason in found.units["error"].to_pylist()[-1]
        alone = deep.extract(["a"], **options)  # type: ignore[arg-type]
        assert np.array_equal(found.layer(3)[0], alone.layer(3)[0])


def test_a_pair_for_a_model_of_one_text_is_refused_in_every_engine(tiny: Extractor, tiny_bert: Path) -> None:
    """Its second segment has no row in the table of segments: OpenVINO would take zeros for it without a word."""
    for model in (tiny, lamina.load(tiny_bert, engine="reference")):
        with pytest.raises(
            TextError, match="text 1 is a pair with segment 1, and this model was made for segments 0 to 0"
        ):
            model.extract(["a", Text("a", pair="b")])


def test_thousands_of_broken_rows_are_refused_at_once(tiny: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one by one, each time from the beginning."""
    from lamina.text.tokenizer import Tokenizer

    called = []
    real = Tokenizer._encodings
    monkeypatch.setattr(Tokenizer, "_encodings", lambda self, texts: called.append(len(texts)) or real(self, texts))
    found = tiny.extract([f"a {i}\ud800" if i % 2 else f"a {i}" for i in range(3000)], layers=0, on_error="mark")
    assert found.units["status"].to_pylist().count("error") == 1500
    assert sum(called) <= 3000 + 1500


def test_rarity_is_counted_over_the_texts_that_can_be_read(tiny: Extractor) -> None:
    broken: list[Any] = ["a river", None, "the bank", "\ud800"]
    found = tiny.extract(broken, pool="idf", on_error="mark")
    sound = tiny.extract(["a river", "the bank"], pool="idf")
    assert np.array_equal(found.layer(1)[[0, 2]], sound.layer(1))
    with pytest.raises(TextError, match="text 2 "):
        tiny.extract(["a river", "the bank", "\ud800"], pool="idf")


def test_a_stream_marks_as_an_extraction_does(tiny: Extractor) -> None:
    items: list[Any] = [*GOOD, None, "x\udfff"]
    (part,) = tiny.stream(items, on_error="mark")
    assert part.units.equals(tiny.extract(items, on_error="mark").units)
    with pytest.raises(SourceError, match="row 3 of the input is empty"):
        list(tiny.stream(items))


@pytest.mark.parametrize("option", [{"on_error": "skip"}, {"errors": "ignore"}])
def test_words_that_do_not_exist_are_refused(tiny: Extractor, tmp_path: Path, option: Any) -> None:
    (tmp_path / "in.txt").write_text("a\n")
    with pytest.raises(SpecError, match=f"{next(iter(option))} must be one of"):
        lamina.extract(tmp_path / "in.txt", tmp_path / "d", model=tiny, **option)


def test_a_job_that_stopped_goes_on_marking(tiny: Extractor, tmp_path: Path) -> None:
    """The poisoned row at the end of a week: what is done stays, the row is marked."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a river"}\n' * 9000 + '{"text": "x\\ud800"}\n{"text": "the bank"}\n')
    with pytest.raises(TextError, match="text 9000 "):
        lamina.extract(path, tmp_path / "d", model=tiny)
    dataset = lamina.extract(path, tmp_path / "d", model=tiny, on_error="mark")
    assert dataset.manifest.statuses == {"error": 1, "ok": 9001}
    once = lamina.extract(path, tmp_path / "once", model=tiny, on_error="mark")
    assert np.array_equal(dataset.layer(1), once.layer(1), equal_nan=True)
    assert dataset.units.equals(once.units)


def test_the_command_line_says_how_many_and_exits_with_3(
    tiny_bert: Path, tmp_path: Path, broken: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "extract",
        str(broken("a number")),
        "-o",
        str(tmp_path / "d"),
        "--model",
        str(tiny_bert),
        "--layers",
        "1",
    ]
    assert run(arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "row 1 of column 'text' is an int, not a string" in said.err
    assert run([*arguments, "--on-error", "mark"]) == 3
    said = capsys.readouterr()
    assert "one text could not be read" in said.err
    assert "1 error" in said.out
    assert run([*arguments, "--on-error", "mark", "--overwrite", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["datasets"][0]["manifest"]["statuses"] == {"error": 1, "ok": 2}
    assert run([*arguments, "--on-error", "keep"]) == 2
    assert "on_error must be one of stop, mark" in capsys.readouterr().err


def test_a_quote_that_never_ends_is_no_error_of_a_row(tmp_path: Path) -> None:
    """Where the next row would begin is anybody's guess, so nothing is marked."""
    (tmp_path / "in.csv").write_text('text,n\na,1\n"b,2\nc,3\n')
    for on_error in ("stop", "mark"):
        with pytest.raises(SourceError, match=r"in\.csv, line 4"):
            list(Source(str(tmp_path / "in.csv")).rows(on_error=on_error))  # type: ignore[arg-type]


def test_a_file_of_which_no_row_can_be_read_says_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("one\ntwo\n")
    for on_error in ("stop", "mark"):
        with pytest.raises(LaminaError, match=r"in\.jsonl, line 1 is no JSON"):
            list(Source(str(tmp_path / "in.jsonl")).rows(on_error=on_error))  # type: ignore[arg-type]
