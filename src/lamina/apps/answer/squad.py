"""Questions on passages as SQuAD stores them, and how near an answer is to the expected ones: exact match and F1.

Answers are compared as MLQA's evaluation does (Lewis et al. 2020): lower case, no punctuation, no articles of the
language, words apart by white space; in Chinese and Japanese each character is a word. For English this is SQuAD's own
rule (Rajpurkar et al. 2016), with Unicode's punctuation instead of ASCII's.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

from lamina.errors import SourceError, SpecError

# language -> the words that are left out
ARTICLES = {
    "en": "a an the",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "es": "un una unos unas el la los las",
    "vi": "của là cái chiếc những",
    "hi": "",
    "zh": "",
    "ja": "",
    "none": "",
}
BY_CHARACTER = ("zh", "ja")
_CHARACTER = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")  # kana and ideographs


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the number of its passage, and the answers that are accepted; none where the passage has none."""

    id: str
    text: str
    passage: int
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Squad:
    """Passages and the questions on them."""

    passages: tuple[str, ...]
    questions: tuple[Question, ...]


def read_squad(path: str | Path) -> Squad:
    """A file of SQuAD's kind (versions 1.1 and 2.0, XQuAD, MLQA). Raises SourceError for what is none."""
    with squad_file(path, answer='"text"') as paragraphs:
        questions = tuple(
            Question(_string(qa["id"]), _string(qa["question"]), number, tuple(dict.fromkeys(_answers(qa))))
            for number, paragraph in enumerate(paragraphs)
            for qa in paragraph["qas"]
        )
        return Squad(tuple(_string(paragraph["context"]) for paragraph in paragraphs), questions)


@contextmanager
def squad_file(path: str | Path, *, answer: str) -> Iterator[list[Any]]:
    """The paragraphs of a file; what is not as it should be while they are read is a SourceError that names the file.

    answer  what an answer must hold, for the error.
    """
    try:
        found = json.loads(Path(path).read_bytes())
        yield [paragraph for article in found["data"] for paragraph in article["paragraphs"]]
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise SourceError(
            f"{path} is no file of SQuAD's kind ({type(error).__name__}: {error}); expected "
            f'{{"data": [{{"paragraphs": [{{"context", "qas": [{{"id", "question", "answers": [{{{answer}}}]}}]}}]}}]}}'
        ) from None


def check_language(language: str) -> None:
    """Raises SpecError for a language whose rules are not known."""
    if language not in ARTICLES:
        raise SpecError(f"language must be one of {', '.join(ARTICLES)}, not {language!r}")


def words_of(answer: str, language: str = "en") -> list[str]:
    """The words of an answer that count."""
    check_language(language)
    text = "".join(ch for ch in answer.lower() if category(ch)[0] != "P" and ch not in string.punctuation)
    articles = set(ARTICLES[language].split())
    if articles:  # whole words: letters and digits side by side
        text = re.sub(r"\w+", lambda found: " " if found[0] in articles else found[0], text)
    if language in BY_CHARACTER:
        text = _CHARACTER.sub(r" \1 ", text)
    return text.split()


def exact_match(answer: str, expected: Sequence[str], language: str = "en") -> float:
    """1 where the answer is one of those expected, else 0."""
    return _best(answer, expected, language, lambda found, wanted: float(found == wanted))


def f1(answer: str, expected: Sequence[str], language: str = "en") -> float:
    """The harmonic mean of precision and recall over words, with the expected answer that is nearest."""
    return _best(answer, expected, language, _f1)


def holds(answer: str, expected: Sequence[str], language: str = "en") -> float:
    """1 where an expected answer stands in the answer, word by word, else 0."""
    return _best(answer, expected, language, lambda found, wanted: float(_inside(wanted, found)))


def _best(answer: str, expected: Sequence[str], language: str, score: Callable[[list[str], list[str]], float]) -> float:
    found = words_of(answer, language)
    return max((score(found, words_of(wanted, language)) for wanted in expected), default=0.0)


def _f1(found: list[str], wanted: list[str]) -> float:
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def _inside(wanted: list[str], found: list[str]) -> bool:
    n = len(wanted)
    return bool(n) and any(found[place : place + n] == wanted for place in range(len(found) - n + 1))


def _answers(qa: dict[str, Any]) -> Iterator[str]:
    return (_string(answer["text"]) for answer in qa["answers"])


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{str(value)[:40]!r} is not a string")
    return value
