"""The common mistakes of docs/mistakes.md, one test each: Lamina gives the right thing, or an error that explains.

What is right is computed by hand from transformers' states, one text at a time, without padding.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.embeddings import ADVICE, Embeddings
from lamina.errors import CheckpointError, SpecError, TextError
from lamina.extraction.extractor import Extractor
from tests.oracle import Float32, Oracle, relative_error
from tests.samples import prose

TEXTS = ["Yes.", "The bank raised its rates.", "An antediluvian fish swam unbelievably far.", prose(6)]


@pytest.fixture(scope="module")
def states(minilm_oracle: Oracle) -> list[list[Float32]]:
    """By hand: of each text, of each layer, its own tokens' states and no padding, [T, D]."""
    return [minilm_oracle.states(minilm_oracle.ids(text)) for text in TEXTS]


@pytest.fixture(scope="module")
def emb(minilm: Extractor) -> Embeddings:
    return minilm.extract(TEXTS)


@pytest.fixture(scope="module")
def tokens(minilm: Extractor) -> Embeddings:
    return minilm.extract(TEXTS, unit="token")


@pytest.fixture(scope="module")
def dataset(minilm: Extractor, tmp_path_factory: pytest.TempPathFactory) -> lamina.Dataset:
    return lamina.extract(TEXTS, tmp_path_factory.mktemp("guards") / "d", model=minilm, pool="cls", dtype="float32")


def of_text(tokens: Embeddings, text: int) -> np.ndarray:
    return np.flatnonzero(tokens.units["text_id"].to_numpy() == text)


def test_first_axis_of_last_hidden_state_is_not_layers(
    tokens: Embeddings, dataset: lamina.Dataset, states: list[list[Float32]]
) -> None:
    for held in (tokens, dataset):
        for key in (0, -1, 11, slice(-4, None), "layer_4", (0, 1)):
            with pytest.raises(SpecError, match=r"Write \.layer\(4\) for layer 4"):
                held[key]
        with pytest.raises(SpecError, match=r"\.layers\[-4:\]"):
            next(iter(held))
        with pytest.raises(SpecError, match="cannot be indexed"):
            np.asarray(held)
        with pytest.raises(AttributeError, match=r"write \.layer"):
            _ = held.shape  # type: ignore[union-attr]
    for layer in tokens.layers:
        assert relative_error(tokens.layer(layer)[of_text(tokens, 1)], states[1][layer]) <= 1e-5


def test_the_last_four_layers_are_the_last_four(minilm: Extractor, states: list[list[Float32]]) -> None:
    last_four = minilm.extract(TEXTS, layers="-4..-1", combine="concat", pool="cls")
    for row, of_layers in zip(last_four.combined, states, strict=True):
        assert relative_error(row, np.concatenate([of_layers[k][0] for k in (3, 4, 5, 6)])) <= 1e-5
    for words in (":-4", "-4:", "..-4", "-4.."):
        with pytest.raises(SpecError, match=r'a range such as "-4\.\.-1" \(both ends included\)'):
            minilm.extract(TEXTS, layers=words)
    with pytest.raises(SpecError, match="run backwards"):
        minilm.extract(TEXTS, layers="-1..-4")
    with pytest.raises(SpecError, match="layers must be"):
        minilm.extract(TEXTS, layers=slice(-4, None))  # type: ignore[arg-type]


def test_layer_0_is_the_embedding_layer_and_there_is_no_layer_n_plus_1(
    minilm: Extractor, minilm_oracle: Oracle, tokens: Embeddings
) -> None:
    import torch

    with torch.inference_mode():
        embedded = minilm_oracle.model.embeddings(torch.tensor([minilm_oracle.ids(TEXTS[1])]))[0].numpy()
    assert tokens.layers == (0, 1, 2, 3, 4, 5, 6)
    assert relative_error(tokens.layer(0)[of_text(tokens, 1)], embedded) <= 1e-5
    assert minilm.extract(TEXTS, layers="encoder").layers == (1, 2, 3, 4, 5, 6)
    for layer in (7, 13, -7, -13):
        with pytest.raises(SpecError, match=r"this model has layers 0 to 6 \(0 is the embedding layer's output"):
            minilm.extract(TEXTS, layers=layer)


