"""Pretraining and distilling from a shell: options reach the library, results come out as asked, mistakes are said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lamina
from tests.cli.conftest import Cli
from tests.samples import prose

SMALL = ("--layers", 2, "--width", 16, "--heads", 2, "--max-positions", 40, "--vocabulary-size", 150)
QUICK = ("--steps", 4, "--batch-size", 8, "--max-tokens", 32, "--device", "cpu", "--precision", "float32", "--quiet")
WORDS = ("river", "bank", "layer", "sea")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_text("".join(json.dumps({"body": prose(6, start=3 * i), "n": i}) + "\n" for i in range(30)))
    return path


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tagged") / "tagged.conll"
    sentences = ("".join(f"{w}\t{'A' if (i + k) % 2 else 'B'}\n" for k, w in enumerate(WORDS)) for i in range(20))
    path.write_text("\n".join(sentences))
    return path


def test_a_new_model_watched_drawn_and_printed(cli: Cli, texts: Path, tagged: Path, tmp_path: Path) -> None:
    out, chart = tmp_path / "bert", tmp_path / "learning.svg"
    outcome = cli(
        "train", "pretrain", texts, "--text", "body", "-o", out, *SMALL, *QUICK, "--held-out", 0.2, "--whole-words",
        "--probe", f"tag: {tagged}", "--probe-every", 2, "--chart", chart, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert {(row["step"], row["layer"]) for row in found["rows"]} == {(s, k) for s in (0, 2, 4) for k in (0, 1, 2)}
    assert found["reading"]["masking"]["whole_words"]
    assert found["step"] == 4
    assert "<svg" in chart.read_text()
    model = lamina.load(out)
    assert (model.architecture.n_layers, model.architecture.width) == (2, 16)
    again = cli("train", "pretrain", texts, "--text", "body", "-o", out, *SMALL, *QUICK, "--held-out", 0.2,
                "--whole-words", "--probe", f"tag: {tagged}", "--probe-every", 2)  # fmt: skip
    assert again.code == 0
    assert "step 4" in again.out  # nothing is left to do: what was found is shown
    assert cli("lens", "--model", out, "the [MASK] bank").code == 0


def test_a_model_is_trained_further_on_pairs(cli: Cli, texts: Path, tmp_path: Path, deep_bert: Path) -> None:
    outcome = cli("train", "pretrain", texts, "--text", "body", "-o", tmp_path / "m", "--model", deep_bert,
                  "--next-sentences", *QUICK, "--json")  # fmt: skip
    assert outcome.code == 0, outcome.err
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["architectures"] == ["BertForPreTraining"]


def test_a_student_with_its_report(cli: Cli, texts: Path, tagged: Path, tmp_path: Path, deep_bert: Path) -> None:
    page, chart = tmp_path / "page.html", tmp_path / "chart.svg"
    arguments = (
        "train", "distil", texts, "--text", "body", "-o", tmp_path / "m", "--model", deep_bert, *QUICK,
        "--held-out", 0.2, "--probe", f"tag: {tagged} texts=15", "--report", page, "--chart", chart,
    )  # fmt: skip
    outcome = cli(*arguments, "--layers", "4", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert [row["teacher_layer"] for row in found["rows"]] == [0, 3, 6, 9, 12]
    assert len(found["teacher_rows"]) == 13
    assert f"{tmp_path / 'm'} beside {deep_bert}" in page.read_text()
    assert "<svg" in chart.read_text()
    shown = cli(*arguments, "--layers", "3,6,9,12")
    assert shown.code == 0
    assert "teacher's" in shown.out
    other = cli(*arguments, "--layers", "1,12")
    assert other.code == 1
    assert "another kind" in other.sentence


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "minilm", "--layers", 2), "not both"),
        (("--probe", "no colon"), "expected NAME: FILE"),
        (("--probe", "x: file.txt colour=red"), "colour=red"),
        (("--probe", "x: file.txt texts=many"), "whole number"),
        (("--probe", "x: 'file"), "expected NAME: FILE"),
        (("--share", 0), "share"),
        (("--max-tokens", 700), "takes 512 at most"),
        (("--documents", "words"), "rows"),
        (("--steps", 0), "steps must be"),
        (("--chart", "learning.foo"), "written as .svg"),
        (("--chart", "nowhere/learning.svg"), "no folder 'nowhere'"),
        (("--chart", "learning.svg"), "give a task by --probe"),
    ],
)
def test_what_cannot_be_asked_is_said(
    cli: Cli, texts: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    outcome = cli("train", "pretrain", texts, "--text", "body", "-o", tmp_path / "m", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "m").exists()  # nothing was learnt before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--chart", "beside.foo"), "written as .svg"),
        (("--report", "nowhere/beside.html"), "no folder 'nowhere'"),
        (("--report", "beside.html", "--held-out", 0), "hold texts out"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_a_student_learns(
    cli: Cli, texts: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    outcome = cli("train", "distil", texts, "--text", "body", "-o", tmp_path / "m", "--layers", 1, *QUICK, *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "m").exists()


def test_files_that_are_not_there_or_hold_nothing(cli: Cli, tmp_path: Path, texts: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n")
    for data, said in ((tmp_path / "none.txt", "none.txt"), (tmp_path / "empty.txt", "no text")):
        outcome = cli("train", "pretrain", data, "-o", tmp_path / "m", *QUICK)
        assert outcome.code == 1
        assert said in outcome.sentence
    outcome = cli("train", "pretrain", "-", "-o", tmp_path / "m", *QUICK)
    assert (outcome.code, "only once" in outcome.sentence) == (1, True)
    outcome = cli("train", "distil", texts, "-o", tmp_path / "m", "--text", "body", "--layers", "many", *QUICK)
    assert (outcome.code, "numbers with commas" in outcome.err) == (2, True)
