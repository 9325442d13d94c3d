"""Proves that every layer of BERT, in every engine, is what transformers computes in float32.

The bar: relative L2 error at most 1e-5, and no number further off than 1e-4 of its layer's root mean square.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.embeddings import Embeddings
from lamina.extraction.extractor import Extractor
from lamina.text.text import Text
from tests.checkpoints import DEEP
from tests.oracle import Oracle, largest_error, load_oracle, relative_error
from tests.samples import BARE, SHARED_DATA, TEXTS, prose

REAL_LENGTHS = (20, 45, 70, 110, 160, 260, 420, 900)  # characters; four texts of each


def real_texts() -> list[str]:
    """Texts of 1 token to over 512, our own, and where they are found 32 from a public corpus: 64 or more."""
    own = [*TEXTS, *BARE, *(prose(n) for n in (1, 2, 4, 9, 20, 90))]
    corpus = SHARED_DATA / "throughput" / "english_20k.jsonl"
    if not corpus.is_file():
        return own + [prose(n, start=7 * n) for n in range(1, 33)]
    with corpus.open("rb") as file:
        texts = [json.loads(next(file))["text"] for _ in range(2000)]
    by_length = sorted(set(texts), key=lambda text: (len(text), text))
    lengths = np.array([len(text) for text in by_length])
    return own + [by_length[int(np.searchsorted(lengths, n)) + i] for n in REAL_LENGTHS for i in range(4)]


def assert_every_layer_agrees(model: Extractor, oracle: Oracle, texts: list[str]) -> None:
    """Token rows equal the oracle's states, layer by layer, text by text, all texts in one call."""
    max_tokens = model.architecture.max_tokens
    found = model.extract(texts, layers="all", unit="token", long="truncate")
    seen = np.flatnonzero(found.units["status"].to_numpy(zero_copy_only=False) != "cut")
    text_id = found.units["text_id"].to_numpy()[seen]
    for i, text in enumerate(texts):
        rows = seen[text_id == i]
        ids = oracle.ids(text, max_tokens=max_tokens)
        assert found.units["token_id"].to_numpy()[rows].tolist() == ids
        states = oracle.states(ids)
        assert found.layers == tuple(range(len(states)))
        for layer, expected in enumerate(states):
            vectors = found.layer(layer)[rows]
            assert relative_error(vectors, expected) <= 1e-5, f"layer {layer} of {text[:40]!r}"
            assert largest_error(vectors, expected) <= 1e-4, f"layer {layer} of {text[:40]!r}"


def test_minilm_on_openvino_agrees_at_every_layer(minilm: Extractor, minilm_oracle: Oracle) -> None:
    texts = real_texts()
    counts = [len(minilm_oracle.ids(text)) for text in texts]
    assert len(texts) >= 64
    assert min(counts) == 2  # an empty text: its special tokens alone
    assert 3 in counts
    assert max(counts) > 512
    assert_every_layer_agrees(minilm, minilm_oracle, texts)


def test_minilm_on_torch_agrees_at_every_layer(minilm_oracle: Oracle) -> None:
    assert_every_layer_agrees(lamina.load("minilm", engine="torch", device="cpu"), minilm_oracle, real_texts())


def test_minilm_on_the_reference_agrees_at_every_layer(minilm_reference: Extractor, minilm_oracle: Oracle) -> None:
    assert_every_layer_agrees(minilm_reference, minilm_oracle, ["", "a", *TEXTS[:8], prose(12), prose(90)])


@pytest.mark.parametrize("engine", ["openvino", "reference", "torch"])
def test_twelve_random_layers_agree(deep_bert: Path, engine: str) -> None:
    assert_every_layer_agrees(
        lamina.load(deep_bert, engine=engine), load_oracle(deep_bert), [*TEXTS, *BARE, prose(3), prose(30)]
    )