def test_no_number_means_another_layer(emb: Embeddings, minilm: Extractor, dataset: lamina.Dataset) -> None:
    for held in (emb, dataset):
        assert np.array_equal(held.layer(-1), held.layer(6))
        assert np.array_equal(held.layer(np.int64(4)), held.layer(4))  # type: ignore[arg-type]
        for number in (-2, -7):  # of how many? they do not know the model's layers
            with pytest.raises(SpecError, match=rf"layer.{number}.* 0, 1, 2, 3, 4, 5, 6 .*only -1 counts from the end"):
                held.layer(number)
        for word in (4.0, "last", "4", True, None, [4], slice(4)):
            with pytest.raises(SpecError, match="a layer is a whole number such as 4, or -1"):
                held.layer(word)  # type: ignore[arg-type]
    for layers in (4.0, [4.0], True, [True]):
        with pytest.raises(SpecError, match="layer"):
            minilm.extract(TEXTS, layers=layers)  # type: ignore[arg-type]


def test_the_pooler_is_never_taken_for_a_layer(emb: Embeddings, dataset: lamina.Dataset, minilm_oracle: Oracle) -> None:
    import torch

    with torch.inference_mode():
        pooler = minilm_oracle.model(torch.tensor([minilm_oracle.ids(TEXTS[1])])).pooler_output[0].numpy()
    for layer in dataset.layers:  # [CLS] of each layer
        assert relative_error(dataset.layer(layer)[1], pooler) > 0.1
    for held in (emb, dataset):
        for name, advice in ADVICE.items():
            assert not hasattr(held, name)
            with pytest.raises(AttributeError) as raised:
                getattr(held, name)
            assert advice in str(raised.value)
            assert raised.value.name == name
        with pytest.raises(AttributeError, match="has no attribute 'hidden'"):
            _ = held.hidden  # type: ignore[union-attr]


def test_embeddings_do_not_unpack_into_names(emb: Embeddings) -> None:
    with pytest.raises(SpecError, match=r"cannot be indexed .* or iterated"):
        _hidden, _cls = emb  # type: ignore[misc]
    assert len(emb) == len(TEXTS)


def test_a_mean_never_sees_padding(minilm: Extractor, emb: Embeddings, states: list[list[Float32]]) -> None:
    assert len({len(of_layers[0]) for of_layers in states}) == len(TEXTS)  # batched, they would be padded
    for i, text in enumerate(TEXTS):
        alone = minilm.extract([text])
        for layer in emb.layers:
            assert relative_error(emb.layer(layer)[i], states[i][layer].mean(axis=0)) <= 1e-5
            assert np.array_equal(emb.layer(layer)[i], alone.layer(layer)[0])


def test_special_tokens_are_in_a_mean_or_out_of_it_as_said(
    minilm: Extractor, emb: Embeddings, states: list[list[Float32]], tmp_path: Path
) -> None:
    excluded = minilm.extract(TEXTS, special="exclude")
    for i, of_layers in enumerate(states):
        assert relative_error(emb.layer(6)[i], of_layers[6].mean(axis=0)) <= 1e-5
        assert relative_error(excluded.layer(6)[i], of_layers[6][1:-1].mean(axis=0)) <= 1e-5
    assert relative_error(excluded.layer(6)[0], emb.layer(6)[0]) > 0.1  # it matters
    stored = lamina.extract(TEXTS, tmp_path / "d", model=minilm, special="exclude")
    assert json.loads((tmp_path / "d" / "manifest.json").read_text())["spec"] == str(stored.spec)
    assert "special=exclude" in str(stored.spec)


def test_there_is_no_mask_to_invert(minilm: Extractor, emb: Embeddings) -> None:
    for function in (minilm.extract, minilm.stream, lamina.extract, lamina.Spec.of):
        assert not [name for name in inspect.signature(function).parameters if "mask" in name]
    with pytest.raises(TypeError, match="attention_mask"):
        minilm.extract(TEXTS, attention_mask=np.ones((4, 8)))  # type: ignore[call-arg]
    assert not np.isnan(emb.layer(6)).any()


def test_last_is_the_last_word_piece_never_sep_or_pad(
    minilm: Extractor, minilm_oracle: Oracle, states: list[list[Float32]]
) -> None:
    texts = ["Yes", *TEXTS]
    last, first = minilm.extract(texts, pool="last"), minilm.extract(texts, pool="first")
    of_texts = [minilm_oracle.states(minilm_oracle.ids("Yes")), *states]
    assert minilm_oracle.tokenizer.convert_ids_to_tokens(minilm_oracle.ids("Yes")) == ["[CLS]", "yes", "[SEP]"]
    for i, of_layers in enumerate(of_texts):
        for layer in last.layers:
            assert relative_error(last.layer(layer)[i], of_layers[layer][-2]) <= 1e-5
            assert relative_error(first.layer(layer)[i], of_layers[layer][1]) <= 1e-5


