"""Proves that every pool is what its name says, over the token rows of the same text, in windows or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import lamina
from lamina.errors import TextError
from lamina.extraction.extractor import Extractor
from lamina.extraction.idf import fit_idf
from lamina.text.source import rows_of
from lamina.text.text import Text
from lamina.text.tokenizer import Tokenizer, Tokens
from tests.samples import SCRIPTS, prose

TEXTS = [prose(90), SCRIPTS["english"], SCRIPTS["chinese"], "a"]  # the first takes several windows
Matrix = np.ndarray
TWINS: dict[str, Callable[[Matrix, Matrix], Matrix]] = {  # of all token rows, and of the ordinary ones
    "mean": lambda rows, _: rows.mean(axis=0),
    "sum": lambda rows, _: rows.sum(axis=0),
    "max": lambda rows, _: rows.max(axis=0),
    "sqrt": lambda rows, _: rows.sum(axis=0) / np.sqrt(len(rows)),
    "position": lambda rows, _: np.average(rows, axis=0, weights=np.arange(1, len(rows) + 1)),
    "cls": lambda rows, _: rows[0],
    "first": lambda _, ordinary: ordinary[0],
    "last": lambda _, ordinary: ordinary[-1],
}


@pytest.mark.parametrize("overlap", ["centre", "mean"])
@pytest.mark.parametrize("pool", TWINS)
def test_a_pool_of_a_text_is_that_of_its_token_rows(deep: Extractor, pool: str, overlap: str) -> None:
    if (pool, overlap) == ("max", "mean"):
        with pytest.raises(lamina.LaminaError, match="maximum"):
            deep.extract(TEXTS, pool="max", overlap="mean")
        return
    pooled = deep.extract(TEXTS, pool=pool, overlap=overlap, layers=[0, 7])
    tokens = deep.extract(TEXTS, unit="token", overlap=overlap, layers=[0, 7])
    text_id, special = tokens.units["text_id"].to_numpy(), np.array(tokens.units["special"])
    for layer in (0, 7):
        for text in range(len(TEXTS)):
            rows = tokens.layer(layer)[text_id == text].astype(np.float64)
            ordinary = tokens.layer(layer)[(text_id == text) & ~special].astype(np.float64)
            expected = TWINS[pool](rows, ordinary)
            np.testing.assert_allclose(pooled.layer(layer)[text], expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("overlap", ["centre", "mean"])
def test_idf_weighs_each_token_by_its_rarity_in_these_texts(deep: Extractor, overlap: str) -> None:
    pooled = deep.extract(TEXTS, pool="idf", overlap=overlap, layers=3)
    tokens = deep.extract(TEXTS, unit="token", overlap=overlap, layers=3)
    text_id, ids = tokens.units["text_id"].to_numpy(), tokens.units["token_id"].to_numpy()
    for text in range(len(TEXTS)):
        here = text_id == text
        held_by = [len(set(text_id[ids == token].tolist())) for token in ids[here]]
        weights = [np.log((1 + len(TEXTS)) / (1 + n)) + 1 for n in held_by]
        expected = np.average(tokens.layer(3)[here].astype(np.float64), axis=0, weights=weights)
        np.testing.assert_allclose(pooled.layer(3)[text], expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("pool", "overlap"),
    [
        ("max", "centre"),
        *((pool, how) for pool in ("sum", "sqrt", "position", "idf", "first", "last") for how in ("centre", "mean")),
    ],
)
def test_any_pool_of_a_single_token_is_its_vector(deep: Extractor, pool: str, overlap: str) -> None:
    plain, pooled = (deep.extract(TEXTS, unit="token", pool=one, overlap=overlap, layers=3) for one in ("mean", pool))
    np.testing.assert_array_equal(pooled.layer(3), plain.layer(3))


def test_idf_needs_the_whole_corpus_first(deep: Extractor) -> None:
    with pytest.raises(lamina.LaminaError, match="whole corpus"):
        next(deep.stream(["a"], pool="idf"))


def test_idf_refuses_one_string_as_every_pool_does(deep: Extractor) -> None:
    with pytest.raises(lamina.LaminaError, match="put it in a list"):
        deep.extract("the river", pool="idf")


def test_idf_reads_an_iterator_once(deep: Extractor) -> None:
    once = deep.extract(iter(TEXTS), pool="idf", layers=3)
    np.testing.assert_array_equal(once.layer(3), deep.extract(TEXTS, pool="idf", layers=3).layer(3))


@dataclass
class Refusing:
    """A tokenizer that refuses one text, and once that is gone the next one."""

    tokenizer: Tokenizer
    refused: tuple[str, ...]

    @property
    def n_ids(self) -> int:
        return self.tokenizer.n_ids

    def encode(self, texts: list[Text]) -> Tokens:
        found = [text.text for text in texts]
        for bad in self.refused:
            if bad in found:
                raise TextError("is refused", row=found.index(bad))
        return self.tokenizer.encode(texts)


def test_idf_leaves_out_what_is_refused_for_one_reason_after_another(deep: Extractor) -> None:
    rows = list(rows_of(["one", "b", "a", "two"]))
    with pytest.raises(TextError, match="text 2 is refused"):
        fit_idf(rows, Refusing(deep.tokenizer, ("a", "b")))
    found = fit_idf(rows, Refusing(deep.tokenizer, ("a", "b")), on_error="mark")
    expected = fit_idf(rows_of(["one", "two"]), deep.tokenizer)
    assert found.n_texts == 2
    np.testing.assert_array_equal(found.counts, expected.counts)


def test_a_dataset_keeps_what_idf_was_fitted_on(deep: Extractor, tmp_path) -> None:
    dataset = lamina.extract(["one a", "one b"], tmp_path / "ds", model=deep, pool="idf", layers=1, dtype="float32")
    counts = np.load(tmp_path / "ds" / "idf.npy", allow_pickle=False)
    assert dataset.manifest.idf is not None
    assert dataset.manifest.idf["n_texts"] == 2
    assert counts.max() == 2
    np.testing.assert_array_equal(dataset.layer(1), deep.extract(["one a", "one b"], pool="idf", layers=1).layer(1))


def test_dims_keeps_the_first_numbers_and_then_scales(deep: Extractor) -> None:
    whole = deep.extract(TEXTS, layers=2).layer(2)
    cut = deep.extract(TEXTS, layers=2, dims=5, normalize=True).layer(2)
    expected = whole[:, :5] / np.linalg.norm(whole[:, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(lamina.LaminaError, match="dims"):
        deep.extract(TEXTS, layers=2, dims=10_000)