@pytest.mark.parametrize("engine", ["openvino", "reference", "torch"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_of_other_proportions_agrees(random_bert: Callable[..., Path], engine: str, seed: int) -> None:
    odd = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 17}
    folder = random_bert(**odd, seed=seed, max_position_embeddings=21, layer_norm_eps=1e-5, type_vocab_size=4)
    assert_every_layer_agrees(lamina.load(folder, engine=engine), load_oracle(folder), [*TEXTS[:9], *BARE])


@pytest.mark.parametrize("engine", ["openvino", "reference", "torch"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu", "silu", "swish"])
def test_every_activation_agrees(random_bert: Callable[..., Path], engine: str, activation: str) -> None:
    folder = random_bert(**DEEP | {"num_hidden_layers": 2}, hidden_act=activation)
    assert_every_layer_agrees(lamina.load(folder, engine=engine), load_oracle(folder), TEXTS[:6])


@pytest.mark.parametrize("engine", ["openvino", "reference", "torch"])
def test_one_layer_one_head_and_sixteen_positions_agree(tiny_bert: Path, engine: str) -> None:
    assert_every_layer_agrees(lamina.load(tiny_bert, engine=engine), load_oracle(tiny_bert), [*TEXTS[:9], *BARE])


def test_layer_numbers_are_those_of_hidden_states(minilm: Extractor, minilm_oracle: Oracle) -> None:
    text = TEXTS[0]
    states = minilm_oracle.states(minilm_oracle.ids(text))
    for layer, number in ((0, 0), ("embeddings", 0), (1, 1), (-1, 6), (-6, 1)):
        found = minilm.extract([text], layers=layer, unit="token")
        assert found.layers == (number,)
        assert relative_error(found.layer(number), states[number]) <= 1e-5
        assert relative_error(found.layer(number), states[(number + 1) % 7]) > 0.1  # its neighbour is another


TWINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda x: x.mean(axis=0),
    "sum": lambda x: x.sum(axis=0),
    "max": lambda x: x.max(axis=0),
    "cls": lambda x: x[0],
    "first": lambda x: x[1],
    "last": lambda x: x[-2],
    "sqrt": lambda x: x.sum(axis=0) / len(x) ** 0.5,
    "position": lambda x: np.average(x, axis=0, weights=np.arange(1, len(x) + 1)),
}
POOLED = [TEXTS[0], TEXTS[1], "a", prose(8), TEXTS[0]]


def assert_rows_agree(found: Embeddings, expected: list[list[np.ndarray]]) -> None:
    """Row u of each layer equals expected[u][layer]."""
    assert len(found) == len(expected)
    for layer in found.layers:
        for vector, states in zip(found.layer(layer), expected, strict=True):
            assert relative_error(vector, states[layer]) <= 1e-5


@pytest.fixture(scope="module")
def pooled_states(minilm_oracle: Oracle) -> list[list[np.ndarray]]:
    return [minilm_oracle.states(minilm_oracle.ids(text)) for text in POOLED]


@pytest.mark.parametrize("special", ["include", "exclude"])
@pytest.mark.parametrize("pool", list(TWINS))
@pytest.mark.parametrize(("engine", "layers"), [("minilm", "0,3,6"), ("minilm_reference", "0,1")])
def test_a_texts_pools_are_what_numpy_makes_of_the_oracles_states(
    request: pytest.FixtureRequest,
    pooled_states: list[list[np.ndarray]],
    pool: str,
    special: str,
    engine: str,
    layers: str,
) -> None:
    model: Extractor = request.getfixturevalue(engine)
    found = model.extract(POOLED, pool=pool, special=special, layers=layers)  # type: ignore[arg-type]
    drop = special == "exclude" and pool not in ("cls", "first", "last")
    assert_rows_agree(found, [[TWINS[pool](x[1:-1] if drop else x) for x in states] for states in pooled_states])


@pytest.mark.parametrize("pool", ["mean", "sum", "max", "first", "last", "sqrt", "position"])
def test_a_words_pools_are_what_numpy_makes_of_its_pieces(minilm: Extractor, minilm_oracle: Oracle, pool: str) -> None:
    text = "Unbelievably, embeddings overflowed the antediluvian riverbanks."
    found = minilm.extract([text], unit="word", pool=pool, layers="0,3,6")  # type: ignore[arg-type]
    encoding = minilm_oracle.tokenizer(text, return_offsets_mapping=True)
    states = minilm_oracle.states(encoding["input_ids"])
    take = {"first": lambda x: x[0], "last": lambda x: x[-1]}.get(pool) or TWINS[pool]
    pieces = [
        [t for t, (low, high) in enumerate(encoding["offset_mapping"]) if low < end and high > start]
        for start, end in zip(found.units["start"].to_pylist(), found.units["end"].to_pylist(), strict=True)
    ]
    assert max(map(len, pieces)) > 2
    assert found.units["n_tokens"].to_pylist() == [len(places) for places in pieces]
    assert_rows_agree(found, [[take(x[places]) for x in states] for places in pieces])


@pytest.mark.parametrize("engine", ["openvino", "reference", "torch"])
def test_both_texts_of_a_pair_are_read_together_as_transformers_reads_them(deep_bert: Path, engine: str) -> None:
    oracle, model = load_oracle(deep_bert), lamina.load(deep_bert, engine=engine)
    pairs = [("the river", "a bank"), ("", "the"), (TEXTS[0], "no"), ("alone", None)]
    found = model.extract([Text(first, pair=second) for first, second in pairs], unit="token")
    for i, (first, second) in enumerate(pairs):
        encoding = oracle.tokenizer(first, second)
        rows = np.flatnonzero(found.units["text_id"].to_numpy() == i)
        assert found.units["token_id"].to_numpy()[rows].tolist() == encoding["input_ids"]
        for layer, expected in enumerate(oracle.states(encoding["input_ids"], encoding["token_type_ids"])):
            assert relative_error(found.layer(layer)[rows], expected) <= 1e-5


def test_an_idf_pool_weighs_each_token_by_its_rarity_in_the_corpus(deep: Extractor, deep_bert: Path) -> None:
    oracle = load_oracle(deep_bert)
    texts = ["the river", "the bank", "the the river 7", "河"]
    ids = [oracle.ids(text) for text in texts]
    weights = [
        np.array([np.log((1 + len(texts)) / (1 + sum(token in other for other in ids))) + 1 for token in of_text])
        for of_text in ids
    ]
    expected = [
        [np.average(x, axis=0, weights=w).astype(np.float32) for x in oracle.states(i)]
        for i, w in zip(ids, weights, strict=True)
    ]
    assert_rows_agree(deep.extract(texts, pool="idf"), expected)
