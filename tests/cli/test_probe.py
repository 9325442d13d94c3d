"""Proves that `lamina probe` answers from one extraction, gives one document, and refuses what cannot be probed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.apps.winner import read_winner
from tests.cli.conftest import Cli

RNG = np.random.default_rng(0)
GOOD, BAD = ("good", "fine", "lovely", "glad"), ("bad", "poor", "awful", "sad")


def rows(n: int) -> list[dict[str, str]]:
    """Texts whose words say their label, and a score that grows with their length."""
    found = []
    for k in range(n):
        words = RNG.choice(GOOD if k % 2 else BAD, size=int(RNG.integers(2, 9)))
        found.append({"text": f"{' '.join(words)} day {k}", "kind": ("bad", "good")[k % 2],
                      "score": f"{len(words) + RNG.random():.3f}", "author": f"a{k % 11}",
                      "part": "test" if k % 5 == 0 else "train"})  # fmt: skip
    return found


def written(path: Path, found: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("probe") / "texts.csv", rows(60))


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "tagged.conll"
    tags = {"the": "DET", "a": "DET", "cat": "NOUN", "dog": "NOUN", "sees": "VERB", "has": "VERB"}
    sentences = [RNG.choice(list(tags), size=int(RNG.integers(2, 7))) for _ in range(30)]
    path.write_text("\n\n".join("\n".join(f"{word}\t{tags[word]}" for word in one) for one in sentences) + "\n")
    return path


def document(cli: Cli, *arguments: object) -> dict:
    outcome = cli("probe", *arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("\n") == 1
    return json.loads(outcome.out)


def test_it_says_which_layer_and_writes_everything(cli: Cli, texts: Path, tmp_path: Path) -> None:
    """The bundled model, on texts whose words tell."""
    test = written(tmp_path / "test.csv", rows(30))
    outcome = cli(
        "probe", texts, "--label", "kind", "--pools", "mean", "--layers", "3..6", "--test", test,
        "--save", tmp_path / "w.json", "--report", tmp_path / "p.html", "--chart", tmp_path / "c.svg",
    )  # fmt: skip
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("accuracy by 5-fold cross-validation over 60 texts, with 95 % intervals\n")
    assert "2 classes: bad 30, good 30" in outcome.out
    assert "\nBest: " in outcome.out
    assert "on 30 texts never seen: accuracy 1.0000" in outcome.out.split("Test: ")[1]
    winner = read_winner(tmp_path / "w.json")
    assert (winner.model, winner.unit, winner.label) == ("minilm", "text", "kind")
    assert set(winner.scores) == {"accuracy", "low", "high", "test"}
    assert len(winner.weights_sha256 or "") == 64
    page = (tmp_path / "p.html").read_text()
    assert "lamina" in page
    assert winner.weights_sha256 in page
    assert (tmp_path / "c.svg").read_text().startswith("<svg")


def test_json_is_one_document_with_every_pool_from_one_extraction(cli: Cli, texts: Path, deep_bert: Path) -> None:
    found = document(cli, texts, "--label", "kind", "--model", deep_bert, "--no-curve", "--no-control", "--folds", 3)
    assert {row["pool"] for row in found["rows"]} == {"mean", "max", "cls"}
    assert {row["layer"] for row in found["rows"] if row["combine"] == "none"} == set(range(13))
    assert {row["combine"] for row in found["rows"]} == {"none", "mean", "concat", "learned"}
    assert set(found) >= {"rows", "best", "cheapest", "baselines", "test"}
    assert found["test"] is None
    assert found["baselines"]["bag of words"] > 0.9


def test_what_was_kept_is_used_again_and_is_a_dataset_to_probe(
    cli: Cli, texts: Path, deep_bert: Path, tmp_path: Path
) -> None:
    options = ("--label", "kind", "--no-curve", "--no-control", "--mixes", "", "--pools", "mean,max")
    how = ("--model", deep_bert, "--layers", "0,6,12", "--keep", tmp_path / "kept")
    first = document(cli, texts, *how, *options)
    again = document(cli, texts, *how, *options)
    assert lamina.open(tmp_path / "kept" / "max").spec.pool == "max"
    assert first == again
    opened = document(cli, tmp_path / "kept", *options[:-2])
    assert sorted(map(str, opened["rows"])) == sorted(map(str, first["rows"]))
    one = document(cli, tmp_path / "kept" / "mean", *options[:-2])
    means = [row for row in first["rows"] if row["pool"] == "mean"]
    assert one["rows"] == [
        row | {"behind": mine["behind"], "noise": mine["noise"]} for row, mine in zip(means, one["rows"], strict=True)
    ]


def test_random_weights_are_extracted_and_probed_beside(cli: Cli, texts: Path, deep_bert: Path, tmp_path: Path) -> None:
    how = ("--model", deep_bert, "--layers", "0,6,12", "--pools", "mean", "--mixes", "")
    options = ("--label", "kind", "--no-curve", "--no-control", *how)
    found = document(cli, texts, *options, "--random-weights", "--keep", tmp_path)
    assert all(row["random"] is not None for row in found["rows"])
    assert found == document(cli, texts, *options, "--random-weights", "--keep", tmp_path)


def test_conll_is_probed_word_by_word(cli: Cli, tagged: Path, deep_bert: Path) -> None:
    how = ("--model", deep_bert, "--layers", "0,6,12", "--no-curve", "--folds", 3)
    found = document(cli, tagged, *how, "--test", tagged)
    assert found["unit"] == "word"
    assert {row["pool"] for row in found["rows"]} == {"mean", "first"}
    assert set(found["classes"]) == {"DET", "NOUN", "VERB"}
    assert found["baselines"]["commonest label of each word"] == 1
    assert found["test"]["n"] == found["n"]


def test_words_in_a_column_with_tags_beside_them(cli: Cli, tiny_bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "tags.jsonl"
    lines = [{"w": ["one", "two"], "t": ["A", "B"]}, {"w": ["two"], "t": ["B"]}] * 6
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ("--model", tiny_bert, "--pools", "mean", "--mixes", "")
    found = document(cli, path, "--words", "w", "--label", "t", *options)
    assert found["classes"] == {"A": 6, "B": 12}


def test_plain_lines_of_label_and_text(cli: Cli, tiny_bert: Path, tmp_path: Path) -> None:
    path = tmp_path / "lines.all"
    path.write_text("".join(f"{k % 2} {('no', 'yes')[k % 2]} {k}\n" for k in range(20)))
    how = ("--format", "txt", "--columns", "label,text", "--model", tiny_bert)
    found = document(cli, path, *how, "--label", "label", "--mixes", "")
    assert found["classes"] == {"0": 10, "1": 10}


def test_numbers_groups_splits_and_the_cheapest(cli: Cli, texts: Path, deep_bert: Path) -> None:
    how = ("--model", deep_bert, "--layers", "0,6,12", "--pools", "mean", "--mixes", "")
    options = ("--no-curve", "--no-control", *how)
    found = document(cli, texts, "--label", "score", "--groups", "author", *options)
    assert (found["metric"], found["classes"]) == ("spearman", {})
    split = document(cli, texts, "--label", "kind", "--split", "part", "--choose", "cheapest", *options)
    assert (split["n"], split["test"]["n"], split["choose"]) == (48, 12, "cheapest")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--label", "mood"), 2, "there is no column 'mood'"),
        ((), 2, "say which column holds the labels: --label COLUMN"),
        (("--label", "author", "--folds", "9"), 2, "classes have fewer members than the 9 folds"),
        (("--label", "kind", "--metric", "r2"), 2, "metric must be accuracy or macro-f1"),
        (("--label", "kind", "--mixes", "mean:0,99"), 2, "layer 99"),
        (("--label", "kind", "--groups", "clan"), 2, "there is no column 'clan'"),
        (("--label", "kind", "--unit", "word"), 1, "not a list with a label for each word"),
        (("--label", "kind", "--pools", "cls,nose"), 2, "pool must be one of"),
        (("--label", "kind", "--test", "gone.csv"), 1, "gone.csv cannot be read"),
        (("--label", "kind", "--chart", "c.gif"), 2, "a chart is written as .svg, .png, .html or .json, not 'c.gif'"),
        (("--label", "kind", "--report", "gone/p.html"), 2, "there is no folder 'gone'"),
        (("--label", "kind", "--save", "gone/w.json"), 2, "--save gone/w.json cannot be written: there is no folder"),
        (("--label", "kind", "--report", "."), 2, "--report . is a folder"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(
    cli: Cli, texts: Path, tiny_bert: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    outcome = cli("probe", texts, "--model", tiny_bert, *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert "bug in Lamina" not in outcome.err


@pytest.mark.parametrize(("name", "content"), [("e.csv", "text,kind\n"), ("e.conll", ""), ("e.txt", "")])
def test_a_file_without_texts_says_so_before_a_model_is_loaded(
    cli: Cli, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    outcome = cli("probe", tmp_path / name, "--label", "kind", "--model", tmp_path / "no model")
    assert outcome.code == 2
    assert "holds no text" in outcome.err


def test_a_dataset_is_probed_as_it_is(cli: Cli, made: Path) -> None:
    outcome = cli("probe", made, "--label", "kind", "--random-weights")
    assert (outcome.code, outcome.out) == (2, "")
    assert "a dataset is probed as it is" in outcome.err