def test_a_tokens_name_stands_beside_its_own_vector(
    tokens: Embeddings, minilm_oracle: Oracle, states: list[list[Float32]]
) -> None:
    for i, text in enumerate(TEXTS):
        rows = of_text(tokens, i)
        names = minilm_oracle.tokenizer.convert_ids_to_tokens(minilm_oracle.ids(text))
        assert [tokens.units["token"][int(row)].as_py() for row in rows] == names
        assert [tokens.units["special"][int(row)].as_py() for row in rows] == [n in ("[CLS]", "[SEP]") for n in names]
        assert relative_error(tokens.layer(6)[rows], states[i][6]) <= 1e-5


def test_segment_ids_of_a_single_text_are_zero(minilm: Extractor, minilm_oracle: Oracle, tokens: Embeddings) -> None:
    import torch

    assert not minilm.tokenizer.encode(TEXTS).types.any()
    ids = torch.tensor([minilm_oracle.ids(TEXTS[1])])
    of_type = []
    for kind in (0, 1):
        with torch.inference_mode():
            found = minilm_oracle.model(ids, token_type_ids=torch.full_like(ids, kind))
        of_type.append(found.last_hidden_state[0].numpy())
    vectors = tokens.layer(6)[of_text(tokens, 1)]
    assert relative_error(vectors, of_type[0]) <= 1e-5
    assert relative_error(vectors, of_type[1]) > 0.01


def test_segment_ids_of_a_pair_are_the_tokenizers(minilm: Extractor, minilm_oracle: Oracle) -> None:
    import torch

    encoding = minilm_oracle.tokenizer(TEXTS[1], TEXTS[2], return_tensors="pt")
    assert set(encoding["token_type_ids"][0].tolist()) == {0, 1}
    with torch.inference_mode():
        expected = minilm_oracle.model(**encoding).last_hidden_state[0].numpy()
    found = minilm.extract([lamina.Text(TEXTS[1], pair=TEXTS[2])], unit="token", layers=-1)
    assert relative_error(found.layer(6), expected) <= 1e-5


def test_there_is_no_dropout(minilm: Extractor, emb: Embeddings, minilm_oracle: Oracle) -> None:
    assert not minilm_oracle.model.training  # what every number here is compared with
    again = minilm.extract(TEXTS)
    for layer in emb.layers:
        assert np.array_equal(again.layer(layer), emb.layer(layer))
        assert type(emb.layer(layer)) is np.ndarray  # nothing that could keep a graph alive


def test_a_word_is_all_its_pieces_unless_its_first_is_asked_for(
    minilm: Extractor, minilm_oracle: Oracle, states: list[list[Float32]]
) -> None:
    pieces = minilm_oracle.tokenizer.convert_ids_to_tokens(minilm_oracle.ids(TEXTS[2]))
    start = pieces.index("ant")
    end = next(t for t in range(start + 1, len(pieces)) if not pieces[t].startswith("##"))
    assert end - start == 5
    words, first = (minilm.extract([TEXTS[2]], unit="word", pool=pool) for pool in ("mean", "first"))  # type: ignore[arg-type]
    row = words.units["surface"].to_pylist().index("antediluvian")
    assert words.units["n_tokens"][row].as_py() == 5
    for layer in words.layers:
        assert relative_error(words.layer(layer)[row], states[2][layer][start:end].mean(axis=0)) <= 1e-5
        assert relative_error(first.layer(layer)[row], states[2][layer][start]) <= 1e-5


def test_nothing_is_truncated_silently(minilm: Extractor, minilm_oracle: Oracle) -> None:
    long = prose(120)
    n_tokens = len(minilm_oracle.ids(long)) - 2
    assert n_tokens > 700
    whole, other_end = minilm.extract([long, f"{long} Nobody."], layers=-1), minilm.extract([long], layers=-1)
    assert whole.units["n_tokens"].to_pylist()[0] == n_tokens
    assert whole.units["status"].to_pylist() == ["ok", "ok"]
    assert np.array_equal(whole.layer(6)[0], other_end.layer(6)[0])
    assert not np.array_equal(whole.layer(6)[0], whole.layer(6)[1])  # the end counts
    cut = minilm.extract([long, "short"], long="truncate", layers=-1)
    assert cut.units["status"].to_pylist() == ["cut", "ok"]
    assert cut.units["n_tokens"].to_pylist()[0] == 510
    expected = minilm_oracle.states(minilm_oracle.ids(long, max_tokens=512))[6].mean(axis=0)
    assert relative_error(cut.layer(6)[0], expected) <= 1e-5
    with pytest.raises(TextError, match=rf"text 1 has {n_tokens + 2:,} tokens, more than 512; long='window' reads it"):
        minilm.extract(["short", long], long="error")
    with pytest.raises(SpecError, match="this model takes 3 to 512 tokens"):
        minilm.extract([long], max_tokens=1000)


