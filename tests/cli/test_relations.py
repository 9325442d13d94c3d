"""Proves `lamina relations` through the front door: by tags, spans, a tagger and a model's own head."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import networkx
import numpy as np
import pyarrow as pa
import pytest

from lamina.cli.trained import whole_texts
from lamina.embeddings import Embeddings
from tests.cli.conftest import Cli

ROWS = [
    {"text": "Ada met Grace in Turin. Grace lives in Oslo.",
     "spans": [[0, 3, "person"], [8, 13, "person"], [17, 22, "place"], [24, 29, "person"], [39, 43, "place"]]},
    {"text": "ADA wrote to \u0007Grace <Hopper>.", "spans": [{"type": "person", "start": 0, "end": 3}]},
    {"text": "", "spans": []},
]  # fmt: skip
CONLL = "Ada\tB-person\nmet\tO\nGrace\tB-person\nin\tO\nOslo\tB-place\n\nGrace\tB-person\nHopper\tI-person\nsang\tO\n\n"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture
def conll(tmp_path: Path) -> Path:
    path = tmp_path / "words.conll"
    path.write_text(CONLL * 6)
    return path


def test_given_spans_become_a_graph(cli: Cli, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.graphml"
    done = cli("relations", texts, "--spans", "spans", "--layers", "0,6", "--threshold", -1, "--json", "--quiet",
               "-o", out, "--report", tmp_path / "g.html", "--chart", tmp_path / "g.svg")  # fmt: skip
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert [one["name"] for one in document["entities"]] == ["Ada", "Grace", "Turin", "Oslo"]
    assert [row["layer"] for row in document["rows"]] == ["0", "6"]
    assert document["rows"][0]["similar"] == 6
    graph = networkx.read_graphml(out)
    assert graph.number_of_nodes() == 4
    assert graph.number_of_edges() == len(document["edges"]) == 6 * 2 + 4
    assert "same type" in (tmp_path / "g.svg").read_text()
    assert "Names in" in (tmp_path / "g.html").read_text()


def test_a_dataset_and_a_file_say_the_same(cli: Cli, conll: Path, tmp_path: Path) -> None:
    words = tmp_path / "words"
    assert cli("extract", conll, "-o", words, "--unit", "word", "--dtype", "float32", "--quiet").code == 0
    by_file = json.loads(cli("relations", conll, "--tags", "tags", "--layers", "all", "--json", "--quiet").out)
    of_data = json.loads(cli("relations", words, "--tags", "tags", "--layers", "all", "--json").out)
    assert by_file == of_data
    assert [(one["name"], one["count"]) for one in of_data["entities"]] == [
        ("Ada", 6), ("Grace", 6), ("Oslo", 6), ("Grace Hopper", 6),
    ]  # fmt: skip


def test_a_tagger_finds_the_names(cli: Cli, conll: Path, tmp_path: Path) -> None:
    tagger, edges = tmp_path / "tagger", tmp_path / "edges.jsonl"
    assert cli("tag", "train", conll, "-o", tagger, "--layer", 4, "--l2", 1, "--quiet").code == 0
    lines = tmp_path / "lines.txt"
    lines.write_text("Ada met Grace in Oslo\nGrace Hopper sang\n")
    done = cli("relations", lines, "--tagger", tagger, "--threshold", -1, "-o", edges, "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith("4 names in 4 mentions; 2 sentences; 3 pairs stand together")
    rows = [json.loads(line) for line in edges.read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"similar", "together"}
    assert {"name": "Oslo", "kind": "place"} in [row["target"] for row in rows]


def test_rows_that_cannot_be_read_are_counted(cli: Cli, texts: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(texts.read_text() + "{oops\n")
    done = cli("relations", path, "--spans", "spans", "--quiet")
    assert done.code == 3
    assert "1 rows could not be read" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "one of --tagger"),
        (["--spans", "spans", "--head"], 2, "not --head and --spans"),
        (["--spans", "spans", "-o", "g.png"], 2, ".graphml or .jsonl"),
        (["--spans", "nothing"], 2, "no column 'nothing'"),
        (["--head"], 1, "classifier.weight"),
        (["--tagger", "nowhere"], 1, "nowhere"),
    ],
)
def test_bad_input_is_said(cli: Cli, texts: Path, arguments: list[str], code: int, said: str) -> None:
    done = cli("relations", texts, "--quiet", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "bug in Lamina" not in done.err


def test_an_empty_file_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("")
    assert "holds no text" in cli("relations", path, "--spans", "spans", "--quiet").sentence


def part(*texts: int) -> Embeddings:
    vectors = np.arange(len(texts), dtype=np.float32)[:, None]
    return Embeddings(pa.table({"text_id": pa.array(texts, pa.int64())}), {"layer_0": vectors}, n_texts=0)


def test_no_text_is_in_two_parts() -> None:
    """However its views were cut: the words of text 1 are in three parts, its sentences in two."""

    def parts() -> Iterator[dict[str, Embeddings]]:
        yield {"words": part(0, 0, 1), "sentences": part(0)}
        yield {"words": part(1, 1), "sentences": part(1, 1)}
        yield {"words": part(1, 2), "sentences": part(1, 2, 2)}
        yield {"words": part(3), "sentences": part()}

    found = [{name: one.units["text_id"].to_pylist() for name, one in of.items()} for of in whole_texts(parts())]
    assert found == [
        {"words": [0, 0], "sentences": [0]},
        {"words": [1, 1, 1, 1], "sentences": [1, 1, 1]},
        {"words": [2], "sentences": [2, 2]},
        {"words": [3], "sentences": []},
    ]
