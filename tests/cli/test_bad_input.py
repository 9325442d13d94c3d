"""Whatever is wrong with the input: the exit code, one sentence that names the thing, and no file harmed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import lamina
from tests.cli.conftest import Cli
from tests.dataset.making import files_in

# what is wrong -> the file's name, its bytes (None: no such file), options, and what the sentence must name
BAD_FILES: dict[str, tuple[str, bytes | None, list[str], list[str]]] = {
    "no such file": ("gone.csv", None, [], ["gone.csv", "No such file"]),
    "no such column": ("in.csv", b"id,body\n1,a\n", ["--text", "review"], ["review", "id, body"]),
    "which column is not said": ("in.csv", b"id,body\n1,a\n", [], ["id, body"]),
    "no such column to keep": ("in.csv", b"id,text\n1,a\n", ["--keep", "stars"], ["stars", "id, text"]),
    "two columns of one name": ("in.csv", b"text,id,id\na,1,2\n", [], ["two columns"]),
    "too few values": ("in.csv", b"id,text\n1,a\n2\n", [], ["line 3", "1 values for 2"]),
    "too many values": ("in.tsv", b"id\ttext\n1\ta\tb\n", [], ["line 2", "3 values for 2"]),
    "a quote that never ends": ("in.csv", b'id,text\n1,"a\n2,b\n', [], ["in.csv", "line"]),
    "an empty csv": ("in.csv", b"", [], ["in.csv"]),
    "csv that is no utf-8": ("in.csv", b"text\nfine\ncaf\xe9\n", [], ["in.csv", "line", "0xE9"]),
    "txt that is no utf-8": ("in.txt", b"fine\ncaf\xe9\n", [], ["in.txt", "line 2", "0xE9"]),
    "jsonl that is no utf-8": ("in.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', [], ["in.jsonl", "line 2", "0xFF"]),
    "broken json": ("in.jsonl", b'{"text": "a"}\n{"text": \n', [], ["in.jsonl", "line 2"]),
    "json nested beyond reason": ("in.jsonl", b'{"text":' + b"[" * 200_000, [], ["in.jsonl", "line 1"]),
    "json that is no object": ("in.jsonl", b'["a"]\n', [], ["in.jsonl", "line 1", "list"]),
    "a text that is a number": ("in.jsonl", b'{"text": "a"}\n{"text": 7}\n', [], ["row 1", "int"]),
    "a text that is missing": ("in.jsonl", b'{"text": "a"}\n{"id": 7}\n', [], ["row 1", "null"]),
    "values of several kinds": ("in.jsonl", b'{"text":"a","n":1}\n{"text":"b","n":"x"}', [], ["'n'", "keep"]),
    "half a surrogate pair": ("in.jsonl", b'{"text": "a"}\n{"text": "\\ud800"}\n', [], ["text 1", "U+D800"]),
    "half a pair in a column": ("in.jsonl", b'{"text": "a", "k": "\\ud800"}\n', [], ["'k'", "surrogate"]),
    "half a pair in a name": ("in.jsonl", b'{"text": "a", "\\ud800": 1}\n', [], ["in.jsonl"]),
    "no parquet": ("in.parquet", b"PAR1 but not really", [], ["in.parquet", "Parquet"]),
    "an empty parquet file": ("in.parquet", b"", [], ["in.parquet", "Parquet"]),
    "a name that says nothing": ("in.docx", b"a", [], ["in.docx", ".csv"]),
    "a column of plain text": ("in.txt", b"a\n", ["--text", "body"], ["in.txt", "body"]),
    "names for plain text": ("in.txt", b"a\n", ["--columns", "a,b"], ["in.txt"]),
    "a column of plain text to keep": ("in.txt", b"a\n", ["--keep", "stars"], ["stars"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_named_in_one_sentence(cli: Cli, tmp_path: Path, case: str) -> None:
    name, content, options, named = BAD_FILES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    outcome = cli("extract", tmp_path / name, "-o", tmp_path / "d", *options)
    assert outcome.code == 1
    for words in named:
        assert words in outcome.sentence


def test_a_folder_is_no_file(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("extract", tmp_path, "-o", tmp_path / "d", "--format", "txt")
    assert outcome.code == 1
    assert f"{tmp_path} cannot be read" in outcome.sentence


# what is asked for -> options, and what the sentence must name
BAD_REQUESTS: dict[str, tuple[list[str], list[str]]] = {
    "a layer beyond the last": (["--layers", "7"], ["layer 7", "0 to 6"]),
    "a layer before the first": (["--layers", "-8..-1"], ["layer -8", "0 to 6"]),
    "layers backwards": (["--layers", "4..2"], ["4..2", "backwards"]),
    "a layer twice": (["--layers", "0,0"], ["layer 0"]),
    "layers in words": (["--layers", "upper"], ["upper", "encoder"]),
    "an unknown unit": (["--unit", "paragraph"], ["paragraph", "token"]),
    "an unknown pool": (["--pool", "median"], ["median", "mean"]),
    "cls of a word": (["--unit", "word", "--pool", "cls"], ["cls", "word"]),
    "weights that do not fit": (["--combine", "1,2"], ["2 weights", "7 layers"]),
    "weights that are no numbers": (["--combine", "best"], ["best", "concat"]),
    "an unknown dtype": (["--dtype", "int8"], ["int8", "float16"]),
    "an unknown way with special tokens": (["--special", "drop"], ["drop", "exclude"]),
    "an unknown way with long texts": (["--long", "skip"], ["skip", "window"]),
    "more tokens than the model takes": (["--max-tokens", "513"], ["513", "512"]),
    "a window without room": (["--max-tokens", "2"], ["2"]),
    "no stride": (["--stride", "0"], ["stride", "0"]),
    "a stride that skips": (["--max-tokens", "16", "--stride", "15"], ["15", "14"]),
    "an unknown format": (["--format", "docx"], ["docx", "csv"]),
    "an unknown engine": (["--engine", "steam"], ["steam", "openvino"]),
    "an unknown precision": (["--precision", "float8"], ["float8", "bfloat16"]),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_asking_for_what_does_not_exist_exits_with_2_and_touches_nothing(
    cli: Cli, lines: Path, tmp_path: Path, case: str
) -> None:
    options, named = BAD_REQUESTS[case]
    outcome = cli("extract", lines, "-o", tmp_path / "d", *options)
    assert outcome.code == 2
    for words in named:
        assert words in outcome.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["extract"], "FILE"),
        (["extract", "in.csv"], "--out"),
        (["extract", "in.csv", "-o", "d", "--threads", "0"], "--threads"),
        (["extract", "in.csv", "-o", "d", "--threads", "two"], "--threads"),
        (["extract", "in.csv", "-o", "d", "--batch-tokens", "0"], "--batch-tokens"),
        (["extract", "in.csv", "-o", "d", "--colour", "red"], "--colour"),
        (["export", "d"], "--out"),
        (["export", "d", "-o", "x.npy", "--layer", "top"], "--layer"),
        (["show"], "MODEL|DATASET"),
        (["embroider"], "embroider"),
    ],
)
def test_a_mistyped_command_exits_with_2_and_shows_its_usage(cli: Cli, arguments: list[str], named: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: lamina")
    assert named in outcome.err.splitlines()[-1]


def test_an_output_that_is_a_dataset_is_refused_and_kept(cli: Cli, lines: Path, tmp_path: Path) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0").code == 0
    before = files_in(tmp_path)
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--layers", "1")
    assert outcome.code == 1
    assert f"{tmp_path / 'd'} is a dataset already, of another job (spec was layers=0 " in outcome.sentence
    assert files_in(tmp_path) == before
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "6", "--overwrite").code == 0
    assert lamina.open(tmp_path / "d").layers == (6,)


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_an_output_that_holds_other_files_is_refused_and_kept(
    cli: Cli, lines: Path, tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    outcome = cli("extract", lines, "-o", tmp_path, *options)
    assert outcome.code == 1
    assert f"{tmp_path} holds other files" in outcome.sentence
    assert files_in(tmp_path) == {"thesis.docx": b"years of work"}


def test_an_output_that_is_a_file_is_refused_and_kept(cli: Cli, lines: Path, tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--overwrite")
    assert outcome.code == 1
    assert f"{tmp_path / 'd'} is a file" in outcome.sentence
    assert (tmp_path / "d").read_text() == "mine"


def test_a_bad_source_does_not_cost_the_old_dataset(cli: Cli, lines: Path, tmp_path: Path) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0").code == 0
    before = files_in(tmp_path / "d")
    (tmp_path / "in.txt").write_bytes(b"fine\n" * 3000 + b"caf\xe9\n")
    outcome = cli("extract", tmp_path / "in.txt", "-o", tmp_path / "d", "--overwrite")
    assert outcome.code == 1
    assert "line 3001" in outcome.sentence
    assert files_in(tmp_path / "d") == before


def test_standard_input_that_breaks_midway_leaves_an_unfinished_dataset(process: Cli, tmp_path: Path) -> None:
    outcome = process("extract", "-", "-o", tmp_path / "d", "--layers", "0", stdin=b"a lamp\n" * 9000 + b"caf\xe9\n")
    assert outcome.code == 1
    assert "line 9001" in outcome.sentence
    with pytest.raises(lamina.LaminaError, match="unfinished"):
        lamina.open(tmp_path / "d")


def test_strange_but_honest_texts_are_fine(cli: Cli, tmp_path: Path) -> None:
    long = "seven long nights " * 60_000  # more than a million characters, more than csv's own limit
    texts = ["", "nul \0 inside", "\0", " \t ", long, "\u2028\u2029\x85", "🜁" * 300]
    rows = ",".join(["id", "text"]) + "\r\n" + "".join(f'{i},"{text}"\r\n' for i, text in enumerate(texts))
    (tmp_path / "in.csv").write_bytes(rows.encode())
    outcome = cli("extract", tmp_path / "in.csv", "-o", tmp_path / "d", "--layers", "0")
    assert (outcome.code, outcome.err) == (0, "")
    units = lamina.open(tmp_path / "d").units
    assert units.column("surface").to_pylist() == texts
    assert units.column("status").to_pylist() == ["empty", "ok", "empty", "empty", "ok", "empty", "ok"]
    assert units.column("n_tokens").to_pylist()[4] == 180_000


@pytest.mark.parametrize("name", ["in.txt", "in.jsonl"])
def test_a_file_without_texts_makes_a_dataset_without_rows(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    outcome = cli("extract", tmp_path / name, "-o", tmp_path / "d")
    assert (outcome.code, outcome.err) == (0, "")
    assert len(lamina.open(tmp_path / "d")) == 0


@pytest.mark.parametrize("verb", ["attention", "lens", "keywords", "trace"])
@pytest.mark.parametrize("name", ["essay.txt", "folder/essay.txt", "words/"])
def test_the_name_of_no_file_is_not_taken_for_a_text(cli: Cli, verb: str, name: str) -> None:
    outcome = cli(verb, name, *(["--word", "bank"] if verb == "trace" else []))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == f"Error: {name} is no file, and looks like the name of one"


def test_a_chart_asks_for_its_extra_before_anything_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    outcome = cli("map", "gone.csv", "--chart", "map.svg")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "lamina: charts need altair and vl-convert: pip install 'lamina[plots]'\n"


def test_a_folder_that_is_not_there_is_said_to_be_missing(cli: Cli) -> None:
    outcome = cli("search", "query", "gone", "--query", "fun")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "lamina: gone cannot be read: No such file or directory\n"


@pytest.mark.parametrize(("verb", "option"), [("cluster", "--label"), ("map", "--colour")])
def test_a_column_that_is_not_there_is_said_before_a_model_is_loaded(
    cli: Cli, tmp_path: Path, verb: str, option: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,kind\nOne.,a\n")
    outcome = cli(verb, path, option, "nope", "--model", "./no/model")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"lamina: there is no column 'nope' in {path}; beside the text it has kind\n"
