"""Proves that pretraining learns, that its loss is transformers', and that what comes out is an ordinary checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import CheckpointError, SourceError, SpecError, TrainedError
from lamina.model.heads import HEADS
from lamina.text.source import Source
from lamina.train.guessing import Guesses, Guessing, Masks, new_guesser
from lamina.train.masking import Masking
from lamina.train.material import Reading, make_material
from lamina.train.pretrain import pretrain
from lamina.train.run import Trained
from lamina.train.scratch import Scratch
from lamina.train.settings import Settings
from lamina.train.start import Start, begin
from tests.checkpoints import save_vocabulary
from tests.oracle import load_oracle, relative_error
from tests.parity.test_heads import answers, oracle, saved
from tests.samples import prose
from tests.train.small import Noting

DOCUMENTS = [prose(12, start=5 * i) for i in range(60)]
SMALL = Scratch(layers=2, width=32, heads=2, max_positions=48, vocabulary_size=120)
SHORT = Reading(max_tokens=40, held_out=0.1)
QUICK = Settings(steps=12, batch_size=16, learning_rate=5e-3, precision="float32", device="cpu")
SENTENCES = Reading(max_tokens=48, held_out=0.1, next_sentences=True)


def run(out: Path, **options: Any) -> Trained:
    return pretrain(DOCUMENTS, out=out, **{"scratch": SMALL, "reading": SHORT, "settings": QUICK} | options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "model"
    run(out)
    return out


def test_a_new_bert_is_one_that_transformers_reads(tmp_path: Path) -> None:
    SMALL.write(tmp_path, DOCUMENTS, seed=3)
    model, theirs = lamina.load(tmp_path, engine="reference"), load_oracle(tmp_path)
    text = "The river bank carries its own name."
    found = model.extract([text], unit="token")
    for k, state in enumerate(theirs.states(theirs.ids(text))):
        assert relative_error(found.layer(k), state) < 1e-5
    values = {name: tensor.detach().numpy() for name, tensor in theirs.model.named_parameters()}
    words = values["embeddings.word_embeddings.weight"]
    assert abs(words.std() - 0.02) < 0.001
    assert not np.array_equal(words[:48], values["embeddings.position_embeddings.weight"])
    vectors = {name: value for name, value in values.items() if value.ndim == 1 and "pooler" not in name}
    assert all((value == float("LayerNorm.weight" in name)).all() for name, value in vectors.items())


def test_a_new_bert_follows_from_its_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        (tmp_path / name).mkdir()
        SMALL.write(tmp_path / name, DOCUMENTS, seed=seed)
    one, again, other = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "again", "other"))
    assert one == again != other


def test_a_config_says_the_shape_instead(tmp_path: Path) -> None:
    config = {
        "model_type": "bert", "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 40, "max_position_embeddings": 30, "hidden_act": "relu", "vocab_size": 9,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    scratch = Scratch(config=tmp_path / "config.json", vocabulary_size=150)
    (tmp_path / "new").mkdir()
    scratch.write(tmp_path / "new", DOCUMENTS, seed=0)
    arch = begin(tmp_path / "new").architecture
    assert (arch.n_layers, arch.width, arch.activation, arch.n_positions) == (3, 24, "relu", 30)
    assert 20 < arch.vocab_size <= 150


def test_it_learns_and_its_figures_fit_one_another(tmp_path: Path) -> None:
    seen = Noting()
    found = run(
        tmp_path / "m", watcher=seen, scratch=replace(SMALL, vocabulary_size=400),
        settings=Settings(steps=60, batch_size=16, learning_rate=1e-2, precision="float32", device="cpu"),
    )  # fmt: skip
    n = begin(tmp_path / "m").architecture.vocab_size
    assert seen.losses[0] == pytest.approx(log(n), rel=0.05)  # knows nothing: every token alike
    figures = found.record["figures"]
    assert figures["loss"] < 0.65 * log(n)
    assert figures["perplexity"] == pytest.approx(exp(figures["loss"]))
    assert figures["accuracy"] > 0.15
    assert found.record["unknown_share"] < 0.05
    assert found.record["model_name"] == "a new bert"


def test_two_runs_are_equal_to_the_bit(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "again")
    run(tmp_path / "other", settings=replace(QUICK, seed=1))
    one, again, another = (
        (folder / "model.safetensors").read_bytes() for folder in (finished, tmp_path / "again", tmp_path / "other")
    )
    assert one == again != another


def test_a_run_that_was_ended_goes_on_to_the_same_bits(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    first, rest = Noting(stop_after=5), Noting()
    assert not run(out, watcher=first).is_finished
    assert not (out / "model.safetensors").exists()
    assert run(out, watcher=rest).is_finished
    assert (len(first.losses), len(rest.losses)) == (5, 7)
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert run(out, watcher=Noting()).is_finished  # a third time: nothing is left to do
    with pytest.raises(TrainedError, match="another kind"):
        run(out, reading=Reading(max_tokens=32, held_out=0.1))


@pytest.mark.parametrize("class_name", ["AutoModelForMaskedLM", "BertForMaskedLM"])
def test_transformers_gives_the_same_logits(finished: Path, class_name: str) -> None:
    import transformers

    theirs = getattr(transformers, class_name).from_pretrained(finished).eval()
    model = lamina.load(finished)
    for text in ("The [MASK] bank mends its own name.", DOCUMENTS[0][:60]):
        tokens = model.tokenizer.encode([text])
        with torch.inference_mode():
            expected = theirs(torch.tensor(tokens.ids[None]).long()).logits[0].numpy()
        found = model.head("masked_lm").logits([text]).values
        assert np.abs(found - expected).max() <= 1e-4
    assert model.head().top(["The [MASK] bank."], layer=1, k=2).num_rows == 2  # what `lamina lens` asks


def material_of(start: Start, reading: Reading, folder: Path) -> Guessing:
    material = make_material(DOCUMENTS, None, start, reading, folder, seed=0)
    guesser = new_guesser(start, QUICK, next_sentences=reading.next_sentences).eval()
    return Guessing(guesser, Masks.of(start.tokenizer, reading.masking), material.learnt, material.held_out, 0)


def padded_labels(batch: Guesses) -> dict[str, torch.Tensor]:
    """The slow twin's batch: padded, -100 where nothing is guessed."""
    ids, lengths = batch.batch.ids, batch.batch.lengths
    mask = np.arange(ids.shape[1]) < lengths[:, None]
    labels = np.full(ids.shape, -100)
    flat = np.full(int(lengths.sum()), -100)
    flat[batch.places] = batch.targets
    labels[mask] = flat
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": batch.batch.types, "labels": labels}
    return {name: torch.from_numpy(np.asarray(value, np.int64)) for name, value in values.items()}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "model"
    run(out, reading=SENTENCES)
    return out


