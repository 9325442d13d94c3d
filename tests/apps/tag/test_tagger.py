"""Proves that a tagger learns, keeps to its scheme, is scored right, and comes back from its folder the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lamina.apps.classify.classifier import read_classifier
from lamina.apps.labels import word_labels
from lamina.apps.spans import Scheme, Span, allowed, spans_of, tags_of
from lamina.apps.tag.report import scores_chart, scores_report
from lamina.apps.tag.scores import score_tags
from lamina.apps.tag.tagger import Tagging, read_tagger, train_tagger
from lamina.embeddings import Embeddings
from lamina.errors import SourceError, SpecError, TrainedError

D = 6
NAMES = ("B-PER", "I-PER", "B-LOC", "I-LOC", "O")


def sentences(n: int, *, seed: int = 0, noise: float = 0.25) -> tuple[Embeddings, list[str | None]]:
    """Texts of 1 to 8 words; a word's vector says its type (not whether it begins a span), with noise."""
    draw = np.random.default_rng(seed)
    ids, words, tags, vectors = [], [], [], []
    for text in range(n):
        place = 0
        while place < draw.integers(1, 9):
            kind = draw.choice(["PER", "LOC", "O"], p=[0.2, 0.2, 0.6])
            length = 1 if kind == "O" else int(draw.integers(1, 4))
            for k in range(length):
                ids.append(text)
                words.append(f"{kind.lower()}{k}")
                tags.append("O" if kind == "O" else f"{'I' if k else 'B'}-{kind}")
                vectors.append(np.eye(D)[["PER", "LOC", "O"].index(kind)] + (k == 0) * np.eye(D)[3])
            place += length
    matrix = (np.array(vectors) + draw.normal(size=(len(ids), D)) * noise).astype(np.float32)
    units = pa.table({"text_id": ids, "surface": words, "status": ["ok"] * len(ids)})
    return Embeddings(units, {"layer_2": matrix}, n_texts=n), tags


@pytest.fixture(scope="module")
def given() -> tuple[Embeddings, list[str | None]]:
    return sentences(150)


def test_it_learns_and_says_nothing_that_its_scheme_forbids(given: tuple[Embeddings, list[str | None]]) -> None:
    data, tags = given
    others, gold = sentences(80, seed=1)
    for scheme in ("bio", "bioes"):
        tagger = train_tagger(data, tags, layer=2, scheme=scheme)
        found = tagger.predict(others)
        first, follow, last = allowed(tagger.labels, scheme)
        place = [tagger.labels.index(tag) for tag in found.tags]
        ids = others.units["text_id"].to_pylist()
        for k, tag in enumerate(place):
            begins, ends = k == 0 or ids[k] != ids[k - 1], k + 1 == len(ids) or ids[k] != ids[k + 1]
            assert first[tag] if begins else follow[place[k - 1], tag]
            assert last[tag] or not ends
        scores = score_tags(found, gold, labels=tagger.labels)
        assert scores.f1 is not None
        assert scores.f1 > 0.8
        assert ((found.probabilities > 0) & (found.probabilities <= 1)).all()
    assert scores.kinds["all"].n == sum(len(spans_of(text)) for text in _by_text(others, gold))


def test_a_chain_knows_more_than_its_words(given: tuple[Embeddings, list[str | None]]) -> None:
    """What begins a span is told by the word before as much as by the word: without the chain it is worse."""
    data, tags = sentences(300, noise=0.9)
    others, gold = sentences(150, seed=1, noise=0.9)
    chain = train_tagger(data, tags, layer=2, l2=10.0)
    alone = Embeddings(
        data.units.set_column(0, "text_id", pa.array(range(len(data)))), data.columns, n_texts=len(data)
    )  # every word a text of its own
    single = train_tagger(alone, tags, layer=2, l2=10.0, scheme="none")
    apart = Embeddings(others.units.set_column(0, "text_id", pa.array(range(len(others)))), others.columns, len(others))
    right = [
        np.mean([a == b for a, b in zip(found.tags, gold, strict=True)])
        for found in (chain.predict(others), single.predict(apart))
    ]
    assert right[0] > right[1] + 0.02


