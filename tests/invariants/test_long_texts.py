"""Proves that a text of thousands of tokens is read whole: its rows, its mean and its words are those of one text."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.embeddings import Embeddings
from lamina.extraction.extractor import Extractor
from lamina.text.breaks import word_ranges
from tests.oracle import relative_error
from tests.samples import prose

DOCUMENT = prose(410)
LAYERS = "0,3,6"


@pytest.fixture(scope="module")
def tokens(minilm: Extractor) -> Embeddings:
    return minilm.extract([DOCUMENT], unit="token", layers=LAYERS)


def column(found: Embeddings, name: str) -> np.ndarray:
    return found.units[name].to_numpy(zero_copy_only=False)


def test_every_token_of_the_document_has_one_row(tokens: Embeddings, minilm: Extractor) -> None:
    ids = minilm.tokenizer.backend.encode(DOCUMENT).ids
    assert len(ids) > 3000
    assert column(tokens, "token_id").tolist() == ids
    assert set(column(tokens, "n_windows")) == {1}
    assert np.flatnonzero(column(tokens, "special")).tolist() == [0, len(ids) - 1]
    assert all(np.isfinite(matrix).all() for matrix in tokens.columns.values())


@pytest.mark.parametrize("special", ["include", "exclude"])
def test_the_mean_of_the_document_is_that_of_its_tokens(minilm: Extractor, tokens: Embeddings, special: str) -> None:
    found = minilm.extract([DOCUMENT], special=special, layers=LAYERS)  # type: ignore[arg-type]
    keep = ~column(tokens, "special") if special == "exclude" else np.ones(len(tokens), bool)
    for layer in found.layers:
        expected = tokens.layer(layer)[keep].astype(np.float64).mean(axis=0)
        assert relative_error(found.layer(layer)[0], expected.astype(np.float32)) <= 1e-5
    assert column(found, "n_tokens").tolist() == [len(tokens) - 2]
    assert column(found, "n_windows")[0] > 7
    assert column(found, "status").tolist() == ["ok"]


def test_the_maximum_of_the_document_is_that_of_its_tokens(minilm: Extractor, tokens: Embeddings) -> None:
    found = minilm.extract([DOCUMENT], pool="max", layers=LAYERS)
    for layer in found.layers:
        assert np.array_equal(found.layer(layer)[0], tokens.layer(layer).max(axis=0))


@pytest.mark.parametrize(("pool", "place"), [("cls", 0), ("first", 1), ("last", -2)])
def test_one_token_of_the_document_is_that_of_its_own_window(
    minilm: Extractor, tokens: Embeddings, pool: str, place: int
) -> None:
    found = minilm.extract([DOCUMENT], pool=pool, layers=LAYERS)  # type: ignore[arg-type]
    for layer in found.layers:
        assert np.array_equal(found.layer(layer)[0], tokens.layer(layer)[place])


@pytest.mark.parametrize("model", ["minilm", "tiny", "deep"])
def test_the_words_of_the_document_are_the_same_for_every_model(model: str, request: pytest.FixtureRequest) -> None:
    text = DOCUMENT if model == "minilm" else prose(60)
    found = request.getfixturevalue(model).extract([text], unit="word", layers=0)
    starts, ends = column(found, "start").tolist(), column(found, "end").tolist()
    assert list(zip(starts, ends, strict=True)) == word_ranges(text)
    assert column(found, "surface").tolist() == [text[a:b] for a, b in word_ranges(text)]
    assert column(found, "n_windows").min() >= 1


def test_a_word_over_a_seam_is_pooled_over_both_windows(tiny: Extractor) -> None:
    text = " ".join("abcdefghij"[: 3 + i % 5] for i in range(60))  # every letter a token, windows of 14
    words = tiny.extract([text], unit="word")
    tokens = tiny.extract([text], unit="token")
    across = np.flatnonzero(column(words, "n_windows") == 2)
    assert across.size > 3
    for row in across:
        low, high = column(words, "start")[row], column(words, "end")[row]
        pieces = (column(tokens, "start") < high) & (column(tokens, "end") > low) & ~column(tokens, "special")
        assert pieces.sum() == column(words, "n_tokens")[row]
        assert relative_error(words.layer(1)[row], tokens.layer(1)[pieces].mean(axis=0)) <= 1e-5


def test_the_first_windows_own_tokens_are_those_of_that_window_alone(minilm: Extractor, tokens: Embeddings) -> None:
    cut = minilm.extract([DOCUMENT], unit="token", layers=LAYERS, long="truncate")
    n_owned = 1 + (382 + 510 + 1) // 2  # [CLS], and up to the middle of what the first two windows share
    for layer in (3, 6):
        assert np.array_equal(cut.layer(layer)[:n_owned], tokens.layer(layer)[:n_owned])
        assert not np.array_equal(cut.layer(layer)[n_owned : n_owned + 20], tokens.layer(layer)[n_owned : n_owned + 20])


def test_a_text_of_exactly_one_window_is_not_cut(tiny: Extractor) -> None:
    for n_letters, n_windows in ((13, 1), (14, 1), (15, 2)):
        found = tiny.extract([" ".join("a" * n_letters)])
        assert column(found, "n_windows").tolist() == [n_windows]


def test_averaged_windows_give_each_token_the_mean_of_its_windows(tiny: Extractor) -> None:
    letters = "abcdefghijklmnopqrst"  # 20 tokens, read in windows of 6 that start every 4
    text = " ".join(letters)
    found = tiny.extract([text], unit="token", max_tokens=8, stride=4, overlap="mean", layers=1).layer(1)
    starts = [0, 4, 8, 12, 14]
    windows = [tiny.extract([" ".join(letters[s : s + 6])], unit="token", layers=1).layer(1) for s in starts]
    for place in range(20):
        seen = [window[1 + place - s] for s, window in zip(starts, windows, strict=True) if s <= place < s + 6]
        assert relative_error(found[1 + place], np.mean(seen, axis=0)) <= 1e-5
    assert relative_error(found[0], windows[0][0]) <= 1e-5  # [CLS] of the first window
    assert relative_error(found[-1], windows[-1][-1]) <= 1e-5  # [SEP] of the last
