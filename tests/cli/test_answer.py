"""`lamina answer` through the front door: passages of every kind, sentences and heads, and SQuAD's figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import VOCABULARY, save_vocabulary
from tests.cli.conftest import Cli

PASSAGES = [
    "The mill was built in 1832. Its owner, Ada Brook, sold flour to three villages.",
    "Willows grow along the canal. Barges carried coal there until the railway came.",
    "Bread is baked before dawn. The ovens are heated with beech wood.",
]
QUESTIONS = {"Who sold flour to three villages?": ("Ada Brook", 0), "What did barges carry?": ("coal", 1),
             "With what are the ovens heated?": ("beech wood", 2)}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The passages as lines, and as a file of SQuAD's kind with a question that has no answer."""
    folder = tmp_path_factory.mktemp("passages")
    (folder / "passages.txt").write_text("".join(f"{passage}\n" for passage in PASSAGES))
    paragraphs = [
        {
            "context": passage,
            "qas": [
                {"id": f"{number}", "question": question, "answers": [{"text": answer, "answer_start": 0}]}
                for question, (answer, of) in QUESTIONS.items()
                if of == number
            ],
        }
        for number, passage in enumerate(PASSAGES)
    ]
    paragraphs[2]["qas"] = [*paragraphs[2]["qas"], {"id": "no", "question": "Why?", "answers": []}]
    (folder / "squad.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return folder


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with a question-answering head."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("reading")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    model = BertForQuestionAnswering(BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, **shape))
    for tensor in model.parameters():
        torch.nn.init.normal_(tensor, 0, 0.6)
    model.save_pretrained(folder)
    return save_vocabulary(folder)


def document(cli: Cli, *arguments: object) -> dict[str, Any]:
    outcome = cli("answer", *arguments, "--json", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_sentences_answer(cli: Cli, folder: Path) -> None:
    asked = [part for question in QUESTIONS for part in ("--question", question)]
    rows = document(cli, folder / "passages.txt", *asked, "--k", 2, "--layers", "4,6")["rows"]
    assert len(rows) == 2 * 3 * 2
    firsts = {row["question"]: row for row in rows[::2] if row["layer"] == "6"}
    for question, (answer, number) in QUESTIONS.items():
        row = firsts[question]
        assert row["row"] == number
        assert answer in row["answer"]
        assert row["answer"] == row["passage"][row["start"] : row["end"]]
        assert row["by"] == "sentence"
    scores = [
        row["score"] for row in rows if row["question"] == "Who sold flour to three villages?" and row["layer"] == "6"
    ]
    assert scores == sorted(scores, reverse=True)


def test_a_dataset_a_file_and_squad_give_one_answer(cli: Cli, folder: Path, tmp_path: Path) -> None:
    question = ("--question", "Who sold flour to three villages?")
    data = tmp_path / "data"
    assert cli("extract", folder / "passages.txt", "-o", data, "--quiet").code == 0
    of_file = document(cli, folder / "passages.txt", *question)["rows"]
    assert document(cli, data, *question)["rows"] == of_file
    assert document(cli, folder / "squad.json", *question)["rows"] == of_file
    (tmp_path / "asked.txt").write_text("Who sold flour to three villages?\n")
    assert document(cli, data, "--questions", tmp_path / "asked.txt")["rows"] == of_file


def test_a_head_answers_where_there_is_one(cli: Cli, folder: Path, reading: Path) -> None:
    question = ("--question", "who sold flour", "--model", reading)
    rows = document(cli, folder / "passages.txt", *question)["rows"]
    assert {row["by"] for row in rows} == {"head"}
    for row in rows:
        assert row["answer"] == row["passage"][row["start"] : row["end"]] != ""
    by_sentence = document(cli, folder / "passages.txt", *question, "--by", "sentence")["rows"]
    assert {row["by"] for row in by_sentence} == {"sentence"}
    outcome = cli("answer", folder / "passages.txt", "--question", "x", "--by", "head", "--quiet")
    assert outcome.code == 1
    assert "question_answering" in outcome.sentence


def test_figures_of_a_squad_file(cli: Cli, folder: Path) -> None:
    found = document(cli, folder / "squad.json", "--eval")
    assert (found["questions"], found["unanswerable"], found["passages"]) == (3, 1, 3)
    assert [row["layer"] for row in found["rows"]] == list("0123456")
    last = found["rows"][6]
    assert last["mrr"] == last["recall@1"] == last["holds"] == last["open_holds"] == 1
    assert last["exact"] == 0 < last["f1"] < 1
    assert last["open_f1"] == last["f1"]  # the same sentences were found
    assert document(cli, folder / "squad.json", "--eval", "--layers", "6")["rows"] == [last]


def test_passages_that_say_nothing_answer_nothing(cli: Cli, tmp_path: Path) -> None:
    qa = {"id": "1", "question": "Who built it?", "answers": [{"text": "Ada"}]}
    (tmp_path / "empty.json").write_text(json.dumps({"data": [{"paragraphs": [{"context": "", "qas": [qa]}]}]}))
    (row,) = document(cli, tmp_path / "empty.json", "--eval", "--layers", "6")["rows"]
    assert set(row.values()) == {"6", 0.0}
    outcome = cli("answer", tmp_path / "empty.json", "--question", "Who built it?", "--quiet")
    assert (outcome.code, outcome.out) == (0, "nothing: no passage says anything\n")


def test_figures_of_a_head(cli: Cli, folder: Path, reading: Path, tmp_path: Path) -> None:
    chart, page = tmp_path / "figures.svg", tmp_path / "page.html"
    found = document(
        cli, folder / "squad.json", "--eval", "--model", reading, "--chart", chart, "--report", page, "--k", 1
    )
    assert found["by"] == "head"
    assert len({row["f1"] for row in found["rows"]}) == 1  # the right passage is read alike, whatever the layer
    assert chart.read_text().startswith("<svg")
    assert "answered by head" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("passages.txt",), 2, "--question TEXT"),
        (("passages.txt", "--eval"), 2, "SQuAD"),
        (("squad.json", "--eval", "--question", "x"), 2, "--question TEXT"),
        (("squad.json", "--eval", "--language", "xx"), 2, "one of en, de"),
        (("passages.txt", "--question", "x", "--chart", "c.svg"), 2, "--eval"),
        (("passages.txt", "--question", "x", "--by", "magic"), 2, "head, sentence"),
        (("passages.txt", "--question", ""), 2, "yields no token"),
        (("missing.json", "--eval"), 1, "missing.json"),
        (("passages.txt", "--questions", "missing.txt"), 1, "missing.txt"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    cli: Cli, folder: Path, arguments: tuple[str, ...], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    outcome = cli("answer", *arguments, "--quiet")
    assert (outcome.code, outcome.out) == (code, "")
    assert said in outcome.err
    assert "bug in Lamina" not in outcome.err


def test_passages_are_texts(cli: Cli, folder: Path, tmp_path: Path) -> None:
    assert (
        cli("extract", folder / "passages.txt", "-o", tmp_path / "w", "--unit", "word", "--layers", "6", "--quiet").code
        == 0
    )
    outcome = cli("answer", tmp_path / "w", "--question", "x")
    assert outcome.code == 2
    assert "passages are texts" in outcome.sentence
