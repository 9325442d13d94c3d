"""Proves that texts are learnt to be classified, that classes weigh what they are said to, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import SourceError, SpecError, TextError, TrainedError
from lamina.text.source import Source
from lamina.text.text import Text
from lamina.text.tokenizer import load_tokenizer
from lamina.train.classify import Classification, _encoded, macro_f1, train_classifier, weights_of
from lamina.train.distil import distil
from lamina.train.examples import Examples, class_label, read_examples, split
from lamina.train.material import Reading
from lamina.train.model import with_head
from lamina.train.start import begin
from lamina.train.tag import train_tagger
from tests.checkpoints import VOCABULARY, save_vocabulary
from tests.train.small import Noting, learning, sentences, settings, small_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bert(tmp_path_factory.mktemp("small"))


def test_classes_are_learnt_and_read_back(model: Path, tmp_path: Path) -> None:
    test = sentences(60, seed=9, lowest=4)
    done = train_classifier(model, sentences(200, lowest=4), out=tmp_path / "out", test=test, settings=learning())
    assert done.is_finished
    assert done.record["test_figures"]["accuracy"] >= 0.95
    head = lamina.load(tmp_path / "out", engine="reference").head()
    assert head.labels == ("bright", "dull")
    said = np.array(head.labels)[head.logits(test.texts).values.argmax(1)]
    assert (said == np.array(test.labels)).mean() == done.record["test_figures"]["accuracy"]
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["n"] + record["n_held_out"] == 200
    assert not (tmp_path / "out" / "training.state").exists()


def test_figures_are_those_of_scikit_learn(model: Path) -> None:
    from sklearn.metrics import f1_score, log_loss

    start, labels = begin(model), ("bright", "dull")
    held = _encoded(sentences(50), labels, start, 32)
    module = with_head(start, "sequence_classification", labels, settings()).eval()
    objective = Classification(module, held, held, weights_of(None, sentences(50).labels, labels))
    with torch.inference_mode():
        found, logits = objective.figures(held), objective.logits(held.sequences)
        one_by_one = [module(held.sequences.batch([row])).numpy()[0] for row in range(50)]
    assert np.allclose(logits, one_by_one, atol=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found["loss"] == pytest.approx(log_loss(held.classes, probabilities), rel=1e-5)
    assert found["macro_f1"] == pytest.approx(f1_score(held.classes, logits.argmax(1), average="macro"))
    assert macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_an_example_weighs_what_its_class_does() -> None:
    found = weights_of("balanced", ["a", "a", "a", "b"], ("a", "b"))
    assert found == pytest.approx([4 / 6, 4 / 2])
    assert weights_of({"b": 4}, ["a", "b"], ("a", "b")).tolist() == [1, 4]
    with pytest.raises(SpecError, match="class_weights names 'c'; the classes are a, b"):
        weights_of({"c": 1.0}, ["a", "b"], ("a", "b"))
    with pytest.raises(SpecError, match="numbers above 0"):
        weights_of({"a": 0.0}, ["a", "b"], ("a", "b"))


def test_the_loss_is_the_weighted_mean(model: Path) -> None:
    start, labels = begin(model), ("bright", "dull")
    held = _encoded(sentences(10), labels, start, 32)
    module = with_head(start, "sequence_classification", labels, settings()).eval()
    objective = Classification(module, held, None, np.array([3.0, 0.5], np.float32))
    loss = objective.loss(objective.batch(range(10), np.random.default_rng(0)))
    logits = module(held.sequences.batch(range(10)))
    weights = torch.tensor([3.0, 0.5])
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(held.classes), weight=weights)
    assert loss.total.item() / loss.weight == pytest.approx(expected.item(), rel=1e-6)


def test_the_same_text_never_stands_on_both_sides() -> None:
    texts = tuple(Text(str(number % 30)) for number in range(100))
    learnt, held = split(Examples(texts, tuple(map(str, range(100)))), 0.2, seed=0)
    assert held is not None
    assert len(learnt) + len(held) == 100
    assert not {text.text for text in learnt.texts} & {text.text for text in held.texts}
    assert split(Examples(texts, texts), 0.2, seed=0)[0] == split(Examples(texts, texts), 0.2, seed=0)[0]
    assert split(Examples(texts, texts), 0.2, seed=0)[0] != split(Examples(texts, texts), 0.2, seed=1)[0]
    with pytest.raises(SpecError, match="too few to hold any out"):
        split(Examples((Text("a"),), ("x",)), 0.5, seed=0)


def test_the_same_call_again_says_what_was_found_and_another_is_refused(model: Path, tmp_path: Path) -> None:
    how, out = settings(epochs=1), tmp_path / "out"
    done = train_classifier(model, sentences(20), out=out, settings=how)
    noting = Noting()
    again = train_classifier(model, sentences(20), out=out, settings=how, watcher=noting)
    assert (noting.steps, again.is_finished, again.record["figures"]) == ([], True, done.record["figures"])
    with pytest.raises(TrainedError, match="seed was 0, is 1"):
        train_classifier(model, sentences(20), out=out, settings=replace(how, seed=1))
    train_classifier(model, sentences(20), out=out, settings=replace(how, seed=1), overwrite=True)


def test_overwriting_leaves_nothing_of_the_model_before(model: Path, tmp_path: Path) -> None:
    """Its tokenizer.json would be read instead of the new one's vocab.txt."""
    other, how = small_bert(tmp_path / "other"), settings(epochs=1)
    save_vocabulary(other, [*VOCABULARY[:5], *VOCABULARY[:4:-1]])
    (other / "tokenizer.json").write_text(load_tokenizer(other).backend.to_str())
    (other / "vocab.txt").unlink()
    train_classifier(other, sentences(20), out=tmp_path / "out", settings=how)
    train_classifier(model, sentences(20), out=tmp_path / "out", settings=how, overwrite=True)
    train_classifier(model, sentences(20), out=tmp_path / "new", settings=how)
    found, expected = ({path.name for path in (tmp_path / name).iterdir()} for name in ("out", "new"))
    assert found == expected
    assert load_tokenizer(tmp_path / "out").sha256 == load_tokenizer(model).sha256


