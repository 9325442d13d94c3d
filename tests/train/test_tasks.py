"""Proves that what is trained is an ordinary checkpoint: opened by transformers and by Lamina with equal logits, of
every family and task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import CheckpointError
from lamina.model.heads import HEADS
from lamina.train.classify import train_classifier
from lamina.train.folder import CLASSES, TASK_CLASSES, write_checkpoint
from lamina.train.model import with_head
from lamina.train.settings import Settings
from lamina.train.start import begin
from tests.oracle import relative_error
from tests.parity.test_heads import PREFIXES, TEXTS, answers, as_texts, oracle, saved
from tests.train.small import same_weights, sentences, settings

BOUND = 1e-4
LABELS = {
    "sequence_classification": ("no", "yes", "日"), "token_classification": ("O", "B-x"),
    "question_answering": ("start", "end"), "masked_lm": (),
}  # fmt: skip
# A checkpoint of another head, of the same one, and of none, in turn.
SOURCES = ("masked_lm", "token_classification", "sequence_classification")
CASES = [(family, task) for family, rows in HEADS.items() for task in rows]


def trained(folder: Path, out: Path, task: Any) -> None:
    """Give a checkpoint a head, move every weight of both, and write it."""
    start = begin(folder)
    module = with_head(start, task, LABELS[task], Settings())
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    out.mkdir()
    labels = LABELS[task] if task != "question_answering" else ()
    write_checkpoint(out, start, module.encoder.values(), module.head.values(), task=task, labels=labels)


@pytest.mark.parametrize(("family", "task"), CASES)
def test_a_trained_head_is_read_by_transformers_and_by_lamina(tmp_path: Path, family: str, task: str) -> None:
    source = SOURCES[CASES.index((family, task)) % len(SOURCES)]
    saved(tmp_path / "before", family, source)
    trained(tmp_path / "before", tmp_path / "after", task)
    model = lamina.load(tmp_path / "after", engine="reference")
    head = model.head()
    assert head.task == task
    found = head.logits(as_texts(TEXTS))
    reader, inputs = oracle(tmp_path / "after", model, task, family)
    with torch.inference_mode():
        expected = [answers(reader(**one), task) for one in inputs]
    assert max(relative_error(found.text(i), of_text) for i, of_text in enumerate(expected)) <= BOUND
    if task in ("sequence_classification", "token_classification"):
        assert head.labels == LABELS[task]
        assert list(reader.config.id2label.values()) == list(LABELS[task])


def test_every_family_and_task_has_its_class() -> None:
    assert {family: name for family, (name, _, _) in CLASSES.items()} == PREFIXES
    assert set(TASK_CLASSES) == {task for _, task in CASES}


def test_transformers_misses_nothing_and_finds_nothing_left_over(tmp_path: Path) -> None:
    """Where a name is wrong, transformers draws the tensor at random and goes on."""
    from transformers import AutoModelForSequenceClassification

    saved(tmp_path / "before", "bert", "masked_lm")
    trained(tmp_path / "before", tmp_path / "after", "sequence_classification")
    _, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / "after", output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_a_head_that_the_family_lacks_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "nomic_bert", "masked_lm")
    with pytest.raises(CheckpointError, match="no question_answering head is known of nomic_bert"):
        with_head(begin(tmp_path), "question_answering", ("start", "end"), Settings())


def test_training_on_keeps_the_same_labels_head_and_forgets_anothers(tmp_path: Path) -> None:
    saved(tmp_path / "before", "bert", "sequence_classification")
    start = begin(tmp_path / "before")
    own = start.weights.others["classifier.weight"].float32()
    same = with_head(start, "sequence_classification", ("O", "Ort", "日"), Settings())
    other = with_head(start, "sequence_classification", ("O", "日", "Ort"), Settings())
    assert np.array_equal(same.head.values()["classifier.weight"], own)
    assert not np.array_equal(other.head.values()["classifier.weight"], own)
    pooler = start.weights.others["pooler.dense.weight"].float32()
    assert np.array_equal(other.head.values()["pooler.dense.weight"], pooler)


def test_what_the_config_drops_is_dropped_and_can_be_overruled(tmp_path: Path) -> None:
    saved(tmp_path, "bert", "masked_lm", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    start = begin(tmp_path)
    rates = start.dropout(Settings())
    assert (rates.states, rates.attention) == (0.3, 0.2)
    rates = start.dropout(Settings(dropout=0.0, attention_dropout=0.5))
    assert (rates.states, rates.attention) == (0.0, 0.5)


@pytest.mark.parametrize("family", ["modernbert", "deberta", "mpnet"])
def test_families_with_windows_and_distances_are_trained(tmp_path: Path, family: str) -> None:
    """A few steps, with sequences of mixed lengths padded for attention: every number stays one."""
    saved(tmp_path / "before", family, "masked_lm")
    done = train_classifier(
        tmp_path / "before", sentences(24, most=12), out=tmp_path / "after", settings=settings(), max_tokens=20
    )
    losses = [loss for _, loss in done.record["losses"]]
    assert all(np.isfinite(losses))
    values = begin(tmp_path / "after").weights
    assert all(np.isfinite(values[name]).all() for name in values.tensors)
    again = train_classifier(
        tmp_path / "before", sentences(24, most=12), out=tmp_path / "twice", settings=settings(), max_tokens=20
    )
    assert again.record["losses"] == done.record["losses"]
    assert same_weights(tmp_path / "after", tmp_path / "twice")