def test_its_folder_gives_the_same_tagger(given: tuple[Embeddings, list[str | None]], tmp_path: Path) -> None:
    data, tags = given
    tagger = train_tagger(data, tags, layer=2)
    tagger.save(tmp_path)
    again = read_tagger(tmp_path)
    found, expected = again.predict(data), tagger.predict(data)
    assert found.tags == expected.tags
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert again.about["l2"] == tagger.about["l2"]
    with pytest.raises(TrainedError, match="by `lamina tag`, not by `lamina classify`"):
        read_classifier(tmp_path)


def test_strength_is_chosen_on_what_is_given_for_it(given: tuple[Embeddings, list[str | None]]) -> None:
    data, tags = given
    by_parts = train_tagger(data, tags, layer=2).about["tried"]
    by_dev = train_tagger(data, tags, layer=2, dev=sentences(40, seed=3)).about["tried"]
    assert by_parts[0]["l2"] == by_dev[0]["l2"] == 300
    assert by_parts[0]["score"] != by_dev[0]["score"]
    for l2 in (0.0, 7.0):
        assert train_tagger(data, tags, layer=2, l2=l2).about["l2"] == l2


def test_texts_with_a_word_without_a_tag_are_left_out_and_counted() -> None:
    data, tags = sentences(30)
    ids = data.units["text_id"].to_pylist()
    known = [None if k == ids.index(3) else tag for k, tag in enumerate(tags)]
    tagger = train_tagger(data, known, layer=2, l2=1.0)
    assert (tagger.about["n_texts"], tagger.about["n_left_out"]) == (29, 1)
    assert tagger.about["n_words"] == len(ids) - ids.count(3)
    scores = score_tags(tagger.predict(data), known, labels=tagger.labels)
    assert (scores.n_texts, scores.n_left_out, scores.n_words) == (29, 1, len(ids) - ids.count(3))


def test_what_cannot_be_learnt_is_refused() -> None:
    data, tags = sentences(30)
    with pytest.raises(SpecError, match="every word has the tag 'O'"):
        train_tagger(data, ["O"] * len(tags), layer=2)
    with pytest.raises(SpecError, match="no text has a tag for each"):
        train_tagger(data, [None] * len(tags), layer=2)
    with pytest.raises(SpecError, match="3 tags for"):
        train_tagger(data, ["O"] * 3, layer=2)
    with pytest.raises(SpecError, match="layer 4 does not exist"):
        train_tagger(data, tags, layer=4)
    for l2 in (-1.0, float("nan"), float("inf")):
        with pytest.raises(SpecError, match="l2 must be a number, at least 0"):
            train_tagger(data, tags, layer=2, l2=l2)
    few = sentences(3)
    assert train_tagger(*few, layer=2).about["tried"] == []


def test_spans_that_begin_inside_are_written_as_the_scheme_has_it() -> None:
    data, tags = sentences(30)
    old = [tag and tag.replace("B-", "I-") for tag in tags]  # as CoNLL 2003 writes them
    tagger = train_tagger(data, old, layer=2, l2=1.0)
    assert tagger.scheme == "bio"
    assert set(tagger.labels) == set(NAMES)


def test_words_that_the_tokenizer_drops_are_tagged_by_their_neighbours() -> None:
    data, tags = sentences(60, noise=0.1)
    tagger = train_tagger(data, tags, layer=2, l2=1.0)
    vectors = data.columns["layer_2"].copy()
    vectors[::7] = np.nan
    found = tagger.predict(Embeddings(data.units, {"layer_2": vectors}, data.n_texts))
    assert np.isfinite(found.probabilities).all()
    assert np.mean([a == b for a, b in zip(found.tags, tags, strict=True)]) > 0.8


