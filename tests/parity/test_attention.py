"""Attention weights of every family and engine against the eager attentions of transformers, one text at a time.

The engines read all texts in one batch of mixed lengths, so that padding that is looked at shows as an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.engine.batch import Batch
from lamina.extraction.extractor import Extractor
from lamina.model.architecture import FAMILIES, architecture_of
from lamina.model.config import read_config
from lamina.text.text import Text
from tests.oracle import Float32, Oracle
from tests.parity.test_families import CONFIGS, ENGINES, made, read

BOUND = 1e-5
VARIANTS = [
    ("bert", "small"), ("roberta", "small"), ("xlm-roberta", "small"), ("camembert", "small"),
    ("distilbert", "small"), ("electra", "projected"), ("albert", "one group"),
    ("mpnet", "small"), ("deberta", "both"), ("deberta", "p2c"), ("deberta-v2", "c2p"), ("deberta-v2", "separate"),
    ("deberta-v2", "wide convolution"), ("modernbert", "small"), ("modernbert", "local"), ("nomic_bert", "small"),
]  # fmt: skip


def eager(folder: Path, texts: list[np.ndarray]) -> list[list[Float32]]:
    """The attention weights [H, T, T] of each layer for each text, in transformers."""
    import torch
    from transformers import AutoModel

    torch.set_num_threads(1)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.inference_mode():
        found = [model(torch.tensor(ids[None]).long(), output_attentions=True).attentions for ids in texts]
    return [[layer[0].numpy() for layer in of_text] for of_text in found]


@pytest.fixture(scope="module")
def case(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], tuple[Path, list[np.ndarray], list[list[Float32]]]]:
    def make(family: str, variant: str) -> tuple[Path, list[np.ndarray], list[list[Float32]]]:
        folder = made(tmp_path_factory.mktemp("attention"), family, **CONFIGS[family, variant])
        arch = architecture_of(read_config(folder / "config.json"))
        random = np.random.default_rng(0)
        lengths = [arch.max_tokens, 1, 2, 7, 13]
        texts = [random.integers(0, arch.vocab_size, length).astype(np.int32) for length in lengths]
        return folder, texts, eager(folder, texts)

    return cache(make)


def padded(texts: list[np.ndarray]) -> Batch:
    ids = np.zeros((len(texts), max(map(len, texts))), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return Batch(ids, np.zeros_like(ids), np.array([len(text) for text in texts], np.int32), ())


def test_every_family_is_compared() -> None:
    assert {family for family, _ in VARIANTS} == set(FAMILIES)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_every_layer_and_head_agrees(
    case: Callable[[str, str], tuple[Path, list[np.ndarray], list[list[Float32]]]],
    family: str,
    variant: str,
    engine: str,
) -> None:
    folder, texts, expected = case(family, variant)
    arch, weights = read(folder)
    layers = tuple(range(1, arch.n_layers + 1))
    found = ENGINES[engine](arch, weights).attention(layers, padded(texts))
    assert len(found) == len(expected[0])
    worst = 0.0
    for b, (text, of_text) in enumerate(zip(texts, expected, strict=True)):
        T = len(text)
        for k, of_layer in enumerate(of_text):
            assert found[k][b].shape[0] == of_layer.shape[0] == arch.n_heads
            assert not found[k][b, :, :T, T:].any()  # nothing looks at padding
            worst = max(worst, float(np.abs(found[k][b, :, :T, :T] - of_layer).max()))
    assert worst <= BOUND, f"{worst:.1e}"
    spread = max(float(of_layer.std()) for of_layer in expected[0])
    assert spread > 1e-3  # no plain average, which would agree by chance


@pytest.mark.parametrize("model", ["minilm", "minilm_reference"])
def test_a_trained_models_texts_and_pairs_agree(
    request: pytest.FixtureRequest, minilm_oracle: Oracle, model: str
) -> None:
    import torch

    extractor: Extractor = request.getfixturevalue(model)
    texts = ["The bank raised its rates.", ("a question", "An unbelievably antediluvian answer."), "", "a"]
    found = extractor.attention([Text(*text) if isinstance(text, tuple) else text for text in texts])
    for text, of_text in zip(texts, found, strict=True):
        encoding = minilm_oracle.tokenizer(*(text if isinstance(text, tuple) else (text,)), return_tensors="pt")
        with torch.inference_mode():
            expected = minilm_oracle.model(**encoding, output_attentions=True).attentions
        assert of_text.units["token_id"].to_pylist() == encoding["input_ids"][0].tolist()
        assert of_text.layers == tuple(range(1, 7))
        assert np.abs(of_text.weights - np.stack([layer[0].numpy() for layer in expected])).max() <= BOUND


def test_the_states_do_not_change_where_weights_are_asked_for(deep_bert: Path) -> None:
    model = lamina.load(deep_bert)
    before = model.extract(["the river"], unit="token")
    model.attention(["the river"])
    after = model.extract(["the river"], unit="token")
    assert all(np.array_equal(before.layer(k), after.layer(k)) for k in before.layers)
