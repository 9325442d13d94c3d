"""Proves `lamina keywords` through the front door: texts, a file and a dataset in; phrases, scores and a page out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

TEXTS = [
    ("The ferry to the island is late because of fog.", "sea", ["ferry"]),
    ("Fog hides the harbour, and the ferry waits.", "sea", ["ferry", "harbour"]),
    ("Bakers knead rye dough at night.", "bread", ["rye dough"]),
    ("Rye bread rises slowly in a cold <bakery>.", "bread", ["rye bread"]),
]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": text, "kind": kind, "gold": gold} for text, kind, gold in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_phrases_of_a_file_by_layer(cli: Cli, texts: Path, tmp_path: Path) -> None:
    out, page, chart = tmp_path / "out.jsonl", tmp_path / "page.html", tmp_path / "f1.svg"
    done = cli("keywords", texts, "--layers", "0,6", "--k", 3, "--label", "gold", "--json", "--quiet", "-o", out,
               "--report", page, "--chart", chart)  # fmt: skip
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert {row["layer"] for row in document["rows"]} == {"0", "6"}
    assert [row["layer"] for row in document["scores"]] == ["0", "6", "first", "tf-idf", "all"]
    assert document["scores"][-1]["recall"] == 1.0
    for row in document["rows"]:
        for place in row["places"]:
            assert TEXTS[place["text_id"]][0][place["start"] : place["end"]].lower() == row["phrase"].lower()
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(line["layer"], line["document"]) for line in lines] == [(k, n) for k in ("0", "6") for n in range(4)]
    assert [one["phrase"] for one in lines[0]["keywords"]] == [row["phrase"] for row in document["rows"][:3]]
    assert "<th>layer 6</th>" in page.read_text()
    assert chart.read_text().startswith("<svg")


def test_phrases_of_groups_of_a_dataset_of_words(cli: Cli, texts: Path, tmp_path: Path) -> None:
    words = tmp_path / "words"
    assert cli("extract", texts, "-o", words, "--unit", "word", "--layers", "0,6", "--quiet").code == 0
    done = cli("keywords", words, "--by", "kind", "--min-count", 2, "--json")
    found = {(row["document"], row["phrase"].lower()) for row in json.loads(done.out)["rows"]}
    assert found == {("sea", "ferry"), ("sea", "fog"), ("bread", "rye")}
    alone = cli("keywords", words, "--phrase", "alone", "--k", 2, "--json", "--centre")
    assert len(json.loads(alone.out)["rows"]) == 8


def test_a_text_in_quotes_shows_its_layers_side_by_side(cli: Cli) -> None:
    done = cli("keywords", TEXTS[0][0], "--layers", "all", "--k", 2)
    assert done.out.splitlines()[0].split("  ")[0] == "layer 0"
    assert len(done.out.splitlines()) == 3
    assert "no phrase" in cli("keywords", "to be or not to be").out


def test_stop_words_of_ones_own(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "stops.txt"
    path.write_text("ferry\nthe to is of because\n")
    done = cli("keywords", TEXTS[0][0], "--stop-words", path, "--json", "--k", 50)
    phrases = {row["phrase"] for row in json.loads(done.out)["rows"]}
    assert "late because of fog" not in phrases
    assert {"island", "late", "fog"} <= phrases
    assert not any(phrase.split()[0].lower() in ("the", "ferry") for phrase in phrases)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stop-words", "nowhere.txt"], "nowhere.txt cannot be read"),
        (["--stop-words", "common"], "20 are needed"),
        (["--label", "nothing"], "no column 'nothing'"),
        (["--layers", "9"], "9"),
        (["--centre", "--by", "one"], "no column 'one'"),
    ],
)
def test_bad_input_is_one_sentence(cli: Cli, texts: Path, arguments: list[str], said: str) -> None:
    assert said in cli("keywords", texts, "--quiet", *arguments).sentence


def test_units_that_are_no_words_are_refused(cli: Cli, made: Path) -> None:
    assert "--unit word" in cli("keywords", made).sentence


def test_nothing_given_is_a_mistyped_command(cli: Cli, texts: Path) -> None:
    assert cli("keywords").code == 2
    assert cli("keywords", texts, "--chart", "x.svg").code == 2