def test_what_all_texts_share_can_be_taken_away(minilm: Extractor) -> None:
    texts = [prose(1, start=i) for i in range(30)]
    raw = minilm.extract(texts, layers=5, pool="cls").layer(5)
    assert cosines(raw).min() > 0.98  # "all texts are alike"
    assert cosines(raw - raw.mean(axis=0)).min() < 0


def cosines(rows: np.ndarray) -> np.ndarray:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((rows @ rows.T)[~np.eye(len(rows), dtype=bool)])


def test_the_pool_is_said_and_recorded(
    minilm: Extractor, dataset: lamina.Dataset, emb: Embeddings, states: list[list[Float32]]
) -> None:
    assert dataset.spec.pool == "cls"
    assert lamina.open(dataset.folder).spec == dataset.spec
    for i, of_layers in enumerate(states):
        assert relative_error(dataset.layer(6)[i], of_layers[6][0]) <= 1e-5
        assert relative_error(dataset.layer(6)[i], emb.layer(6)[i]) > 0.1  # the same width, another vector
    with pytest.raises(SpecError, match="pool must be one of mean, max"):
        minilm.extract(TEXTS, pool="pooler")  # type: ignore[arg-type]


def test_the_checkpoints_own_pooling_is_taken_where_asked(minilm: Extractor, states: list[list[Float32]]) -> None:
    found = minilm.extract(TEXTS, pool="model")
    assert found.layers == (6,)
    for row, of_layers in zip(found.layer(6), states, strict=True):  # its modules.json: mean, then unit length
        mean = of_layers[6].mean(axis=0)
        assert relative_error(row, mean / np.linalg.norm(mean)) <= 1e-5
    with pytest.raises(SpecError, match="the last layer only"):
        minilm.extract(TEXTS, pool="model", layers=3)


def test_a_vectors_length_is_the_layers_own_unless_normalize_is_said(
    minilm: Extractor, emb: Embeddings, states: list[list[Float32]], tmp_path: Path
) -> None:
    unit = minilm.extract(TEXTS, normalize=True)
    for i, of_layers in enumerate(states):
        mean = of_layers[6].mean(axis=0)
        assert np.linalg.norm(emb.layer(6)[i]) == pytest.approx(np.linalg.norm(mean), rel=1e-5)
        assert relative_error(unit.layer(6)[i], mean / np.linalg.norm(mean)) <= 1e-5
    assert np.linalg.norm(emb.layer(6), axis=1).min() > 2
    lamina.extract(TEXTS, tmp_path / "d", model=minilm, normalize=True)
    assert "normalize=yes" in lamina.open(tmp_path / "d").manifest.spec


def test_minus_one_is_the_models_output(minilm: Extractor, minilm_oracle: Oracle) -> None:
    import torch

    with torch.inference_mode():
        output = minilm_oracle.model(torch.tensor([minilm_oracle.ids(TEXTS[2])])).last_hidden_state[0].numpy()
    found = minilm.extract([TEXTS[2]], layers=-1, unit="token")
    assert found.layers == (6,)
    assert relative_error(found.layer(-1), output) <= 1e-5


def test_a_family_that_is_not_known_is_refused_not_guessed(tiny_bert: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_bert / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt2", "architectures": ["GPT2Model"]}))
    with pytest.raises(CheckpointError, match="gpt2"):
        lamina.load(tmp_path)


def test_attention_weights_are_computed_where_asked(minilm: Extractor, minilm_oracle: Oracle, emb: Embeddings) -> None:
    with pytest.raises(AttributeError, match=r"model\.attention\(texts, layers=\.\.\.\)"):
        _ = emb.attentions  # type: ignore[attr-defined]
    import torch

    (found,) = minilm.attention([TEXTS[1]], layers=6)
    ids = torch.tensor([minilm_oracle.ids(TEXTS[1])])
    with torch.inference_mode():
        expected = minilm_oracle.model(ids, output_attentions=True).attentions[-1][0].numpy()  # loaded as eager
    assert np.abs(found.layer(6) - expected).max() <= 1e-5


def test_no_token_attends_to_padding(minilm: Extractor, minilm_oracle: Oracle, states: list[list[Float32]]) -> None:
    import torch

    found = minilm.extract(TEXTS, pool="cls")
    for i, of_layers in enumerate(states):
        for layer in found.layers:
            assert relative_error(found.layer(layer)[i], of_layers[layer][0]) <= 1e-5
    padded = minilm_oracle.tokenizer(TEXTS, padding=True, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        unmasked = minilm_oracle.model(padded).last_hidden_state[0, 0].numpy()
    assert relative_error(unmasked, states[0][6][0]) > 0.1  # what it would be
