"""Proves how answers are compared, language by language, and what a file of SQuAD's kind may look like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamina.apps.answer.squad import Question, exact_match, f1, holds, read_squad, words_of
from lamina.errors import SourceError, SpecError


@pytest.mark.parametrize(
    ("answer", "language", "words"),
    [
        ("The Black-Eyed  Peas!", "en", ["blackeyed", "peas"]),
        ("An a-ha, the theory", "en", ["aha", "theory"]),
        ("Another Then", "en", ["another", "then"]),  # whole words only
        ("der Löwe und die Maus", "de", ["löwe", "und", "maus"]),
        ("the den", "none", ["the", "den"]),
        ("los años de la “guerra”", "es", ["años", "de", "guerra"]),
        ("在1998年，约20 km。", "zh", ["在", "1998", "年", "约", "20", "km"]),
        ("東京タワー", "ja", ["東", "京", "タ", "ワ", "ー"]),
        ("…", "en", []),
    ],
)
def test_the_words_that_count(answer: str, language: str, words: list[str]) -> None:
    assert words_of(answer, language) == words


def test_exact_and_f1_by_hand() -> None:
    expected = ["the Denver Broncos", "Broncos"]
    assert exact_match("Denver Broncos.", expected) == 1
    assert exact_match("Denver", expected) == 0
    assert f1("Denver's Broncos team", expected) == pytest.approx(max(2 / 5, 2 / 4))
    assert f1("Denver", expected) == pytest.approx(2 / 3)
    assert f1("the the", ["the"]) == 0  # articles alone are nothing
    assert f1("a b b", ["b b b"], "none") == pytest.approx(2 * 2 / 6)  # each as often as it stands in both
    assert f1("银行", ["河岸银行"], "zh") == pytest.approx(2 * 2 / 6)
    assert f1("anything", []) == exact_match("anything", []) == 0


def test_a_sentence_holds_an_answer_word_by_word() -> None:
    assert holds("It was won by the Denver Broncos.", ["denver broncos"]) == 1
    assert holds("It was won by Denver.", ["Denver Broncos"]) == 0
    assert holds("The cathedral.", ["the"]) == 0
    assert holds("A category.", ["cat"]) == 0


def test_another_language_is_refused() -> None:
    with pytest.raises(SpecError, match="one of en, de"):
        words_of("x", "tlh")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    answers = [{"text": "b", "answer_start": 2}, {"text": "b", "answer_start": 2}, {"text": "a b", "answer_start": 0}]
    qas = [
        {"id": "1", "question": "Which?", "answers": answers},
        {"id": "2", "question": "None?", "answers": [], "is_impossible": True},
    ]
    paragraphs = [{"context": "no question", "qas": []}, {"context": "a b", "qas": qas}]
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}], "version": "2.0"}))
    squad = read_squad(path)
    assert squad.passages == ("no question", "a b")
    assert squad.questions == (Question("1", "Which?", 1, ("b", "a b")), Question("2", "None?", 1, ()))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}', '{"data": 3}', "[" * 5000,
     '{"data": [{"paragraphs": [{"context": "c", "qas": [{"id": "1", "question": null, "answers": []}]}]}]}'],
)  # fmt: skip
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "questions.json"
    path.write_text(text)
    with pytest.raises(SourceError, match="SQuAD"):
        read_squad(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_squad(tmp_path / "missing.json")


@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_xquad(shared_data: Path, language: str) -> None:
    squad = read_squad(shared_data / f"xquad/xquad.{language}.json")
    assert (len(squad.passages), len(squad.questions)) == (240, 1190)
    for question in squad.questions:
        for answer in question.answers:
            assert exact_match(answer, question.answers, language) == 1
            assert f1(answer, question.answers, language) == 1