@pytest.mark.parametrize("next_sentences", [False, True])
def test_loss_and_gradients_are_those_of_transformers(
    finished: Path, pairs: Path, tmp_path: Path, next_sentences: bool
) -> None:
    import transformers

    folder, reading = (pairs, SENTENCES) if next_sentences else (finished, SHORT)
    objective = material_of(begin(folder), reading, tmp_path)
    batch = objective.batch(list(range(12)), np.random.default_rng(5))
    loss = objective.loss(batch)
    (loss.total / loss.weight).backward()
    values = padded_labels(batch)
    name = "BertForPreTraining" if next_sentences else "BertForMaskedLM"
    theirs = getattr(transformers, name).from_pretrained(folder).eval()
    if next_sentences:
        values["next_sentence_label"] = torch.from_numpy(batch.follows)
    expected = theirs(**values).loss
    expected.backward()
    assert float(loss.total.detach()) / loss.weight == pytest.approx(float(expected.detach()), rel=1e-5)
    own = objective.module
    pairs_of = {
        "bert.embeddings.word_embeddings.weight": own.encoder.weight("embeddings.word.weight"),
        "bert.encoder.layer.0.attention.self.query.weight": own.encoder.weight("layers.0.attention.query.weight"),
        "cls.predictions.bias": own.head.weights["cls/predictions/bias"],
        "cls.predictions.transform.dense.weight": own.head.weights["cls/predictions/transform/dense/weight"],
    }
    if own.following is not None:
        pairs_of["bert.pooler.dense.weight"] = own.following.weights["pooler/dense/weight"]
        pairs_of["cls.seq_relationship.bias"] = own.following.weights["cls/seq_relationship/bias"]
    gradients = dict(theirs.named_parameters())
    for stored, parameter in pairs_of.items():
        assert parameter.grad is not None
        assert relative_error(parameter.grad.numpy(), gradients[stored].grad.numpy()) < 1e-4, stored


