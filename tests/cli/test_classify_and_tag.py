"""The front doors of `classify` and `tag`: from a file to a folder to predictions, and what is said of bad input."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from lamina.cli.main import run
from lamina.cli.trained import Run
from lamina.embeddings import Embeddings
from tests.cli.conftest import Cli, command

GOOD = ("a warm and generous film", "wonderful, funny, moving", "I loved every minute", "the best of the year", "a joy")
BAD = ("a dull and lifeless film", "tedious, clumsy, hollow", "I hated every minute", "the worst of the year", "a bore")
PAIRS = (("river", "river", "same"), ("bank", "stone", "other"))
CONLL = """\
Ann\tB-PER
Lee\tI-PER
lives\tO
in\tO
Oslo\tB-LOC

Oslo\tB-LOC
is\tO
cold\tO

Tom\tB-PER
saw\tO
Rome\tB-LOC

"""


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short texts with a number and a label."""
    path = tmp_path_factory.mktemp("reviews") / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for k in range(3):
            for n, (good, bad) in enumerate(zip(GOOD, BAD, strict=True)):
                writer.writerow([f"g{k}{n}", f"{good}, number {k}", "good"])
                writer.writerow([f"b{k}{n}", f"{bad}, number {k}", "bad"])
        writer.writerow(["none", "without a label", ""])
    return path


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "classifier"
    made = ["classify", "train", str(reviews), "-o", str(folder), "--label", "label", "--layer", "3", "--quiet"]
    assert run(made) == 0
    return folder