def test_scores_by_hand() -> None:
    units = pa.table({"text_id": [0, 0, 0, 1, 1], "surface": ["Ann", "Lee", "slept", "in", "Oslo"]})
    tagging = Tagging(units, ("B-PER", "O", "O", "O", "B-PER"), np.ones(5), "bio")
    scores = score_tags(tagging, ["B-PER", "I-PER", "O", "O", "B-LOC"], labels=("B-PER", "I-PER", "O"))
    assert scores.accuracy == 3 / 5
    assert {kind: (one.n, one.n_found, one.n_right) for kind, one in scores.kinds.items()} == {
        "LOC": (1, 0, 0), "PER": (1, 2, 0), "all": (2, 2, 0),
    }  # fmt: skip
    assert scores.unseen == {"B-LOC": 1}
    assert [(one.gold, one.found, one.n, one.examples) for one in scores.confusions] == [
        ("LOC", "PER", 1, ("in [Oslo]",)),
        ("PER", "O", 1, ("Ann [Lee] slept",)),
    ]
    words = Tagging(units, ("N", "N", "V", "P", "V"), np.ones(5), "none")
    plain = score_tags(words, ["N", "N", "V", "P", "N"], labels=("N", "V", "P"))
    assert plain.f1 is None
    assert (plain.kinds["N"].n, plain.kinds["N"].n_found, plain.kinds["N"].n_right) == (3, 2, 2)
    page = scores_report(scores, title="<t>", facts={"a": "b"}).html()
    assert "in [Oslo]" in page
    assert "B-LOC" in page
    assert scores_chart(plain).to_dict()["title"] == "F1 by tag (words with it)"


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
@pytest.mark.parametrize(
    "gold",
    [
        ["B-PER", "I-PER", "O", "B-LOC", "B-LOC"],
        ["I-PER", "I-PER", "O", "I-LOC", "B-LOC"],  # as CoNLL 2003 writes them
        ["B-PER", "E-PER", "O", "S-LOC", "S-LOC"],
        ["B-PER", "L-PER", "O", "U-LOC", "U-LOC"],
    ],
)
def test_known_tags_are_compared_as_the_tagging_writes_them(scheme: Scheme, gold: list[str | None]) -> None:
    units = pa.table({"text_id": [0] * 5, "surface": list("abcde")})
    right = tuple(tags_of([Span(0, 2, "PER"), Span(3, 4, "LOC"), Span(4, 5, "LOC")], 5, scheme))
    scores = score_tags(Tagging(units, right, np.ones(5), scheme), gold, labels=right)
    assert (scores.f1, scores.accuracy, scores.unseen, scores.confusions) == (1.0, 1.0, {}, ())


def test_a_heads_logits_become_tags_that_can_be_read_as_spans() -> None:
    units = pa.table({"text_id": [0, 0, 1], "surface": ["a", "b", "c"]})
    logits = np.array([[0, 2, 0], [0, 1, 3], [9, 0, 0]], np.float32)
    found = Tagging.of_logits(units, logits, ("O", "I-X", "B-X"))
    assert found.tags == ("B-X", "B-X", "O")  # I-X begins a span, and is written so
    assert found.probabilities[0] == pytest.approx(np.exp(2) / (2 + np.exp(2)))
    nothing = Tagging.of_logits(units[:1], np.full((1, 4), np.nan, np.float32), ("B-X", "I-X", "O", "B-Y"))
    assert (nothing.tags, nothing.probabilities.tolist()) == (("O",), [0.25])  # a word that the tokenizer drops
    assert len(Tagging.of_logits(units[:0], logits[:0], ("O", "I-X", "B-X")).tags) == 0


def test_lists_of_labels_become_labels_of_words() -> None:
    units = pa.table({"text_id": [0, 0, 2], "tags": ['["A", null]', '["A", null]', '[""]']})
    assert word_labels(units, "tags") == ["A", None, None]
    listed = pa.table({"text_id": [0, 0], "tags": [["A", "B"], ["A", "B"]]})
    assert word_labels(listed, "tags") == ["A", "B"]
    for value, reason in (('["A"]', "2 words and 1 labels"), ("A", "not a list with a label"), ("{}", "not a list")):
        with pytest.raises(SourceError, match=reason):
            word_labels(pa.table({"text_id": [5, 5], "tags": [value, value]}), "tags")
    with pytest.raises(SpecError, match="no column 'tag'; there are text_id, tags"):
        word_labels(units, "tag")


def _by_text(data: Embeddings, tags: list[str | None]) -> list[list[str]]:
    texts: dict[int, list[str]] = {}
    for text, tag in zip(data.units["text_id"].to_pylist(), tags, strict=True):
        texts.setdefault(text, []).append(tag or "")
    return list(texts.values())
