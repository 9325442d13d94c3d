"""Every format of input gives the same dataset as the library, and its other columns travel."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lamina
from lamina.dataset.reader import Dataset
from lamina.embeddings import Embeddings
from lamina.extraction.extractor import Extractor
from tests.cli.conftest import LAYERS, TEXTS, Cli

IDS = [f"t{i}" for i in range(len(TEXTS))]


@pytest.fixture(scope="module")
def expected(minilm: Extractor) -> Embeddings:
    return minilm.extract(TEXTS, layers=LAYERS)


def _csv(path: Path, *, header: bool = True, name: str = "body") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", name]] * header + [[i, text] for i, text in zip(IDS, TEXTS, strict=True)])


def _tsv(path: Path, *, header: bool = False) -> None:
    rows = ["id\tbody"] * header + [f"{i}\t{text}" for i, text in zip(IDS, TEXTS, strict=True)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _jsonl(path: Path) -> None:
    rows = (json.dumps({"id": i, "text": text}) for i, text in zip(IDS, TEXTS, strict=True))
    path.write_text("\n".join(rows), encoding="utf-8")


def _parquet(path: Path) -> None:
    pq.write_table(pa.table({"body": TEXTS, "id": IDS}), path)


# name of the file -> how it is written, and the options that it needs
INPUTS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "in.csv": (_csv, ["--text", "body"]),
    "default_column.csv": (lambda path: _csv(path, name="text"), []),
    "no_header.csv": (lambda path: _csv(path, header=False), ["--columns", "id,body", "--text", "body"]),
    "in.tsv": (lambda path: _tsv(path, header=True), ["--text", "body"]),
    "no_header.tsv": (_tsv, ["--columns", "id,body", "--text", "body"]),
    "in.jsonl": (_jsonl, []),
    "in.parquet": (_parquet, ["--text", "body"]),
    "named_otherwise.data": (_jsonl, ["--format", "jsonl"]),
}


def _same(dataset: Dataset, expected: Embeddings, dtype: str) -> None:
    assert dataset.units.column("surface").to_pylist() == TEXTS
    assert dataset.layers == LAYERS
    for layer in LAYERS:
        assert dataset.layer(layer).dtype == dtype
        np.testing.assert_array_equal(dataset.layer(layer), expected.layer(layer).astype(dtype))


@pytest.mark.parametrize("name", INPUTS)
def test_a_file_gives_the_numbers_of_the_library(cli: Cli, expected: Embeddings, tmp_path: Path, name: str) -> None:
    write, options = INPUTS[name]
    write(tmp_path / name)
    outcome = cli("extract", tmp_path / name, "-o", tmp_path / "d", "--layers", "0,3,6", *options)
    assert (outcome.code, outcome.err) == (0, "")
    dataset = lamina.open(tmp_path / "d")
    _same(dataset, expected, "float16")
    assert dataset.manifest.travelled == ("id",)
    assert dataset.units.column("id").to_pylist() == IDS


def test_plain_text_gives_the_numbers_of_the_library(expected: Embeddings, made: Path) -> None:
    dataset = lamina.open(made)
    _same(dataset, expected, "float16")
    assert dataset.manifest.travelled == ()


def test_float32_is_stored_to_the_bit(cli: Cli, expected: Embeddings, lines: Path, tmp_path: Path) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0,3,6", "--dtype", "float32").code == 0
    _same(lamina.open(tmp_path / "d"), expected, "float32")


def test_standard_input_is_lines_of_text(process: Cli, expected: Embeddings, lines: Path, tmp_path: Path) -> None:
    options = ["--layers", "0,3,6", "--dtype", "float32"]
    outcome = process("extract", "-", "-o", tmp_path / "d", *options, stdin=lines.read_bytes())
    assert (outcome.code, outcome.err) == (0, "")
    _same(lamina.open(tmp_path / "d"), expected, "float32")


def test_standard_input_takes_a_format(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"text": "a lamp", "n": 3}')))
    outcome = cli("extract", "-", "-o", tmp_path / "d", "--format", "jsonl")
    assert (outcome.code, outcome.err) == (0, "")
    assert lamina.open(tmp_path / "d").units.column("n").to_pylist() == [3]


def test_a_pipe_named_as_a_file_loses_no_text(process: Cli, lines: Path, tmp_path: Path) -> None:
    """As in `lamina extract <(zcat lines.gz)`: such a file can be read once."""
    outcome = process("extract", "/dev/stdin", "--format", "txt", "-o", tmp_path / "d", stdin=lines.read_bytes())
    assert outcome.code == 0
    assert lamina.open(tmp_path / "d").units.column("surface").to_pylist() == TEXTS


def test_every_option_of_a_spec_reaches_it(cli: Cli, lines: Path, tmp_path: Path, minilm: Extractor) -> None:
    options = {"layers": "-2..-1", "unit": "text", "pool": "max", "combine": "0.5,2", "special": "exclude"}
    numbers = {"long": "window", "max_tokens": "10", "stride": "4", "dtype": "float32"}
    words = [word for name, value in (options | numbers).items() for word in (f"--{name.replace('_', '-')}", value)]
    assert cli("extract", lines, "-o", tmp_path / "d", *words, "--normalize").code == 0
    dataset = lamina.open(tmp_path / "d")
    assert str(dataset.spec).split()[:5] == [f"{name}={value}" for name, value in options.items()]
    in_memory = minilm.extract(TEXTS, **options, long="window", max_tokens=10, stride=4, normalize=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(dataset.combined, in_memory.combined)


def test_batch_budget_threads_and_quiet_change_nothing(cli: Cli, lines: Path, made: Path, tmp_path: Path) -> None:
    options = ["--layers", "0,3,6", "--batch-tokens", "16", "--threads", "1", "--quiet"]
    assert cli("extract", lines, "-o", tmp_path / "d", *options).code == 0
    for layer in LAYERS:
        np.testing.assert_array_equal(lamina.open(tmp_path / "d").layer(layer), lamina.open(made).layer(layer))


def test_what_was_done_is_said_in_a_few_lines(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("two words\n\nanother\n")
    outcome = cli("extract", tmp_path / "in.txt", "-o", tmp_path / "d", "--layers", "1")
    first, second, third = outcome.out.splitlines()
    assert first.startswith(f"{tmp_path / 'd'}: 3 texts; layers 1, each × 384 float16")
    assert second.strip() == "of the rows: 1 empty"
    assert "openvino float32" in third


def test_json_says_the_same_for_programs(cli: Cli, lines: Path, tmp_path: Path) -> None:
    found = json.loads(cli("extract", lines, "-o", tmp_path / "d", "--layers", "1", "--json").out)
    manifest = json.loads((tmp_path / "d" / "manifest.json").read_text())
    assert found["datasets"] == [{"folder": str(tmp_path / "d"), "manifest": manifest}]
    assert min(found["seconds"], found["tokens_per_second"]) > 0


def test_recipes_are_a_dataset_each_from_one_pass(cli: Cli, expected: Embeddings, lines: Path, tmp_path: Path) -> None:
    recipes = ["--recipe", "texts: layers=0,3,6", "--recipe", "words: unit=word layers=0 pool=max"]
    outcome = cli("extract", lines, "-o", tmp_path / "d", *recipes, "--dtype", "float32")
    assert (outcome.code, outcome.err) == (0, "")
    _same(lamina.open(tmp_path / "d" / "texts"), expected, "float32")
    words = lamina.open(tmp_path / "d" / "words")
    assert (words.spec.unit, words.spec.pool, words.layers) == ("word", "max", (0,))
    assert len(words) > len(TEXTS)


def test_what_a_recipe_says_itself_goes_before_what_is_said_for_all(cli: Cli, lines: Path, tmp_path: Path) -> None:
    recipes = ["--recipe", "a: layers=0 dtype=float32 max_tokens=16", "--recipe", "b: layers=0 max_tokens=16"]
    assert cli("extract", lines, "-o", tmp_path / "d", *recipes, "--max-tokens", "8").code == 0
    specs = [lamina.open(tmp_path / "d" / name).spec for name in "ab"]
    assert [(spec.dtype, spec.max_tokens) for spec in specs] == [("float32", 16), ("float16", 16)]
    outcome = cli("extract", lines, "-o", tmp_path / "e", "--recipe", "a: long=truncate", "--recipe", "b: unit=word")
    assert "must agree on long, which is said to be truncate and window" in outcome.sentence


def test_two_recipes_of_one_name_are_a_mistyped_command(cli: Cli, lines: Path, tmp_path: Path) -> None:
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--recipe", "a: unit=word", "--recipe", "a: unit=text")
    assert outcome.code == 2
    assert "two recipes are called 'a'" in outcome.err
    assert not (tmp_path / "d").exists()