@pytest.fixture(scope="session")
def conll(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tags") / "train.conll"
    path.write_text(CONLL * 4)
    return path


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory, conll: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "tagger"
    made = ["tag", "train", str(conll), "-o", str(folder), "--layer", "mean:2,3", "--l2", "1", "--quiet"]
    assert run(made) == 0
    return folder


def test_a_classifier_is_trained_scored_and_shown(cli: Cli, reviews: Path, classifier: Path, tmp_path: Path) -> None:
    written = ("--report", tmp_path / "r.html", "--chart", tmp_path / "c.svg")
    outcome = cli("classify", "eval", classifier, reviews, "--label", "label", *written)
    assert (outcome.code, outcome.err) == (0, "")
    assert "accuracy 1.0000" in outcome.out
    assert "1 rows without a label left out" in outcome.out
    page = (tmp_path / "r.html").read_text()
    assert "sha256" in page
    assert "What each class is taken for" in (tmp_path / "c.svg").read_text()
    found = json.loads(cli("classify", "eval", classifier, reviews, "--label", "label", "--json").out)
    assert [row["class"] for row in found["rows"]] == ["bad", "good"]
    assert (found["accuracy"], found["n"], found["n_left_out"]) == (1.0, 30, 1)


def test_training_says_how_it_did_on_rows_held_out(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    made = ("classify", "train", reviews, "--label", "label", "--layer", "-1", "--kind", "centroid")
    outcome = cli(*made, "-o", tmp_path / "a", "--report", tmp_path / "a.html")
    assert outcome.code == 0
    assert "centroid of 2 classes, layer 6" in outcome.out
    assert "held out in turn: accuracy" in outcome.out
    assert "Held out in turn" in (tmp_path / "a.html").read_text()
    found = json.loads(cli(*made, "-o", tmp_path / "b", "--json").out)
    assert found["held_out"]["n"] == 30
    assert found["labels"] == ["bad", "good"]
    again = cli(*made, "-o", tmp_path / "a")
    assert (again.code, "holds something trained already" in again.sentence) == (1, True)


@pytest.mark.parametrize(("layer", "meant"), [("-2", "5"), ("mean:-3..-2", "mean:4,5"), ("1,-0.5:6,2", "1,-0.5:6,2")])
def test_layers_counted_from_the_end_are_the_models(
    cli: Cli, reviews: Path, tmp_path: Path, layer: str, meant: str
) -> None:
    made = ("classify", "train", reviews, "--label", "label", "--layer", layer, "--kind", "centroid", "--json")
    assert json.loads(cli(*made, "-o", tmp_path / "a").out)["layer"] == meant
    assert cli("classify", "eval", tmp_path / "a", reviews, "--label", "label").code == 0


def test_without_rows_to_spare_nothing_is_drawn_and_that_is_said(cli: Cli, tmp_path: Path) -> None:
    path, page = tmp_path / "few.csv", tmp_path / "few.html"
    path.write_text("text,label\na joy,good\na bore,bad\n")
    made = ("classify", "train", path, "--label", "label", "--layer", "1", "-o", tmp_path / "a", "--report", page)
    outcome = cli(*made, "--quiet")
    assert (outcome.code, page.exists()) == (0, False)
    assert "too few rows to hold any out" in outcome.out
    assert "no scores to draw: --report and --chart are not written" in outcome.err


def test_a_dataset_is_learnt_from_as_it_is(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    combined = ("--layers", "-2..-1", "--combine", "mean", "--pool", "max")
    assert cli("extract", reviews, "-o", tmp_path / "combined", *combined).code == 0
    assert cli("extract", reviews, "-o", tmp_path / "layers", "--layers", "2,4").code == 0
    made = ("classify", "train", "--label", "label", "--kind", "centroid", "--json", "-o", tmp_path / "a")
    assert json.loads(cli(*made, tmp_path / "combined").out)["layer"] == "combined"
    found = json.loads(cli("classify", "eval", tmp_path / "a", reviews, "--label", "label", "--json").out)
    assert found["accuracy"] > 0.9
    assert "say which layer" in cli(*made, tmp_path / "layers", "--overwrite").err
    assert json.loads(cli(*made, tmp_path / "layers", "--overwrite", "--layer", "-1").out)["layer"] == "4"
    assert "a dataset has its own" in cli(*made, tmp_path / "layers", "--overwrite", "--pool", "max").err


def test_predictions_stream_from_stdin_in_order(process: Cli, classifier: Path) -> None:
    lines = ["what a joy", "", "tedious, lifeless", "好", "\x00"] * 3
    outcome = process("classify", "predict", classifier, stdin="".join(f"{line}\n" for line in lines).encode())
    assert (outcome.code, outcome.err) == (0, "")
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [one["text_id"] for one in found] == list(range(15))
    assert [one["prediction"] for one in found[:3]] == ["good", None, "bad"]
    assert (found[1]["probability"], found[1]["status"]) == (None, "empty")
    assert found[3]["prediction"] in ("good", "bad")  # another language is no trouble
    assert found[:5] == [{**one, "text_id": one["text_id"] - 5} for one in found[5:10]]


def test_predictions_as_csv_with_every_class_and_the_columns_of_the_input(
    cli: Cli, classifier: Path, tmp_path: Path
) -> None:
    path = tmp_path / "new.csv"
    path.write_text('id,review,prediction\n7,"a joy, truly",mine\n8,,\n')
    outcome = cli("classify", "predict", classifier, path, "--text", "review", "--to", "csv", "--all")
    assert outcome.code == 0
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert [row["id"] for row in rows] == ["7", "8"]
    assert (rows[0]["prediction"], rows[0]["input_prediction"]) == ("good", "mine")
    assert float(rows[0]["probability_bad"]) + float(rows[0]["probability_good"]) == pytest.approx(1, abs=1e-5)
    assert (rows[1]["prediction"], rows[1]["probability_good"], rows[1]["status"]) == ("", "", "empty")
    assert cli("classify", "predict", classifier, path, "--text", "review", "-o", tmp_path / "out.jsonl").out == ""
    line = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (line["id"], line["prediction"], line["input_prediction"]) == ("7", "good", "mine")


def test_sentences_have_their_places_whatever_comes_with_them(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    """What a line says does not depend on how many sentences the texts beside it have."""
    assert cli("extract", reviews, "-o", tmp_path / "data", "--unit", "sentence", "--layers", "1").code == 0
    made = ("classify", "train", tmp_path / "data", "--label", "label", "-o", tmp_path / "a", "--kind", "centroid")
    assert cli(*made).code == 0
    path = tmp_path / "new.jsonl"
    for texts in (["A joy."], ["A joy. A bore."], ["A joy.", "A joy. A bore."]):
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        lines = list(csv.DictReader(io.StringIO(cli("classify", "predict", tmp_path / "a", path, "--to", "csv").out)))
        assert [line["surface"].strip() for line in lines][:1] == ["A joy."]


def test_rows_that_cannot_be_read_keep_their_place(cli: Cli, classifier: Path, tagger: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a joy"}\n{"text": 7}\n{"text": "a bore"}\n')
    outcome = cli("classify", "predict", classifier, path)
    assert outcome.code == 3
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [one["prediction"] for one in found] == ["good", None, "bad"]
    assert found[1]["status"] == "error"
    assert found[1]["error"]
    assert "1 rows could not be read" in outcome.err
    outcome = cli("tag", "predict", tagger, path)
    assert outcome.code == 3
    found = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(len(one["words"]), one["status"]) for one in found] == [(2, "ok"), (0, "error"), (2, "ok")]


def test_predicting_asks_for_numpy_only(classifier: Path, tagger: Path) -> None:
    for verb, folder in (("classify", classifier), ("tag", tagger)):
        script = (
            "import sys, io; sys.stdin = io.TextIOWrapper(io.BytesIO(b'a joy\\n')); from lamina.cli.main import run; "
            f"code = run([{verb!r}, 'predict', {str(folder)!r}]); "
            "print(code, sorted(name for name in ('sklearn', 'scipy', 'altair', 'torch') if name in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "0 []"


def test_only_the_layers_that_are_needed_are_run(
    cli: Cli, classifier: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lamina.engine.openvino import OpenVinoEngine

    programs = []
    original = OpenVinoEngine.run

    def watched(self: OpenVinoEngine, program: object, batches: object) -> object:
        programs.append(program)
        return original(self, program, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(OpenVinoEngine, "run", watched)
    assert cli("classify", "predict", classifier, lines).code == 0
    assert [program.layers for program in programs] == [(3,)]  # type: ignore[attr-defined]


def test_another_encoder_is_refused(cli: Cli, classifier: Path, tagger: Path, tiny_bert: Path, lines: Path) -> None:
    for verb, folder in (("classify", classifier), ("tag", tagger)):
        outcome = cli(verb, "predict", folder, lines, "--model", tiny_bert)
        assert outcome.code == 1
        assert "trained on minilm and cannot be used with" in outcome.sentence
    outcome = cli("tag", "predict", classifier, lines)
    assert "made by `lamina classify`, not by `lamina tag`" in outcome.sentence


def test_a_dataset_of_another_pool_or_encoder_is_refused(
    cli: Cli, classifier: Path, reviews: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    for name, options, reason in (
        ("cls", ["--pool", "cls"], "trained with pool 'mean'"),
        ("tiny", ["--model", tiny_bert], "cannot be used with"),
        ("low", ["--layers", "0,1"], "layer 3"),
    ):
        assert cli("extract", reviews, "-o", tmp_path / name, *options).code == 0
        assert reason in cli("classify", "eval", classifier, tmp_path / name, "--label", "label").sentence
    assert cli("extract", reviews, "-o", tmp_path / "same").code == 0
    found = json.loads(cli("classify", "eval", classifier, tmp_path / "same", "--label", "label", "--json").out)
    assert found["accuracy"] == 1.0


def test_labels_never_learnt_are_counted(cli: Cli, classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text,label\na joy,good\na bore,awful\n")
    outcome = cli("classify", "eval", classifier, path, "--label", "label")
    assert outcome.code == 0
    assert "never learnt, so counted as wrong: awful (1)" in outcome.out


def test_words_come_with_offsets_tags_and_spans(cli: Cli, tagger: Path, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("So Ann Lee saw Oslo!\n\n\U0001f642 Tom in Rome\n", encoding="utf-8")
    outcome = cli("tag", "predict", tagger, path)
    assert outcome.code == 0
    texts = [json.loads(line) for line in outcome.out.splitlines()]
    for text, line in zip(texts, path.read_text(encoding="utf-8").splitlines(), strict=True):
        for word in text["words"]:
            assert line[word["start"] : word["end"]] == word["word"]
            assert 0 < word["probability"] <= 1
        for span in text["spans"]:
            assert line[span["start"] : span["end"]] == span["text"]
    assert [(span["type"], span["text"]) for span in texts[0]["spans"]] == [("PER", "Ann Lee"), ("LOC", "Oslo")]
    assert (texts[1]["words"], texts[1]["status"]) == ([], "empty")
    assert [word["word"] for word in texts[2]["words"]] == ["\U0001f642", "Tom", "in", "Rome"]


def test_conll_goes_in_and_out_word_by_word(cli: Cli, tagger: Path, conll: Path) -> None:
    outcome = cli("tag", "predict", tagger, conll, "--to", "conll")
    assert outcome.code == 0
    assert outcome.out == CONLL * 4  # it has learnt these by heart
    scored = cli("tag", "eval", tagger, conll)
    assert scored.code == 0
    assert "F1 of spans 1.0000, accuracy of words 1.0000, over 12 texts, 44 words" in scored.out
    found = json.loads(cli("tag", "eval", tagger, conll, "--json").out)
    assert [row["kind"] for row in found["rows"]] == ["LOC", "PER", "all"]
    assert found["f1"] == 1.0


def test_a_text_that_comes_in_several_parts_is_tagged_as_one(
    cli: Cli, tagger: Path, conll: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a long one does; here every text is torn, and its words come before it or after."""
    original = Run.parts

    def torn(self: Run, *given: Any) -> Iterator[dict[str, Embeddings]]:
        for part in original(self, *given):
            for k in range(7):
                cuts = {name: (len(one) * k // 7, len(one) * (k + 1) // 7) for name, one in part.items()}
                yield {
                    name: Embeddings(
                        part[name].units.slice(low, high - low),
                        {column: vectors[low:high] for column, vectors in part[name].columns.items()},
                        n_texts=0,
                    )
                    for name, (low, high) in cuts.items()
                }

    monkeypatch.setattr(Run, "parts", torn)
    assert cli("tag", "predict", tagger, conll, "--to", "conll").out == CONLL * 4
    assert "accuracy of words 1.0000, over 12 texts, 44 words" in cli("tag", "eval", tagger, conll).out


def test_a_tagger_of_plain_tags_and_its_page(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "words.jsonl"
    whole = {"tokens": ["she", "sings", "well"], "pos": ["PRON", "VERB", "ADV"]}
    lines = [whole, {"tokens": ["he", "ran"], "pos": ["PRON", None]}, whole, whole]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = ("tag", "train", path, "-o", tmp_path / "t", "--words", "tokens", "--label", "pos", "--layer", "2", "--json")
    found = json.loads(cli(*made).out)
    assert (found["scheme"], found["n_texts"], found["n_left_out"]) == ("none", 3, 1)
    report = ("--report", tmp_path / "t.html", "--chart", tmp_path / "t.svg")
    outcome = cli("tag", "eval", tmp_path / "t", path, "--words", "tokens", "--label", "pos", *report)
    assert outcome.code == 0
    assert "1 texts without a tag for each word left out" in outcome.out
    assert "F1 by tag" in (tmp_path / "t.svg").read_text()


def test_a_winner_says_where_to_look(cli: Cli, reviews: Path, tmp_path: Path) -> None:
    from lamina.apps.winner import Winner

    Winner("minilm", "mean:2,3", pool="max", label="label").save(tmp_path / "w.json")
    made = ("classify", "train", reviews, "--label", "label", "--winner", tmp_path / "w.json")
    found = json.loads(cli(*made, "-o", tmp_path / "a", "--json").out)
    assert found["layer"] == "mean:2,3"
    assert json.loads((tmp_path / "a" / "trained.json").read_text())["spec"].split()[:3] == [
        "layers=2,3", "unit=text", "pool=max",
    ]  # fmt: skip
    Winner("minilm", "2", weights_sha256="0" * 64).save(tmp_path / "other.json")
    train = ("classify", "train", reviews, "--label", "label", "-o", tmp_path / "b", "--winner")
    other = cli(*train, tmp_path / "other.json")
    assert "other weights" in other.sentence
    assert not (tmp_path / "b").exists()
    Winner("minilm", "2", unit="word").save(tmp_path / "words.json")
    words = cli(*train, tmp_path / "words.json")
    assert "winner of a probe of each word; this needs one of each text" in words.sentence


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["classify", "train", "{reviews}", "-o", "{new}", "--label", "label"], 2, "say which layer"),
        (["classify", "train", "{reviews}", "-o", "{new}", "--label", "stars", "--layer", "2"], 2, "no column 'stars'"),
        (["classify", "train", "{reviews}", "-o", "{new}", "--label", "id", "--layer", "9"], 2, "layer 9 does not"),
        (["classify", "train", "{reviews}", "-o", "{reviews}", "--label", "label", "--layer", "2"], 1, "is a file"),
        (["classify", "train", "{gone}", "-o", "{new}", "--label", "label", "--layer", "2"], 1, "gone.csv"),
        (["classify", "predict", "{new}", "{reviews}"], 1, "holds nothing trained"),
        (["tag", "train", "{reviews}", "-o", "{new}", "--layer", "2"], 2, "no column 'tags'"),
        (
            ["tag", "train", "{reviews}", "-o", "{new}", "--label", "label", "--layer", "2"],
            1,
            "not a list with a label",
        ),
        (["tag", "predict", "minilm", "{reviews}", "--head"], 1, "head"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    cli: Cli, reviews: Path, tmp_path: Path, arguments: list[str], code: int, reason: str
) -> None:
    places = {"reviews": reviews, "new": tmp_path / "new", "gone": tmp_path / "gone.csv"}
    outcome = cli(*(argument.format(**places) for argument in arguments))
    assert outcome.code == code
    assert reason in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("verb", ["classify", "tag"])
def test_every_option_has_a_text(cli: Cli, verb: str) -> None:
    group = import_module(f"lamina.cli.{verb}").command
    assert list(group.commands) == ["train", "predict", "eval"]
    for name, one in group.commands.items():
        page = " ".join(cli(verb, name, "--help").out.split())
        for option in one.params:
            if isinstance(option, click.Option):
                assert option.help, option.name
                assert " ".join(option.help.split()) in page


def test_training_that_is_interrupted_leaves_nothing(
    cli: Cli, reviews: Path, conll: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lamina.apps.classify.classifier.Standard.of", interrupted)
    monkeypatch.setattr("lamina.apps.tag.tagger.fit_crf", interrupted)
    for arguments in (["classify", "train", reviews, "--label", "label"], ["tag", "train", conll]):
        outcome = cli(*arguments, "--layer", "1", "-o", tmp_path / "new")
        assert (outcome.code, outcome.err.strip()) == (130, "lamina: interrupted")
        assert not (tmp_path / "new").exists()


def test_pairs_are_classified_too(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    rows = [f"{word} {k},{other} {k},{label}" for k in range(8) for word, other, label in PAIRS]
    path.write_text("first,second,label\n" + "\n".join(rows) + "\n")
    columns = ("--text", "first", "--pair", "second")
    train = ("classify", "train", path, *columns, "--label", "label", "--layer", "-1", "-o", tmp_path / "a", "--json")
    assert json.loads(cli(*train).out)["n"] == 16
    outcome = cli("classify", "predict", tmp_path / "a", path, *columns)
    assert len(outcome.out.splitlines()) == 16
    assert json.loads(outcome.out.splitlines()[0])["prediction"] in ("same", "other")


def test_a_reader_that_goes_away_is_no_traceback(classifier: Path) -> None:
    process = subprocess.Popen(
        [*command(), "classify", "predict", str(classifier)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(b"a joy\n" * 2000)
    assert err == b""


def test_a_checkpoints_own_head_tags_words_by_their_first_piece(cli: Cli, tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertForTokenClassification

    from lamina.extraction.loading import load
    from lamina.text.text import Text
    from tests.checkpoints import VOCABULARY, save_vocabulary

    labels = {0: "O", 1: "B-X", 2: "I-X", 3: "B-Y"}
    folder = save_vocabulary(tmp_path / "ner")
    torch.manual_seed(3)
    config = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    sizes = {"vocab_size": len(VOCABULARY), "max_position_embeddings": 64, "id2label": labels, "initializer_range": 0.5}
    model = BertForTokenClassification(BertConfig(**config, **sizes))
    model.eval().save_pretrained(folder)
    words = ["the", "river", "Banking", "2wide", "河水", "?"]
    path = tmp_path / "in.conll"
    path.write_text("".join(f"{word}\tO\n" for word in words))
    found = cli("tag", "predict", folder, path, "--head", "--to", "conll")
    assert found.code == 0
    tokens = load(folder).tokenizer.encode([text := Text.of_words(words)])
    with torch.inference_mode():
        logits = model(torch.tensor(tokens.ids[None]).long()).logits[0].numpy()
    ordinary = np.flatnonzero(~tokens.special)
    starts = [ordinary[np.flatnonzero(tokens.starts[ordinary] == low)[0]] for low, _ in text.words or ()]
    expected = [labels[int(logits[k].argmax())] for k in starts]
    assert len(set(expected)) > 1
    tags = [line.split("\t")[1] for line in found.out.splitlines() if line]
    assert [tag[2:] for tag in tags] == [tag[2:] for tag in expected]  # a span that begins with I- is written with B-
    assert cli("tag", "eval", folder, path, "--head").code == 0
    path.write_text("".join(f"the\t{tag}\n\n" for tag in ("B-X", "I-X", "B-Y", "B-Z")))
    unseen = json.loads(cli("tag", "eval", folder, path, "--head", "--json").out)["unseen"]
    assert unseen == {"B-Z": 1}  # what the head never says here it could have said
