"""`lamina score` through the front door: columns and files, idf, baselines, judgements."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lamina.cli.score import _prepared
from tests.cli.conftest import Cli

PAIRS = [
    ("The boat left the harbour.", "A ship sailed out of the port.", "4"),
    ("It rained all night.", "The sun shone on the hills.", "1"),
    ("He baked two loaves.", "He baked two loaves.", "5"),
    ("Prices rose.", "The cat is asleep.", "0"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = ["candidate\treference\thuman", *("\t".join(pair) for pair in PAIRS)]
    (tmp_path / "pairs.tsv").write_text("".join(f"{line}\n" for line in lines))
    for name, place in (("hyps.txt", 0), ("refs.txt", 1)):
        (tmp_path / name).write_text("".join(f"{pair[place]}\n" for pair in PAIRS))
    (tmp_path / "others.txt").write_text("It rained all night.\n" * 4)
    return tmp_path


def document(cli: Cli, *arguments: object) -> dict[str, Any]:
    outcome = cli("score", *arguments, "--json", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def columns(folder: Path) -> tuple[object, ...]:
    return (folder / "pairs.tsv", "--candidate", "candidate", "--reference", "reference")


def test_columns_and_files_score_alike(cli: Cli, folder: Path) -> None:
    of_columns = document(cli, *columns(folder), "--pairs")
    of_files = document(cli, folder / "hyps.txt", "--references", folder / "refs.txt", "--pairs")
    assert of_columns["rows"] == of_files["rows"]
    assert of_columns["each"] == of_files["each"]
    assert [row["layer"] for row in of_columns["rows"]] == list("0123456")
    equal = [row for row in of_columns["each"] if row["pair"] == 2]
    assert all(row["f1"] == pytest.approx(1) for row in equal)
    by_layer = [row["f1"] for row in of_columns["each"] if row["layer"] == "4"]
    assert of_columns["rows"][4]["f1"] == pytest.approx(np.mean(by_layer), abs=1e-12)


def test_layers_and_mixes(cli: Cli, folder: Path) -> None:
    rows = document(cli, *columns(folder), "--layers", "mean:-2..-1", "--layers", "-3")["rows"]
    assert [row["layer"] for row in rows] == ["mean:5,6", "4"]
    assert rows[1] == document(cli, *columns(folder), "--layers", "4")["rows"][0]
    assert rows[1] == document(cli, *columns(folder))["rows"][4]  # to the bit, whatever else is asked for


def test_more_references_never_score_lower(cli: Cli, folder: Path) -> None:
    one = ("--references", folder / "refs.txt")
    both = document(cli, folder / "hyps.txt", *one, "--references", folder / "others.txt", "--layers", "4", "--pairs")
    alone = document(cli, folder / "hyps.txt", *one, "--layers", "4", "--pairs")
    assert both["references"] == 2
    assert both["each"][1]["f1"] == pytest.approx(1)
    for two, single in zip(both["each"], alone["each"], strict=True):
        assert two["f1"] >= single["f1"]


def test_idf_changes_scores(cli: Cli, folder: Path) -> None:
    found = document(cli, *columns(folder), "--layers", "4", "--idf")
    assert found["idf"] is True
    assert found["rows"] != document(cli, *columns(folder), "--layers", "4")["rows"]


def test_a_baseline_of_shuffled_references_can_be_kept(cli: Cli, folder: Path) -> None:
    kept = folder / "baseline.tsv"
    random = document(cli, *columns(folder), "--baseline", "random", "--save-baseline", kept)
    from_file = document(cli, *columns(folder), "--baseline", kept)
    assert from_file["rows"] == random["rows"]
    raw = document(cli, *columns(folder))["rows"]
    values = [line.split(",") for line in kept.read_text().splitlines()]
    assert values[0] == ["LAYER", "P", "R", "F"]
    for row, before, (layer, p, _, f) in zip(random["rows"], raw, values[1:], strict=True):
        assert row["layer"] == layer
        assert row["precision"] == pytest.approx((before["precision"] - float(p)) / (1 - float(p)))
        assert row["f1"] == pytest.approx((before["f1"] - float(f)) / (1 - float(f)))
    outcome = cli("score", *columns(folder), "--baseline", kept, "--layers", "mean:1,2", "--quiet")
    assert outcome.code == 2
    assert "no layer mean:1,2" in outcome.sentence


def test_agreement_with_people(cli: Cli, folder: Path) -> None:
    chart, page = folder / "agreement.svg", folder / "page.html"
    outcome = cli(
        "score", *columns(folder), "--human", "human", "--quiet", "--chart", chart, "--report", page, "--json"
    )  # fmt: skip
    last = json.loads(outcome.out)["rows"][6]
    assert last["f1_spearman"] == pytest.approx(1)
    assert last["cosine_pearson"] > 0.9
    assert chart.read_text().startswith("<svg")
    assert "agrees best with people" in page.read_text()


def test_judgements_that_are_all_alike_agree_with_nothing(cli: Cli, folder: Path) -> None:
    path, chart = folder / "alike.csv", folder / "alike.svg"
    path.write_text("a,b,human\nhello there,hello,1\ngood day,good night,1\n")
    asked = ("score", path, "--candidate", "a", "--reference", "b", "--human", "human", "--layers", "4", "--quiet")
    assert json.loads(cli(*asked, "--json").out)["rows"][0]["f1_spearman"] is None
    assert "no score to draw" in cli(*asked, "--chart", chart).sentence


def test_for_people(cli: Cli, folder: Path) -> None:
    (folder / "hyps.txt").write_text("\n" + "x\n" * 3)
    outcome = cli("score", folder / "hyps.txt", "--references", folder / "refs.txt", "--layers", "4", "--quiet")
    assert outcome.out.split()[:5] == ["layer", "precision", "recall", "f1", "cosine"]
    assert outcome.err == "1 pairs have an empty text, and score 0\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("hyps.txt",), 2, "what the references are"),
        (("hyps.txt", "--references", "refs.txt", "--reference", "r"), 2, "what the references are"),
        (("hyps.txt", "--references", "short.txt"), 1, "holds 4 texts, short.txt 1"),
        (("empty.txt", "--references", "refs.txt"), 1, "no text to score"),
        (("pairs.tsv", "--candidate", "candidate", "--reference", "missing"), 1, "missing"),
        (("pairs.tsv", "--candidate", "candidate", "--reference", "human", "--human", "reference"), 2, "no number"),
        (("hyps.txt", "--references", "refs.txt", "--baseline", "nowhere.tsv"), 1, "nowhere.tsv cannot be read"),
        (("hyps.txt", "--references", "refs.txt", "--baseline", "refs.txt"), 1, "expected LAYER,P,R,F"),
        (("hyps.txt", "--references", "refs.txt", "--layers", "9"), 2, "layer 9"),
        (("short.txt", "--references", "short.txt", "--baseline", "random"), 2, "two different texts"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    cli: Cli, folder: Path, arguments: tuple[str, ...], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "short.txt").write_text("one\n")
    (folder / "empty.txt").write_text("")
    outcome = cli("score", *arguments, "--quiet")
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert "bug in Lamina" not in outcome.err


def test_texts_are_read_as_the_authors_of_bertscore_read_them() -> None:
    """White space goes; RoBERTa's first word is read like any other, after a space."""
    texts = [" a text\n", "", "  "]
    for family, expected in (("bert", ["a text", "", ""]), ("roberta", [" a text", "", ""])):
        model: Any = SimpleNamespace(architecture=SimpleNamespace(family=family))
        assert _prepared(model, texts) == expected
