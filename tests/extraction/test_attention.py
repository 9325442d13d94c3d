"""Attention weights as the user sees them: units, words, heads, layers, and what is refused.

That the numbers are right is tests/parity/test_attention.py.
"""

from __future__ import annotations

import numpy as np
import pytest

import lamina
from lamina.errors import SourceError, SpecError, TextError
from lamina.extraction.attention import between_units
from lamina.extraction.extractor import Extractor
from lamina.text.text import Text
from tests.samples import BARE, SCRIPTS, TEXTS

WORDS = ["The antediluvian bank, unbelievably.", "", Text("a river", pair="the embeddings"), "a  b", SCRIPTS["thai"]]


def test_units_are_those_of_extract(minilm: Extractor) -> None:
    texts = [*TEXTS, *BARE]
    for given in (texts, WORDS):
        units = minilm.extract(given, unit="token", layers=1).units
        found = minilm.attention(given, layers=1)
        assert [one.text_id for one in found] == list(range(len(given)))
        for one in found:
            rows = np.flatnonzero(units["text_id"].to_numpy() == one.text_id)
            assert one.units.equals(units.take(rows))
            assert one.weights.shape == (1, 12, rows.size, rows.size)
            assert one.weights.dtype == np.float32
            assert np.allclose(one.weights.sum(axis=-1), 1, atol=1e-5)


def test_words_are_those_of_extract_with_the_tokens_outside_them(minilm: Extractor) -> None:
    words = minilm.extract(WORDS, unit="word", layers=1).units
    for one in minilm.attention(WORDS, unit="word"):
        rows = np.flatnonzero(words["text_id"].to_numpy() == one.text_id)
        special = one.units["special"].to_numpy(zero_copy_only=False)
        assert one.units.filter(~special).equals(words.take(rows))
        names = one.units.filter(special)["surface"].to_pylist()
        assert names == (["[CLS]", "[SEP]", "[SEP]"] if one.text_id == 2 else ["[CLS]", "[SEP]"])
        assert np.allclose(one.weights.sum(axis=-1), 1, atol=1e-5)
    assert one.weights.shape == (6, 12, len(one), len(one))


def test_a_words_weights_are_summed_to_and_averaged_from(minilm: Extractor) -> None:
    text = WORDS[0]
    (tokens,), (words,) = (minilm.attention([text], unit=unit) for unit in ("token", "word"))  # type: ignore[arg-type]
    places = []
    for unit in words.units.to_pylist():
        inside = [
            t
            for t, token in enumerate(tokens.units.to_pylist())
            if (token["special"] and unit["special"] and token["start"] == unit["start"])
            or (not token["special"] and token["start"] < unit["end"] and token["end"] > unit["start"])
        ]
        places.append(inside)
    assert max(map(len, places)) > 2
    for u, of_u in enumerate(places):
        for w, of_w in enumerate(places):
            expected = tokens.weights[:, :, of_u][:, :, :, of_w].sum(axis=-1).mean(axis=-1)
            assert np.allclose(words.weights[:, :, u, w], expected, atol=1e-6)


def test_tokens_of_no_word_or_of_two_keep_the_rows_whole(minilm: Extractor) -> None:
    given = Text("the unbelievable bank", words=((4, 8), (8, 16), (16, 17)))  # halves of a token, and a space
    (found,) = minilm.attention([given], unit="word", layers=6)
    assert found.units["surface"].to_pylist() == ["[CLS]", "the", "unbe", "lievable", " ", "bank", "[SEP]"]
    assert found.units["status"].to_pylist() == ["ok"] * 4 + ["dropped"] + ["ok"] * 2
    whole = np.delete(found.weights[0], 4, axis=1)
    assert np.allclose(whole.sum(axis=-1), 1, atol=1e-5)
    assert np.isnan(found.weights[0, :, 4]).all()  # a word that nothing stands for looks nowhere
    assert not whole[:, :, 4].any()
    assert np.array_equal(whole[:, 2], whole[:, 3])  # both are the same token


def test_between_units_by_hand() -> None:
    weights = np.array([[[[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]]]], np.float32)
    found = between_units(weights, np.array([0, 1]), np.array([1, 3]))
    assert np.array_equal(found[0, 0], [[0.5, 0.5], [0.125, 0.875]])
    shared = between_units(weights, np.array([0, 1]), np.array([2, 3]))
    # Token 1 is in both units: each gets half of what it is given.
    assert np.array_equal(shared[0, 0], [[0.5625, 0.4375], [0.4375, 0.5625]])


def test_layers_and_heads_come_as_asked(minilm: Extractor) -> None:
    (whole,) = minilm.attention(["The river bank."])
    (some,) = minilm.attention(["The river bank."], layers=[6, 2], heads=[11, 0])
    assert (some.layers, some.heads) == ((6, 2), (11, 0))
    assert np.array_equal(some.weights, whole.weights[[5, 1]][:, [11, 0]])
    assert np.array_equal(some.layer(2), some.weights[1])
    assert np.array_equal(minilm.attention(["The river bank."], heads=3)[0].weights, whole.weights[:, 3:4])
    assert minilm.attention([]) == []
    with pytest.raises(SpecError, match="layer 3 is not here: these weights hold layers 6, 2"):
        some.layer(3)
    with pytest.raises(SpecError, match="cannot be indexed"):
        some[0]


@pytest.mark.parametrize("layers", ["all", 0, "embeddings", [0, 3]])
def test_the_embedding_layer_has_none(minilm: Extractor, layers: str | int | list[int]) -> None:
    with pytest.raises(SpecError, match="layer 0 is the embedding layer's output, which no attention made"):
        minilm.attention(["a"], layers=layers)


def test_what_does_not_exist_is_refused(minilm: Extractor, tiny: Extractor) -> None:
    for heads in (12, -1, [0, 12], True, "a"):
        with pytest.raises(SpecError, match="this model has heads 0 to 11"):
            minilm.attention(["a"], heads=heads)  # type: ignore[arg-type]
    for heads in ([], [3, 3]):
        with pytest.raises(SpecError, match="different numbers"):
            minilm.attention(["a"], heads=heads)
    with pytest.raises(SpecError, match="layer 7 does not exist"):
        minilm.attention(["a"], layers=7)
    with pytest.raises(SpecError, match="'token' or 'word'"):
        minilm.attention(["a"], unit="text")  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="not one string"):
        minilm.attention("a")
    with pytest.raises(TextError, match=r"text 1 has 32 tokens.*holds 16: attention across windows does not exist"):
        tiny.attention(["a", "a" * 30])


@pytest.mark.parametrize("engine", ["openvino", "reference"])
def test_bits_do_not_depend_on_company(deep: Extractor, engine: str) -> None:
    model = lamina.load(deep.checkpoint.folder, engine=engine)
    texts = ["the river", "a", "", *("the bank " * n for n in (1, 3, 4, 5)), "the river 7 bank"]
    together = model.attention(texts)
    backwards = model.attention(texts[::-1])[::-1]
    for i, text in enumerate(texts):
        (alone,) = model.attention([text])
        assert np.array_equal(alone.weights, together[i].weights)
        assert np.array_equal(backwards[i].weights, together[i].weights)
