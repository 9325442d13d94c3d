"""Proves that words are learnt to be tagged, at the pieces that are said to stand for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import SourceError, SpecError
from lamina.text.text import Text
from lamina.train.examples import Examples, tag_labels
from lamina.train.model import with_head
from lamina.train.start import begin
from lamina.train.tag import Tagging, _Making, train_tagger, word_batch
from tests.train.small import learning, settings, small_bert

TAGS = ("O", "B-x")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert(tmp_path_factory.mktemp("small"))


def tagged(n: int, *, seed: int = 0) -> Examples[tuple[str, ...]]:
    """Words of several pieces; those that begin with z are names."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(n):
        words, tags = [], []
        for _ in range(random.integers(2, 8)):
            if random.random() < 0.3:
                words.append("z" + "".join(random.choice(list("abc"), 2)))
                tags.append("B-x")
            else:
                words.append("".join(random.choice(list("mnop"), random.integers(1, 4))))
                tags.append("O")
        texts.append(Text.of_words(words))
        labels.append(tuple(tags))
    return Examples(tuple(texts), tuple(labels))


@pytest.mark.parametrize("pieces", ["first", "mean"])
def test_names_are_learnt_and_read_back(model: Path, tmp_path: Path, pieces: str) -> None:
    test = tagged(30, seed=5)
    done = train_tagger(model, tagged(150), out=tmp_path / "o", test=test, pieces=pieces, settings=learning())  # type: ignore[arg-type]
    assert done.record["test_figures"]["f1"] >= 0.9
    loaded = lamina.load(tmp_path / "o", engine="reference")
    head = loaded.head("token_classification")
    assert head.labels[0] == "O"
    states = loaded.extract(test.texts, layers="-1", unit="word", pool=pieces)  # type: ignore[arg-type]
    said = [head.labels[place] for place in head.of_states(states).values.argmax(1)]
    wanted = [tag for tags in test.labels for tag in tags]
    right = np.mean([one == other for one, other in zip(said, wanted, strict=True)])
    assert right == pytest.approx(done.record["test_figures"]["accuracy"])


@pytest.mark.parametrize("pieces", ["first", "mean"])
@pytest.mark.parametrize("max_tokens", [64, 9])
def test_the_logits_of_words_are_those_of_their_pieces(model: Path, pieces: str, max_tokens: int) -> None:
    """Against each window alone, word by word; with 9 tokens most texts are several windows."""
    start, examples = begin(model), tagged(12)
    words = _Making(start, TAGS, pieces, max_tokens).words(examples)  # type: ignore[arg-type]
    module = with_head(start, "token_classification", TAGS, settings()).eval()
    objective = Tagging(module, words, None, TAGS)
    assert sorted(words.word.tolist()) == list(range(sum(map(len, examples.labels))))  # every word once
    wanted = [tag for tags in examples.labels for tag in tags]
    assert [TAGS[tag] for tag in words.tags] == [wanted[word] for word in words.word]
    order = list(reversed(range(len(words.sequences))))
    with torch.inference_mode():
        found = objective.logits(word_batch(words, order)).numpy()
        expected = []
        for row in order:
            logits = module(words.sequences.batch([row])).numpy()
            for word in range(words.bounds[row], words.bounds[row + 1]):
                expected.append(logits[words.first[word] : words.last[word]].mean(0))
    assert np.allclose(found, expected, atol=1e-5)
    if pieces == "first":
        assert (words.last - words.first == 1).all()


def test_tags_without_spans_are_scored_word_by_word(model: Path, tmp_path: Path) -> None:
    examples = tagged(40)
    plain = Examples(examples.texts, tuple(tuple(tag[0] for tag in tags) for tags in examples.labels))
    done = train_tagger(model, plain, out=tmp_path / "o", settings=settings(epochs=1))
    assert list(done.record["figures"]) == ["step", "accuracy"]


def test_as_many_tags_as_words_are_asked_for(model: Path, tmp_path: Path) -> None:
    wrong = Examples((Text.of_words(["a", "b"]), Text.of_words(["c"])), (("O",), ("B-x",)))
    with pytest.raises(SourceError, match="text 0 has 2 words and 1 tags"):
        train_tagger(model, wrong, out=tmp_path / "o", held_out=0)
    with pytest.raises(SpecError, match="pieces must be one of first, mean, not 'last'"):
        train_tagger(model, wrong, out=tmp_path / "o", pieces="last")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a tag for each word"):
        tag_labels("3")


def test_a_word_without_a_token_is_outside(model: Path, tmp_path: Path) -> None:
    """A control character is dropped by the tokenizer: its word keeps its place and is said to be outside."""
    start = begin(model)
    examples = Examples((Text.of_words(["ab", "\x07", "cd"]),), (("O", "B-x", "O"),))
    words = _Making(start, TAGS, "first", 64).words(examples)
    assert words.word.tolist() == [0, 2]
    module = with_head(start, "token_classification", TAGS, settings()).eval()
    with torch.inference_mode():
        (found,) = Tagging(module, words, None, TAGS).tagged(words)
    assert len(found) == 3
    assert found[1] == "O"
