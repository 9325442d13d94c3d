"""Proves on a document of 20,000 tokens that each is there once, with the bits of the one window it is taken from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import lamina
from lamina.embeddings import Embeddings
from lamina.engine.batch import Batch, Program, Rows
from lamina.extraction.extractor import Extractor
from lamina.spec import Overlap
from lamina.text.breaks import word_ranges
from lamina.text.tokens import Tokens
from lamina.text.windows import Windows, fill, make_windows, n_taken
from tests.checkpoints import save_bert
from tests.languages.corpus import contexts, save_tokenizer
from tests.oracle import relative_error

N_TOKENS = 20_000
WINDOW = 512
LAYERS = (0, 1, 2)

Float = npt.NDArray[np.floating]


@pytest.fixture(scope="module")
def model(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Extractor:
    """Two random layers, 32 wide, 512 positions, with the vocabulary of BERT."""
    folder = tmp_path_factory.mktemp("model")
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    save_bert(folder, vocab_size=30_522, max_position_embeddings=WINDOW, **shape)
    return lamina.load(save_tokenizer(folder, "uncased", shared_data))


@pytest.fixture(scope="module")
def document(shared_data: Path, model: Extractor) -> str:
    whole = "\n\n".join(contexts(shared_data, "en"))
    tokens = model.tokenizer.encode([whole])
    return whole[: tokens.ends[N_TOKENS]]


@pytest.fixture(scope="module")
def tokens(model: Extractor, document: str) -> Tokens:
    return model.tokenizer.encode([document])


@pytest.fixture(scope="module")
def rows(model: Extractor, document: str) -> Embeddings:
    return model.extract([document], unit="token")


def column(found: Embeddings, name: str) -> np.ndarray:
    return found.units[name].to_numpy(zero_copy_only=False)


def alone(model: Extractor, tokens: Tokens, windows: Windows) -> Iterable[list[Float]]:
    """The layers [S, D] of each window, given to the engine by itself."""
    every = np.arange(WINDOW, dtype=np.int32)
    ids = np.zeros((len(windows), WINDOW), np.int32)
    fill(ids, tokens.ids, tokens, windows, np.arange(len(windows)))
    batches = (
        Batch(row[None], np.zeros((1, WINDOW), np.int32), np.array([WINDOW], np.int32), (Rows(every, every),))
        for row in ids
    )
    for (layers,) in model.engine.run(Program(LAYERS, ("sum",)), batches):
        yield [layer.copy() for layer in layers]


def test_every_token_is_there_once_and_in_order(rows: Embeddings, tokens: Tokens) -> None:
    assert N_TOKENS <= len(rows) <= N_TOKENS + 3
    assert column(rows, "token_id").tolist() == tokens.ids.tolist()
    assert column(rows, "start").tolist() == tokens.starts.tolist()
    assert np.flatnonzero(column(rows, "special")).tolist() == [0, len(rows) - 1]
    assert set(column(rows, "n_windows")) == {1}
    assert all(np.isfinite(rows.layer(layer)).all() for layer in LAYERS)


def test_every_word_is_there_once_and_is_the_mean_of_its_tokens(
    model: Extractor, document: str, rows: Embeddings
) -> None:
    words = model.extract([document], unit="word")
    ranges = word_ranges(document)
    assert len(ranges) > 14_000
    assert list(zip(column(words, "start").tolist(), column(words, "end").tolist(), strict=True)) == ranges
    assert column(words, "surface").tolist() == [document[start:end] for start, end in ranges]
    assert set(column(words, "status")) == {"ok"}
    starts, ends = column(rows, "start"), column(rows, "end")
    first = [int(np.searchsorted(ends[1:-1], start, side="right")) + 1 for start, _ in ranges]
    last = [int(np.searchsorted(starts[1:-1], end, side="left")) + 1 for _, end in ranges]
    assert column(words, "n_tokens").tolist() == [high - low for low, high in zip(first, last, strict=True)]
    for layer in LAYERS:
        vectors = rows.layer(layer).astype(np.float64)
        expected = np.array([vectors[low:high].mean(axis=0) for low, high in zip(first, last, strict=True)])
        assert relative_error(words.layer(layer), expected) <= 1e-6
        assert np.abs(words.layer(layer) - expected).max() <= 1e-5


def test_every_token_has_the_bits_of_the_window_it_is_taken_from(
    model: Extractor, rows: Embeddings, tokens: Tokens
) -> None:
    windows = make_windows(tokens, max_tokens=WINDOW, stride=None)
    assert len(windows) == 53
    assert set(windows.length.tolist()) == {WINDOW}
    n_compared = 0
    for w, layers in enumerate(alone(model, tokens, windows)):
        first, last, origin = (int(held[w]) for held in (windows.first, windows.last, windows.origin))
        for layer, vectors in zip(LAYERS, layers, strict=True):
            assert np.array_equal(rows.layer(layer)[first:last], vectors[first - origin : last - origin])
        n_compared += last - first
    assert n_compared == len(rows)


def test_a_window_is_extracted_alike_as_a_text_of_its_own(
    model: Extractor, document: str, rows: Embeddings, tokens: Tokens
) -> None:
    """Those windows only whose characters, alone, have the same tokens: they do not begin or end inside a word."""
    windows = make_windows(tokens, max_tokens=WINDOW, stride=None)
    n_same = 0
    for w in range(len(windows)):
        low = int(windows.origin[w]) + 1
        high = low + WINDOW - 2
        text = document[tokens.starts[low] : tokens.ends[high - 1]]
        if model.tokenizer.encode([text]).ids[1:-1].tolist() != tokens.ids[low:high].tolist():
            continue
        n_same += 1
        own = model.extract([text], unit="token")
        first, last = max(low, int(windows.first[w])), min(high, int(windows.last[w]))
        for layer in LAYERS:
            assert np.array_equal(rows.layer(layer)[first:last], own.layer(layer)[first - low + 1 : last - low + 1])
    assert n_same > 25


def test_averaged_windows_give_each_token_the_mean_of_those_that_hold_it(
    model: Extractor, document: str, tokens: Tokens
) -> None:
    found = model.extract([document], unit="token", overlap="mean")
    windows = make_windows(tokens, max_tokens=WINDOW, stride=None, overlap="mean")
    times = n_taken(tokens, windows)
    assert set(times.tolist()) >= {1, 2}
    assert column(found, "n_windows").tolist() == times.tolist()
    sums = [np.zeros((tokens.ids.size, 32)) for _ in LAYERS]
    for w, layers in enumerate(alone(model, tokens, windows)):
        first, last, origin = (int(held[w]) for held in (windows.first, windows.last, windows.origin))
        for total, vectors in zip(sums, layers, strict=True):
            total[first:last] += vectors[first - origin : last - origin]
    for layer, total in zip(LAYERS, sums, strict=True):
        expected = total / times[:, None]
        assert relative_error(found.layer(layer), expected) <= 1e-6
        assert np.abs(found.layer(layer) - expected).max() <= 1e-5


@pytest.mark.parametrize("overlap", ["centre", "mean"])
@pytest.mark.parametrize("special", ["include", "exclude"])
def test_the_mean_of_the_document_is_that_of_its_tokens(
    model: Extractor, document: str, overlap: Overlap, special: str
) -> None:
    each = model.extract([document], unit="token", overlap=overlap)
    whole = model.extract([document], overlap=overlap, special=special)  # type: ignore[arg-type]
    keep = ~column(each, "special") if special == "exclude" else np.ones(len(each), np.bool_)
    for layer in LAYERS:
        expected = each.layer(layer)[keep].astype(np.float64).mean(axis=0)
        assert relative_error(whole.layer(layer)[0], expected) <= 1e-5
    assert column(whole, "n_windows").tolist() == [53]
    assert column(whole, "n_tokens").tolist() == [len(each) - 2]
