"""Every task head of the table against transformers: seeded random checkpoints, all texts in one call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.errors import CheckpointError, SpecError, TextError, WeightsError
from lamina.extraction.extractor import Extractor
from lamina.model.heads import HEADS
from lamina.text.text import Text
from tests.checkpoints import VOCABULARY, save_vocabulary
from tests.oracle import Float32, relative_error
from tests.parity.test_families import CONFIGS, made

BOUND = 1e-4

PREFIXES = {
    "albert": "Albert", "bert": "Bert", "camembert": "Camembert", "deberta": "Deberta", "deberta-v2": "DebertaV2",
    "distilbert": "DistilBert", "electra": "Electra", "modernbert": "ModernBert", "mpnet": "MPNet",
    "nomic_bert": "NomicBert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta",
}  # fmt: skip
CLASSES = {
    "sequence_classification": "ForSequenceClassification", "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering", "masked_lm": "ForMaskedLM",
}  # fmt: skip
TEXTS: list[Any] = ["The river bank.", ("where is 7", "the bank, by the river"), "a [MASK] 河", "x"]
LABELS = {0: "O", 1: "Ort", 2: "日"}


def saved(folder: Path, family: str, task: str, **changes: Any) -> Path:
    variant = {"deberta-v2": "separate"}.get(family)
    config = next(config for (of, name), config in CONFIGS.items() if of == family and variant in (None, name))
    config = config | {"vocab_size": len(VOCABULARY)}
    if family not in ("distilbert", "mpnet", "deberta", "deberta-v2", "modernbert"):
        config |= {"type_vocab_size": 2}
    if task in ("sequence_classification", "token_classification"):
        config |= {"id2label": LABELS, "label2id": {label: i for i, label in LABELS.items()}}
    made(folder, family, head=PREFIXES[family] + CLASSES[task], **config | changes)
    return save_vocabulary(folder)


def oracle(folder: Path, model: Extractor, task: str, family: str) -> tuple[Any, list[dict[str, Any]]]:
    """The class of transformers, and what it is to read: the same token ids and segments, text by text."""
    import torch
    import transformers

    torch.set_num_threads(1)
    found = getattr(transformers, PREFIXES[family] + CLASSES[task]).from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    inputs = []
    for text in as_texts(TEXTS):
        tokens = model.tokenizer.encode([text])
        one = {"input_ids": torch.tensor(tokens.ids[None]).long()}
        one["attention_mask"] = torch.ones_like(one["input_ids"])
        if model.architecture.n_types > 1:
            one["token_type_ids"] = torch.tensor(tokens.types[None]).long()
        inputs.append(one)
    return found.eval(), inputs


def as_texts(texts: list[Any]) -> list[Text]:
    return [Text(*text) if isinstance(text, tuple) else Text(text) for text in texts]


def answers(output: Any, task: str) -> Float32:
    if task == "question_answering":
        return np.stack([output.start_logits[0].numpy(), output.end_logits[0].numpy()], axis=1)
    return np.asarray(output.logits[0].numpy()) if task != "sequence_classification" else output.logits.numpy()


def test_every_family_has_its_heads() -> None:
    assert set(HEADS) == set(PREFIXES)
    assert {family: set(CLASSES) - set(rows) for family, rows in HEADS.items() if set(CLASSES) - set(rows)} == {
        "nomic_bert": {"question_answering"}  # transformers has none
    }


CASES = [(family, task) for family, rows in HEADS.items() for task in rows]
SAME_ROWS = ("camembert", "xlm-roberta")  # as RoBERTa: one task shows that the tensors are found


@pytest.mark.parametrize(
    ("family", "task"), [case for case in CASES if case[0] not in SAME_ROWS or case[1] == "sequence_classification"]
)
def test_logits_are_those_of_transformers(tmp_path: Path, family: str, task: str) -> None:
    import torch

    saved(tmp_path, family, task)
    model = lamina.load(tmp_path, engine="openvino" if family == "bert" else "reference")
    head = model.head()
    found = head.logits(as_texts(TEXTS))
    reader, inputs = oracle(tmp_path, model, task, family)
    assert head.task == task
    with torch.inference_mode():
        expected = [answers(reader(**one), task) for one in inputs]
    worst = max(relative_error(found.text(i), of_text) for i, of_text in enumerate(expected))
    assert worst <= BOUND, f"{worst:.1e}"
    assert sum(map(len, expected)) == len(found) == found.units.num_rows
    labels = {"masked_lm": (), "question_answering": ("start", "end")}.get(task, tuple(LABELS.values()))
    assert head.labels == found.labels == labels
    assert np.array_equal(model.head(task).logits(as_texts(TEXTS)).values, found.values)


VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("modernbert", "sequence_classification", {"classifier_pooling": "mean", "classifier_bias": True}),
    ("modernbert", "masked_lm", {"decoder_bias": False, "norm_bias": True, "classifier_activation": "relu"}),
    ("bert", "masked_lm", {"tie_word_embeddings": False, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
    ("electra", "masked_lm", {"tie_word_embeddings": False}),
    ("distilbert", "masked_lm", {"activation": "relu"}),
    ("deberta", "sequence_classification", {"pooler_hidden_act": "tanh"}),
    ("bert", "sequence_classification", {"id2label": {0: "score"}, "label2id": {"score": 0}}),
]


@pytest.mark.parametrize(("family", "task", "changes"), VARIANTS)
def test_what_a_config_changes_is_followed(tmp_path: Path, family: str, task: str, changes: dict[str, Any]) -> None:
    import torch

    saved(tmp_path, family, task, **changes)
    model = lamina.load(tmp_path, engine="reference")
    found = model.head().logits(as_texts(TEXTS))
    reader, inputs = oracle(tmp_path, model, task, family)
    for i, one in enumerate(inputs):
        with torch.inference_mode():
            assert relative_error(found.text(i), answers(reader(**one), task)) <= BOUND


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_head_stored_in_16_bits_is_read(tmp_path: Path, dtype: str) -> None:
    import torch

    config = CONFIGS["bert", "small"] | {"vocab_size": len(VOCABULARY)}
    made(tmp_path, "bert", head="BertForMaskedLM", save={"dtype": getattr(torch, dtype)}, **config)
    model = lamina.load(save_vocabulary(tmp_path), engine="reference")
    found = model.head().logits(as_texts(TEXTS))
    reader, inputs = oracle(tmp_path, model, "masked_lm", "bert")
    for i, one in enumerate(inputs):
        with torch.inference_mode():
            assert relative_error(found.text(i), answers(reader(**one), "masked_lm")) <= BOUND


@pytest.mark.parametrize("family", ["bert", "modernbert", "albert"])
def test_a_masked_head_reads_every_layer(tmp_path: Path, family: str) -> None:
    import torch

    saved(tmp_path, family, "masked_lm")
    model = lamina.load(tmp_path)
    head = model.head()
    reader, inputs = oracle(tmp_path, model, "masked_lm", family)
    parts = {
        "bert": lambda x: reader.cls(x),
        "albert": lambda x: reader.predictions(x),
        "modernbert": lambda x: reader.decoder(reader.head(x)),
    }[family]
    n_layers = model.architecture.n_layers
    for layer in range(n_layers + 1):
        found = head.logits(as_texts(TEXTS), layer=layer)
        for i, one in enumerate(inputs):
            with torch.inference_mode():
                state = reader(**one, output_hidden_states=True).hidden_states[layer]
                if family == "modernbert" and layer < n_layers:
                    state = reader.model.final_norm(state)
                assert relative_error(found.text(i), parts(state)[0].numpy()) <= BOUND


def test_the_likeliest_tokens_are_those_of_the_largest_logits(tmp_path: Path) -> None:
    model = lamina.load(saved(tmp_path, "bert", "masked_lm"))
    head = model.head()
    texts = ["the [MASK] bank", "river", "[MASK] [MASK]"]
    found = head.top(texts, k=3)
    logits = head.logits(texts)
    places = np.flatnonzero(logits.units["token"].to_numpy(zero_copy_only=False) == "[MASK]")
    assert places.size == 3
    assert found["text_id"].to_pylist() == [0] * 3 + [2] * 6
    assert found["rank"].to_pylist() == [1, 2, 3] * 3
    expected = np.argsort(-logits.values[places], axis=1, kind="stable")[:, :3]
    assert found["candidate_id"].to_pylist() == expected.ravel().tolist()
    assert found["candidate"].to_pylist() == [VOCABULARY[i] for i in expected.ravel()]
    assert np.array_equal(found["logit"].to_numpy(), np.take_along_axis(logits.values[places], expected, 1).ravel())
    softmax = np.exp(logits.values[places].astype(float))
    softmax /= softmax.sum(axis=1, keepdims=True)
    assert np.allclose(found["probability"].to_numpy(), np.take_along_axis(softmax, expected, 1).ravel(), atol=1e-6)
    everywhere = head.top(texts, k=1, at="all", layer=1)
    assert everywhere["candidate_id"].to_pylist() == head.logits(texts, layer=1).values.argmax(axis=1).tolist()
    assert head.top(["river"]).num_rows == 0
    whole = head.top(["a"], k=len(VOCABULARY), at="all")
    assert sum(whole["probability"].to_pylist()) == pytest.approx(3)  # one for each of its tokens


def test_bits_do_not_depend_on_the_other_texts(tmp_path: Path) -> None:
    model = lamina.load(saved(tmp_path, "bert", "masked_lm"))
    head = model.head()
    texts = [f"the {i} river {'bank ' * (i % 7)}" for i in range(40)]
    together = head.logits(texts)
    for i in (0, 1, 7, 20, 39):
        assert np.array_equal(head.logits([texts[i]]).values, together.text(i))
    backwards = head.logits(texts[::-1])
    assert all(np.array_equal(backwards.text(39 - i), together.text(i)) for i in range(40))


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """BERT with each head."""
    return {task: saved(tmp_path_factory.mktemp("head"), "bert", task) for task in CLASSES}


@pytest.fixture
def tokens_folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["token_classification"], tmp_path / "model"))


def test_a_head_that_is_not_there_is_refused(folders: dict[str, Path], tokens_folder: Path, deep: Extractor) -> None:
    with pytest.raises(CheckpointError, match="BertForTokenClassification, not of sequence_classification"):
        lamina.load(tokens_folder).head("sequence_classification")
    with pytest.raises(SpecError, match="sequence_classification, token_classification, question_answering"):
        lamina.load(tokens_folder).head("ner")
    with pytest.raises(CheckpointError, match="no head's tensors are there"):
        deep.head()
    with pytest.raises(WeightsError, match=r"cls.predictions.transform.dense.weight \[48, 48\] is missing"):
        deep.head("masked_lm")
    rewrite(tokens_folder, architectures=["BertForMultipleChoice"])
    with pytest.raises(CheckpointError, match="BertForMultipleChoice, which is not supported"):
        lamina.load(tokens_folder).head()


def test_without_architectures_the_tensors_say_which_head_it_is(folders: dict[str, Path], tokens_folder: Path) -> None:
    rewrite(tokens_folder, architectures=None)
    assert lamina.load(tokens_folder).head().task == "token_classification"
    sequence = Path(shutil.copytree(folders["sequence_classification"], tokens_folder.parent / "sequence"))
    rewrite(sequence, architectures=None)
    with pytest.raises(CheckpointError, match="fit sequence_classification and token_classification: name one"):
        lamina.load(sequence).head()


def test_labels_are_checked_when_a_head_is_asked_for_and_not_before(tokens_folder: Path) -> None:
    for wrong in ({"0": "a", "2": "b"}, ["a"], {"0": ["a"]}, {"0": "a" * 2000}, {}):
        rewrite(tokens_folder, id2label=wrong)
        with pytest.raises(CheckpointError, match="id2label must be"):
            lamina.load(tokens_folder).head()
    rewrite(tokens_folder, id2label={"0": "a", "1": "b"})
    with pytest.raises(WeightsError, match=r"classifier.weight has shape \[3, 24\], expected \[2, 24\]"):
        lamina.load(tokens_folder).head()
    rewrite(tokens_folder, id2label=None, num_labels=3)
    assert lamina.load(tokens_folder).head().labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_a_long_text_is_not_classified_by_its_beginning_unasked(folders: dict[str, Path]) -> None:
    long = "the river " * 40
    head = lamina.load(folders["sequence_classification"]).head()
    with pytest.raises(TextError, match="more than 40"):
        head.logits(["a", long])
    with pytest.raises(SpecError, match="one window"):
        head.logits([long], long="window")
    assert head.logits([long], long="truncate").units["status"].to_pylist() == ["cut"]
    tokens = lamina.load(folders["token_classification"]).head()
    assert tokens.logits([long], long="window").values.shape == (82, 3)
    assert np.isnan(tokens.logits([long], long="truncate").values).any(axis=1).sum() == 42


def test_what_a_head_cannot_do_is_said(folders: dict[str, Path]) -> None:
    head = lamina.load(folders["question_answering"]).head()
    assert head.logits([]).values.shape == (0, 2)
    for layer in ("all", [0, 1], True):
        with pytest.raises(SpecError, match="one number"):
            head.logits(["a"], layer=layer)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="layer 9 does not exist"):
        head.logits(["a"], layer=9)
    with pytest.raises(SpecError, match="only a masked_lm head"):
        head.top(["a"])
    with pytest.raises(SpecError, match="no row of text 5"):
        head.logits(["a"]).text(5)
    masked = lamina.load(folders["masked_lm"]).head()
    for k in (0, True, 1.0, 1000):
        with pytest.raises(SpecError, match="k must be"):
            masked.top(["a"], k=k)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="'mask' or 'all'"):
        masked.top(["a"], at="everywhere")  # type: ignore[arg-type]