def test_a_model_is_not_trained_into_its_own_folder(model: Path, tmp_path: Path) -> None:
    """--overwrite would remove it before it has been read."""
    out = tmp_path / "out"
    train_classifier(model, sentences(20), out=out, settings=settings(epochs=1))
    weights = (out / "model.safetensors").read_bytes()
    for overwrite in (False, True):
        with pytest.raises(TrainedError, match="holds the model that training begins with"):
            train_classifier(out, sentences(20), out=out, settings=settings(seed=1), overwrite=overwrite)
        with pytest.raises(TrainedError, match="holds the model that training begins with"):
            distil(out, ["a b c"] * 9, out=out, layers=1, reading=Reading(max_tokens=9), overwrite=overwrite)
    assert (out / "model.safetensors").read_bytes() == weights


def test_a_folder_of_somebody_elses_is_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(TrainedError, match="lamina train has not made it"):
            train_classifier(model, sentences(20), out=tmp_path, settings=settings(), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(TrainedError, match="is a file"):
        train_classifier(model, sentences(20), out=tmp_path / "mine.txt", settings=settings())


def test_one_class_and_a_length_that_cannot_be_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is one class, 'x'"):
        train_classifier(model, Examples((Text("a"), Text("b")), ("x", "x")), out=tmp_path / "o", held_out=0)
    with pytest.raises(SpecError, match="each of 3 texts has a class of its own"):
        train_classifier(model, Examples((Text("a"),) * 3, ("x", "y", "z")), out=tmp_path / "o", held_out=0)
    with pytest.raises(TextError, match="this model takes 3 to 64"):
        train_classifier(model, sentences(20), out=tmp_path / "o", max_tokens=65)
    with pytest.raises(SpecError, match="2 texts and 1 labels"):
        Examples((Text("a"), Text("b")), ("x",))


@pytest.mark.parametrize("empty", ["validate", "test"])
def test_nothing_to_be_scored_on_is_refused(model: Path, tmp_path: Path, empty: str) -> None:
    nothing = {empty: Examples((), ())}
    with pytest.raises(SpecError, match=f"{empty} holds no example"):
        train_classifier(model, sentences(20), out=tmp_path / "o", **nothing)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=f"{empty} holds no example"):
        train_tagger(model, Examples((Text("a b"),), (("O", "B"),)), out=tmp_path / "o", held_out=0, **nothing)  # type: ignore[arg-type]


def test_a_class_that_was_never_learnt_counts_as_wrong(model: Path, tmp_path: Path) -> None:
    test = Examples((Text("a b"), Text("c")), ("unheard", "unheard"))
    done = train_classifier(model, sentences(20), out=tmp_path / "o", test=test, settings=settings(epochs=1))
    assert done.record["test_figures"]["accuracy"] == 0


def test_rows_without_a_label_are_left_out_and_lists_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": ""}\n{"text": "c", "label": "y"}\n')
    examples, n_left_out = read_examples(Source(str(path)), "label", class_label)
    assert ([text.text for text in examples.texts], examples.labels, n_left_out) == (["a", "c"], ("x", "y"), 1)
    with pytest.raises(SourceError, match="no column 'stars'; beside the text it has label"):
        read_examples(Source(str(path)), "stars", class_label)


def test_bfloat16_learns_too_and_its_weights_stay_float32(model: Path, tmp_path: Path) -> None:
    how = learning(precision="bfloat16")
    done = train_classifier(model, sentences(200, lowest=4), out=tmp_path / "out", settings=how)
    assert done.record["figures"]["accuracy"] >= 0.9
    weights = begin(tmp_path / "out").weights
    assert {stored.dtype for stored in weights.tensors.values()} == {"F32"}
