"""Proves that answers are learnt where they stand, over windows, and counted as SQuAD counts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import SourceError
from lamina.text.text import Text
from lamina.train.answer import Answering, Answers, _surface, asked_windows, read_questions, train_answers
from lamina.train.examples import Examples
from lamina.train.model import with_head
from lamina.train.start import begin
from tests.oracle import relative_error
from tests.train.small import learning, settings, small_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert(tmp_path_factory.mktemp("small"))


def questions(n: int, *, seed: int = 0, lacking: float = 0.0) -> Examples[Answers]:
    """The answer is the number in a passage of letters; the question is one word."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        letters = [str(letter) for letter in random.choice(list("abcdef"), random.integers(3, 20))]
        place = int(random.integers(0, len(letters)))
        number = str(random.integers(0, 10))
        if random.random() < lacking:
            labels.append(Answers((), None))
        else:
            letters[place] = number
            labels.append(Answers((number,), 2 * place))
        texts.append(Text("where", pair=" ".join(letters)))
    return Examples(tuple(texts), tuple(labels))


@pytest.mark.parametrize("lacking", [0.0, 0.4])
def test_answers_are_learnt_and_read_back(model: Path, tmp_path: Path, lacking: float) -> None:
    test = questions(30, seed=3, lacking=lacking)
    examples, how = questions(200, lacking=lacking), learning()
    done = train_answers(model, examples, out=tmp_path / "o", test=test, settings=how, max_tokens=24, stride=8)
    assert done.record["test_figures"]["exact_match"] >= 0.8
    assert done.record["n_windows"] > done.record["n"]
    from transformers import AutoModelForQuestionAnswering

    loaded = lamina.load(tmp_path / "o", engine="reference")
    pair = Text("where", pair="a 7 b")
    found = loaded.head("question_answering").logits([pair]).values
    tokens = loaded.tokenizer.encode([pair])
    with torch.inference_mode():
        theirs = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "o")(
            input_ids=torch.tensor(tokens.ids[None]).long(), token_type_ids=torch.tensor(tokens.types[None]).long()
        )
    expected = np.stack([theirs.start_logits[0].numpy(), theirs.end_logits[0].numpy()], axis=1)
    assert relative_error(found, expected) <= 1e-4


@pytest.mark.parametrize("max_tokens", [64, 24, 18])
def test_the_tokens_of_an_answer_spell_it_in_every_window_that_holds_it(model: Path, max_tokens: int) -> None:
    start = begin(model)
    passage = "ab, cd the river bank ef gh. ij kl mn op qr st uv wx yz ab cd ef"
    texts, labels = [], []
    for answer in ("the river bank", "ab", "yz", "cd ef", "op"):
        texts.append(Text("where is it", pair=passage))
        labels.append(Answers((answer,), passage.rindex(answer)))
    asked = asked_windows(Examples(tuple(texts), tuple(labels)), start, max_tokens, 4)
    seen = set()
    for window in range(len(asked.sequences)):
        question, first, last = int(asked.question[window]), int(asked.first[window]), int(asked.last[window])
        if last:
            assert _surface(asked, window, first, last) == labels[question].texts[0]
            ids = asked.sequences.batch([window]).ids[0]
            own = start.tokenizer.encode([labels[question].texts[0]]).ids[1:-1]
            assert ids[first : last + 1].tolist() == own.tolist()
            seen.add(question)
    assert seen == set(range(5))


def test_the_loss_is_the_cross_entropy_of_both_ends(model: Path) -> None:
    start = begin(model)
    asked = asked_windows(questions(8), start, 24, 8)
    module = with_head(start, "question_answering", ("start", "end"), settings()).eval()
    objective = Answering(module, asked, None)
    rows = range(len(asked.sequences))
    loss = objective.loss(objective.batch(rows, np.random.default_rng(0)))
    expected = []
    for row in rows:
        logits = module(asked.sequences.batch([row]))
        ends = zip((asked.first[row], asked.last[row]), logits.T, strict=True)
        expected.append(
            float(sum(torch.logsumexp(of_end, 0) - of_end[int(place)] for place, of_end in ends).detach()) / 2
        )
    assert loss.total.item() / loss.weight == pytest.approx(np.mean(expected), rel=1e-5)


def squad(path: Path, *questions: dict[str, Any], context: str = "The bank by the river.") -> Path:
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}]}))
    return path


def test_squads_files_are_read_and_a_misplaced_answer_is_refused(tmp_path: Path) -> None:
    first = {"id": "1", "question": "Where?", "answers": [{"text": "by the river", "answer_start": 9}]}
    second = {"id": "2", "question": "When?", "answers": [], "is_impossible": True}
    found = read_questions(squad(tmp_path / "a.json", first, second))
    assert found.labels == (Answers(("by the river",), 9), Answers((), None))
    assert found.texts[0] == Text("Where?", pair="The bank by the river.")
    wrong = {"id": "3", "question": "Where?", "answers": [{"text": "by the river", "answer_start": 8}]}
    with pytest.raises(SourceError, match="answer of question '3' does not stand at its answer_start"):
        read_questions(squad(tmp_path / "b.json", wrong))
    (tmp_path / "c.json").write_text("[1]")
    with pytest.raises(SourceError, match="no file of SQuAD's kind"):
        read_questions(tmp_path / "c.json")
    with pytest.raises(SourceError, match="holds no question"):
        read_questions(squad(tmp_path / "d.json"))