def test_pairs_are_learnt_and_read_as_bert_for_pretraining(pairs: Path) -> None:
    from transformers import BertForPreTraining

    config = json.loads((pairs / "config.json").read_text())
    assert config["architectures"] == ["BertForPreTraining"]
    theirs, info = BertForPreTraining.from_pretrained(pairs, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    record = json.loads((pairs / "training.json").read_text())
    assert 0 <= record["figures"]["next_accuracy"] <= 1
    assert record["losses"][0][1] == pytest.approx(log(theirs.config.vocab_size) + log(2), rel=0.06)
    assert record["figures"]["loss"] > log(record["figures"]["perplexity"])  # the pairs' share on top


def test_an_evaluation_is_a_mean_over_the_masked_tokens_and_always_the_same(finished: Path, tmp_path: Path) -> None:
    objective = material_of(begin(finished), SHORT, tmp_path)
    with torch.inference_mode():
        once, again = objective.evaluate(), objective.evaluate()
        losses = [
            (float(loss.total), loss.weight) for loss in (objective.loss(batch) for batch in objective._held_out())
        ]
    assert once == again
    assert once["loss"] == pytest.approx(sum(t for t, _ in losses) / sum(w for _, w in losses))
    assert list(once) == ["loss", "accuracy", "perplexity"]


def test_masks_never_hide_special_tokens(finished: Path, tmp_path: Path) -> None:
    start = begin(finished)
    reading = Reading(max_tokens=40, held_out=0.1, masking=Masking(share=1.0, mask=1.0, random=0.0))
    objective = material_of(start, reading, tmp_path)
    batch = objective.batch([0, 1, 2], np.random.default_rng(0))
    assert not np.isin(batch.targets, [0, 1, 2, 3, 4]).any()
    assert set(np.unique(batch.batch.ids[batch.batch.ids > 0])) <= {1, 2, 3, 4}


@pytest.mark.parametrize("family", sorted(HEADS))
def test_every_family_is_trained_further_and_read_again(tmp_path: Path, family: str) -> None:
    folder = saved(tmp_path / "before", family, "masked_lm")
    settings = Settings(steps=2, batch_size=4, learning_rate=1e-3, precision="float32", device="cpu")
    reading = Reading(max_tokens=24, held_out=0.2)
    found = pretrain(DOCUMENTS[:6], out=tmp_path / "m", model=folder, reading=reading, settings=settings)
    assert found.is_finished
    before, after = ((f / "model.safetensors").read_bytes() for f in (folder, tmp_path / "m"))
    assert before != after
    model = lamina.load(tmp_path / "m", engine="reference")
    head = model.head()
    theirs, inputs = oracle(tmp_path / "m", model, "masked_lm", family)
    text = "a [MASK] 河"
    with torch.inference_mode():
        expected = answers(theirs(**inputs[2]), "masked_lm")
    assert np.abs(head.logits([text]).values - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


def test_a_model_without_a_head_gets_one(deep_bert: Path, tmp_path: Path) -> None:
    settings = Settings(steps=1, batch_size=4, precision="float32", device="cpu")
    pretrain(DOCUMENTS[:6], out=tmp_path / "m", model=deep_bert, reading=Reading(max_tokens=64), settings=settings)
    assert lamina.load(tmp_path / "m").head().task == "masked_lm"


def test_texts_to_validate_on_are_given(tmp_path: Path) -> None:
    (tmp_path / "held.txt").write_text("\n".join(DOCUMENTS[:3]))
    found = run(tmp_path / "m", validate=Source(str(tmp_path / "held.txt")))
    assert found.record["documents"] == len(DOCUMENTS)
    assert found.record["n_held_out"] >= 3
    assert found.record["held_out"] is not None


def test_nothing_held_out_means_no_figures(tmp_path: Path) -> None:
    found = run(tmp_path / "m", reading=Reading(max_tokens=40, held_out=0))
    assert found.record["figures"] is None
    assert found.record["n_held_out"] == 0


def test_the_corpus_is_gone_afterwards(tmp_path: Path) -> None:
    run(tmp_path / "m", work=tmp_path / "work")
    assert not list((tmp_path / "work").iterdir())
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "training.json",
    }  # fmt: skip


def once() -> Iterator[str]:
    yield "a text"


@pytest.mark.parametrize(
    ("texts", "options", "error", "said"),
    [
        (once(), {}, SpecError, "begins anew"),
        ("a text", {}, SpecError, "begins anew"),
        (Source("-"), {}, SourceError, "only once"),
        ([], {}, SourceError, "no text"),
        (DOCUMENTS, {"model": "minilm"}, SpecError, "not both"),
        (DOCUMENTS, {"reading": Reading(max_tokens=49)}, SpecError, "this model takes 48 at most"),
        (DOCUMENTS[:1], {}, SpecError, "too few to hold"),
        (DOCUMENTS, {"scratch": Scratch(layers=2, width=33, heads=2)}, SpecError, "multiple of the number of heads"),
        (DOCUMENTS, {"scratch": Scratch(layers=0, width=32)}, CheckpointError, "num_hidden_layers"),
        (DOCUMENTS, {"scratch": Scratch(config="nowhere.json")}, CheckpointError, "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, texts: Any, options: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        pretrain(texts, out=tmp_path / "m", **{"scratch": SMALL, "reading": SHORT, "settings": QUICK} | options)


def test_a_tokenizer_without_a_mask_is_refused(tmp_path: Path, deep_bert: Path) -> None:
    import shutil

    shutil.copytree(deep_bert, tmp_path / "m")
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / "m" / name).unlink(missing_ok=True)
    save_vocabulary(tmp_path / "m", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"])
    with pytest.raises(CheckpointError, match="nothing can be masked"):
        pretrain(["a ab", "ab a"], out=tmp_path / "o", model=tmp_path / "m", reading=Reading(max_tokens=16))


def test_families_without_segments_learn_no_next_sentences(tmp_path: Path) -> None:
    folder = saved(tmp_path / "before", "distilbert", "masked_lm")
    with pytest.raises(SpecError, match="next sentences are learnt by models of family bert"):
        pretrain(DOCUMENTS[:6], out=tmp_path / "m", model=folder, reading=Reading(max_tokens=24, next_sentences=True))
