"""Proves that models are trained from the front door: results, errors in a sentence, interruptions without loss."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Cli
from tests.train.small import flat, sentences, small_bert

FAST = ["--epochs", "2", "--batch-size", "8", "--precision", "float32", "--device", "cpu", "--learning-rate", "1e-3"]
PLAIN = ["--dropout", "0", "--attention-dropout", "0", "--epochs", "10", "--learning-rate", "5e-3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    examples = sentences(60)
    rows = [
        {"text": text.text, "kind": label, "words": text.text.split(), "tags": ["O"] * len(text.text.split())}
        for text, label in zip(examples.texts, examples.labels, strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_classifier_is_trained_and_says_what_it_came_to(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    asked = ["train", "classify", str(data), "--label", "kind", "--model", str(model), "-o", out, "--json", *FAST]
    outcome = cli(*asked, "--tensorboard", "--class-weights", "bright=2,dull=1")
    assert (outcome.code, outcome.err) == (0, "")
    document = json.loads(outcome.out)
    assert document["class_weights"] == [2, 1]
    assert len(document["losses"]) == document["step"] == 14
    assert list(document["figures"]) == ["step", "macro_f1", "accuracy", "loss"]
    assert any(path.name.startswith("events") for path in (tmp_path / "out" / "tensorboard").iterdir())
    again = cli(*asked, "--tensorboard", "--class-weights", "bright=2,dull=1")
    assert json.loads(again.out)["losses"] == document["losses"]


def test_rows_without_a_value_are_counted_in_every_file(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    lacking = tmp_path / "lacking.jsonl"
    lacking.write_text(data.read_text() + '{"text": "a b c", "kind": ""}\n')
    asked = ["train", "classify", str(data), "--label", "kind", "--model", str(model), "-o", str(tmp_path / "o"), *FAST]
    outcome = cli(*asked, "--validate", lacking, "--test", lacking)
    assert outcome.code == 0
    assert outcome.err.splitlines() == [f"1 rows of {lacking} without a value in column 'kind' are left out"] * 2


@pytest.mark.parametrize("kind", ["classify", "tag", "answer", "similarity", "pretrain", "distil"])
def test_without_torch_a_kind_asks_for_its_extra_and_still_has_help(
    cli: Cli, data: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamina.cli.training.find_spec", lambda _: None)
    needed = {"classify": ["--label", "kind"], "distil": ["--layers", "1"]}.get(kind, [])
    outcome = cli("train", kind, str(data), "-o", str(tmp_path / "out"), *needed)
    assert (outcome.code, outcome.err) == (1, "lamina: training needs torch: pip install 'lamina[train]'\n")
    assert cli("train", kind, "--help").code == 0


def test_what_tensorboard_reads_is_the_run(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    asked = ["train", "classify", str(data), "--label", "kind", "--model", str(model), "-o", str(tmp_path / "o"), *FAST]
    document = json.loads(cli(*asked, "--tensorboard", "--json").out)
    events = EventAccumulator(str(tmp_path / "o" / "tensorboard")).Reload()
    found = [[event.step, event.value] for event in events.Scalars("train/loss")]
    assert flat(found) == pytest.approx(flat(document["losses"]), rel=1e-6)
    assert [event.step for event in events.Scalars("held_out/accuracy")] == [7, 14]


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        (["--label", "stars"], 1, "has no column 'stars'; beside the text it has"),
        (["--label", "kind", "--epochs", "0"], 2, "epochs must be a whole number of at least 1, not 0"),
        (["--label", "kind", "--class-weights", "some"], 2, "class_weights must be 'balanced'"),
        (["--label", "kind", "--freeze", "9"], 2, "freeze must be at most 2"),
        (["--label", "kind", "--validate", "absent.csv"], 1, "absent.csv"),
        (["--label", "kind", "--device", "cuda:7"], 1, "device 'cuda:7' is not there"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    cli: Cli, model: Path, data: Path, tmp_path: Path, asked: list[str], code: int, said: str
) -> None:
    outcome = cli(
        "train", "classify", str(data), "--text", "text", "--model", str(model), "-o", str(tmp_path / "o"), *asked
    )
    assert said in outcome.sentence
    assert outcome.code == code


def test_words_are_tagged_from_a_column(cli: Cli, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("".join(f"{'aeiou'[i % 5]}\tO\nz{'bcd'[i % 3]}\tB-x\n{'mnpq'[i % 4]}\tO\n\n" for i in range(60)))
    outcome = cli("train", "tag", str(path), "--model", str(model), "-o", str(tmp_path / "o"), *FAST, *PLAIN)
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].split() == ["step", "f1", "precision", "recall", "accuracy"]
    tagged = cli("tag", "predict", "--head", str(tmp_path / "o"), str(path), "--format", "conll")
    assert tagged.code == 0
    assert [word["tag"] for word in json.loads(tagged.out.splitlines()[0])["words"]] == ["O", "B-x", "O"]


def test_questions_and_pairs_are_learnt_from(cli: Cli, model: Path, tmp_path: Path) -> None:
    asked = [
        {"id": str(i), "question": "where", "answers": [{"text": str(i % 10), "answer_start": 4}]} for i in range(20)
    ]
    paragraphs = [{"context": f"a b {one['answers'][0]['text']} c", "qas": [one]} for one in asked]
    (tmp_path / "squad.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    outcome = cli(
        "train", "answer", str(tmp_path / "squad.json"), "--model", str(model), "-o", str(tmp_path / "a"), *FAST
    )
    assert outcome.code == 0
    assert "exact_match" in outcome.out
    (tmp_path / "pairs.csv").write_text("one,two,score\n" + "".join(f"a b {i},c d {i},{i % 5}\n" for i in range(30)))
    pairs = ["train", "similarity", str(tmp_path / "pairs.csv"), "--text", "one", "--model", str(model), *FAST]
    outcome = cli(*pairs, "--pair", "two", "--score", "score", "-o", str(tmp_path / "s"))
    assert outcome.code == 0
    assert "spearman" in outcome.out
    outcome = cli(*pairs, "--pair", "two", "-o", str(tmp_path / "t"))
    assert outcome.code == 0
    assert "found" in outcome.out
    assert "name the column of the second text with --pair" in cli(*pairs, "-o", str(tmp_path / "u")).sentence


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to another process")
def test_an_interrupted_run_goes_on_with_the_same_command(cli: Cli, model: Path, data: Path, tmp_path: Path) -> None:
    """That it goes on to the same bits is shown in tests/train/test_loop.py."""
    out, rest = tmp_path / "out", ["--evaluate-every", "10000", "--epochs", "60", "--tensorboard"]
    asked = ["train", "classify", str(data), "--label", "kind", "--model", str(model), "-o", str(out), *FAST, *rest]
    broken = subprocess.Popen([sys.executable, "-m", "lamina", *asked], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    until = time.monotonic() + 60
    while not (out / "tensorboard").is_dir() and time.monotonic() < until:  # until the first step is done
        time.sleep(0.02)
    os.kill(broken.pid, signal.SIGINT)
    printed, said = broken.communicate(timeout=60)
    assert (broken.returncode, printed) == (130, b""), said.decode()
    assert b"the same command goes on from there" in said
    done = int(said.decode().split("stopped after step ")[1].split(";")[0].replace(",", ""))
    assert (out / "training.state").is_file()
    assert not (out / "training.json").exists()
    outcome = cli(*asked, "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document["step"] == 420 > done > 0
    assert not (out / "training.state").exists()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps: list[int] = []
    for path in sorted((out / "tensorboard").iterdir()):  # a file a sitting
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        steps += [event.step for event in events.Scalars("train/loss")]
    assert sorted(steps) == list(range(1, 421))  # no step twice, none left out


def test_every_command_of_the_page_can_be_typed() -> None:
    from lamina.cli.train import KINDS, command

    page = (Path(__file__).parents[2] / "docs" / "train.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if "lamina train" in line]
    assert len(lines) >= 7
    group = click.Context(command)
    for line in lines:
        _, kind, *arguments = shlex.split(line.split("lamina ", 1)[1], comments=True)
        found = command.get_command(group, kind)
        assert found is not None
        found.make_context(kind, arguments)  # refuses an option that is not there
    known = {name for kind in KINDS if kind in ("classify", "tag", "answer", "similarity")
             for one in command.get_command(group, kind).params for name in one.opts}  # type: ignore[union-attr]  # fmt: skip
    assert set(re.findall(r"`(--[a-z-]+)", page)) <= known | {"--head"}


@pytest.mark.parametrize("kind", ["classify", "tag", "answer", "similarity"])
def test_every_setting_is_an_option_with_a_text_and_its_default(kind: str) -> None:
    from lamina.cli.train import command
    from lamina.train import settings

    found = command.get_command(click.Context(command), kind)
    assert found is not None
    options = {one.name: one for one in found.params if isinstance(one, click.Option)}
    defaults = getattr(settings, kind.upper())
    assert all(one.help for one in options.values())
    for field in fields(settings.Settings):
        assert options[field.name].default == getattr(defaults, field.name), field.name
