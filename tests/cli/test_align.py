"""`lamina align` through the front door: what it prints and writes, the known error rates, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

SOURCE = ["The red house is old .", "10\u00a0000 books", "", "<b>Yes</b> </script>"]
TARGET = ["La maison rouge est vieille .", "10\u00a0000 livres", "Rien .", "<b>Oui</b> </script>"]
GOLD = "1-1 2p3 3-2 4-4 5-5 6-6\n1-1 2-2\n\n1-1 2-2\n"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.txt"
    rows = zip(SOURCE, TARGET, strict=True)
    path.write_text("".join(f"{s} ||| {t}\n" for s, t in rows), encoding="utf-8")
    return path


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    path = tmp_path / "gold.txt"
    path.write_text(GOLD, encoding="utf-8")
    return path


def document(cli: Cli, *arguments: Any) -> dict[str, Any]:
    outcome = cli("align", *arguments, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


@pytest.mark.parametrize(("name", "aer"), [("enfr", 4.07), ("roen", 20.75)])
def test_known_outputs_have_their_known_error_rate(cli: Cli, shared_data: Path, name: str, aer: float) -> None:
    start = shared_data / "word_alignment" / name
    found = document(
        cli, f"{start}.src-tgt", "--links", f"{start}.awesome-align.out", "--gold", f"{start}.gold", "--first", 1
    )  # fmt: skip
    (row,) = found["rows"]
    assert round(100 * row["aer"], 2) == aer


def test_two_sentences_two_files_and_one_file_give_the_same_lines(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    whole = cli("align", pairs, "--quiet")
    assert whole.code == 0, whole.err
    printed = whole.out.splitlines()
    assert len(printed) == len(SOURCE)
    assert "2-1" in printed[0].split()  # house, maison
    assert printed[2] == ""
    for name, texts in (("source", SOURCE), ("target", TARGET)):
        (tmp_path / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    files = (tmp_path / "source", tmp_path / "target")
    assert cli("align", *files, "--split", "spaces", "--quiet").out == whole.out
    assert cli("align", SOURCE[0], TARGET[0], "--split", "spaces", "--quiet").out.splitlines() == printed[:1]
    assert cli("align", f"{SOURCE[0]} ||| {TARGET[0]}", "--quiet").out.splitlines() == printed[:1]
    long = " ".join([SOURCE[0]] * 20), " ".join([TARGET[0]] * 20)  # longer than a file's name can be
    assert "2-1" in cli("align", *long, "--quiet").out.split()
    assert "2-1" in cli("align", " ||| ".join(long), "--quiet").out.split()
    found = document(cli, *files, "--layers", 4)
    assert found["each"][0]["source"] == SOURCE[0].split()
    assert found["each"][3]["source"] != SOURCE[3].split()  # Unicode's words part the brackets


def test_figures_by_layer_against_gold(cli: Cli, pairs: Path, gold: Path, tmp_path: Path) -> None:
    out, page, chart = (tmp_path / name for name in ("out", "page.html", "chart.json"))
    asked = (pairs, "--gold", gold, "--first", 1, "--method", "intersection", "--method", "match", "--layers", "2,4")
    found = document(cli, *asked, "-o", out, "--report", page, "--chart", chart)
    assert [(row["layer"], row["method"]) for row in found["rows"]] == [
        (layer, method) for layer in ("2", "4") for method in ("intersection", "match")
    ]
    best = min(found["rows"], key=lambda row: row["aer"])
    lines = out.read_text(encoding="utf-8").splitlines()
    assert sum(len(line.split()) for line in lines) == best["links"]
    assert [[f"{i}-{j}" for i, j in one["links"]] for one in found["each"]] == [line.split() for line in lines]
    again = document(cli, pairs, "--links", out, "--gold", gold, "--first", 1)
    assert again["rows"][0]["aer"] == best["aer"]
    assert found["each"][1]["source"] == ["10\u00a0000", "books"]  # a no-break space is part of a word
    written = page.read_text(encoding="utf-8")
    assert "<b>Yes" not in written.replace("&lt;", "")
    assert json.loads(chart.read_text(encoding="utf-8"))["layer"]
    data = json.loads(written.split('id="align-data">')[1].split("</script>")[0])
    assert data["words"][3] == [["<b>Yes</b>", "</script>"], ["<b>Oui</b>", "</script>"]]
    assert data["gold"][0][0] == [[0, 0], [2, 1], [3, 3], [4, 4], [5, 5]]
    assert data["found"][data["best"]]["links"] == [one["links"] for one in found["each"]]


def test_layers_without_gold_are_a_table(cli: Cli, pairs: Path, tmp_path: Path) -> None:
    outcome = cli("align", pairs, "--layers", "0,6", "--quiet")
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["layer", "0", "6"]
    found = document(cli, pairs, "--layers", "0,6", "--report", tmp_path / "p.html")
    assert found["each"] == []
    assert 0 < found["rows"][0]["source"] <= 1
    refused = cli("align", pairs, "--layers", "0,6", "-o", tmp_path / "out", "--quiet")
    assert refused.code == 2
    assert "say one" in refused.sentence


def test_mining_prints_and_writes_pairs(cli: Cli, tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("The cat sleeps.\nMy train\tis late.\n\nSnow fell.\n", encoding="utf-8")
    target.write_text("Snow has fallen.\nThe cat is sleeping.\nMy train was late.\n", encoding="utf-8")
    outcome = cli("align", "--mine", source, target, "--quiet")
    assert outcome.code == 0, outcome.err
    rows = [line.split("\t") for line in outcome.out.splitlines()]
    assert {(row[1], row[2]) for row in rows} == {("0", "1"), ("1", "2"), ("3", "0")}
    assert {row[3] for row in rows} == {"The cat sleeps.", "My train is late.", "Snow fell."}
    found = document(cli, "--mine", source, target, "-o", tmp_path / "out", "--margin", 1.0)
    assert all(one["margin"] >= 1 for one in found["each"])
    assert len((tmp_path / "out").read_text(encoding="utf-8").splitlines()) == len(found["each"])


def test_mining_in_figures_by_layer(cli: Cli, tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("The cat sleeps.\nMy train is late.\nSnow fell.\n", encoding="utf-8")
    target.write_text("The cat is sleeping.\nMy train was late.\nSnow has fallen.\n", encoding="utf-8")
    found = document(cli, "--mine", source, target, "--parallel", "--report", tmp_path / "p.html")
    assert [row["layer"] for row in found["rows"]] == [str(layer) for layer in range(7)]
    assert found["rows"][6]["f1"] == 1.0
    assert "<table>" in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("PAIRS", "--gold", "GOLD"), "counted from 1?"),
        (("PAIRS", "--method", "best"), "intersection, itermax"),
        (("PAIRS", "--method", "softmax", "--threshold", "2"), "threshold"),
        (("PAIRS", "--layers", "9"), "layer 9"),
        (("GOLD",), "expected source |||"),
        (("PAIRS", "GOLD", "--gold", "OTHER", "--first", "1"), "OTHER"),
        (("--mine", "PAIRS", "OTHER", "--parallel"), "not parallel"),
        (("--mine", "PAIRS", "GOLD", "--layers", "1,2"), "say one"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    cli: Cli, pairs: Path, gold: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("0-0\n", encoding="utf-8")
    names = {"PAIRS": pairs, "GOLD": gold, "OTHER": other}
    outcome = cli("align", *(names.get(one, one) for one in arguments), "--quiet")
    assert outcome.code in (1, 2)
    assert reason.replace("OTHER", str(other)) in outcome.sentence


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a", "b", "c"),
        ("nowhere.txt",),
        ("nowhere.en", "nowhere.fr"),
        ("PAIRS", "text"),
        ("PAIRS", "--links", "PAIRS"),
        ("PAIRS", "--parallel"),
        ("PAIRS", "--gold", "PAIRS", "--split", "unicode"),
        ("--mine", "PAIRS"),
        ("--mine", "PAIRS", "PAIRS", "--gold", "PAIRS"),
        ("--mine", "PAIRS", "PAIRS", "--report", "p.html"),
    ],
)
def test_what_was_mistyped_says_how_it_is_used(cli: Cli, pairs: Path, arguments: tuple[str, ...]) -> None:
    outcome = cli("align", *(str(pairs) if one == "PAIRS" else one for one in arguments))
    assert outcome.code == 2
    assert "Usage: lamina align" in outcome.err
