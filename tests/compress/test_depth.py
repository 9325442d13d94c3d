"""A model cut to its lower layers gives the states of before: in Lamina and in transformers, every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.compress.depth import cut
from lamina.compress.smaller import compress
from lamina.engine.reference import ReferenceEngine
from lamina.errors import SpecError
from lamina.model.architecture import FAMILIES
from lamina.model.weights import read_tensors
from tests.compress.conftest import SAMPLE, VARIANTS, Checkpoints, draft_of, written
from tests.oracle import relative_error
from tests.parity.test_families import assert_parity, case_of, read

HEADS = {
    "bert": "BertForTokenClassification", "roberta": "RobertaForMaskedLM", "albert": "AlbertForMaskedLM",
    "deberta-v2": "DebertaV2ForSequenceClassification", "modernbert": "ModernBertForMaskedLM",
    "distilbert": "DistilBertForMaskedLM", "electra": "ElectraForSequenceClassification",
}  # fmt: skip


def depth(family: str, variant: str) -> int:
    return 3 if (family, variant) == ("albert", "two groups") else 2


def test_every_family_is_cut() -> None:
    assert {family for family, _ in VARIANTS} == set(FAMILIES)


@pytest.mark.parametrize(("family", "variant"), VARIANTS)
def test_the_layers_left_are_those_of_before(
    checkpoint: Checkpoints, tmp_path: Path, family: str, variant: str
) -> None:
    folder, n = checkpoint(family, variant), depth(family, variant)
    made = written(cut(draft_of(folder), n), tmp_path / "cut")
    arch, weights = read(made)
    assert arch.n_layers == n < read(folder)[0].n_layers
    after = case_of(made)
    assert_parity(ReferenceEngine(arch, weights), arch, after)  # transformers and Lamina agree on what was written
    for of_text, before in zip(after.expected, case_of(folder).expected, strict=True):
        for k in range(n + 1 - arch.pre_norm):  # the last norm of a pre-norm encoder has moved
            assert relative_error(of_text[k], before[k]) <= 1e-6
    stored = {tensor.name for tensor in read_tensors(made / "model.safetensors")}
    assert stored < {tensor.name for tensor in read_tensors(folder / "model.safetensors")} or family == "albert"


def test_the_last_norm_comes_after_the_last_layer_left(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("modernbert")
    made = compress(folder, tmp_path / "cut", layers=2, sample=SAMPLE)
    assert min(made.cost.worst) >= 1 - 1e-6  # compared with the original's layer, after that norm
    assert any("last norm now comes after layer 2" in note for note in made.notes)
    before, after = (lamina.load(at).extract(SAMPLE, unit="token") for at in (folder, made.folder))
    assert relative_error(after.layer(1), before.layer(1)) <= 1e-6
    assert relative_error(after.layer(2), before.layer(2)) > 0.01
    norm = read(folder)[1]["norm.weight"]
    x = before.layer(2) - before.layer(2).mean(axis=1, keepdims=True)
    expected = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * norm
    assert relative_error(after.layer(2), expected) <= 1e-5


@pytest.mark.parametrize("family", HEADS)
def test_a_task_head_is_kept_and_reads_the_lower_layer(checkpoint: Checkpoints, tmp_path: Path, family: str) -> None:
    variant = {"deberta-v2": "separate", "electra": "projected", "albert": "one group"}.get(family, "small")
    folder = checkpoint(family, variant, HEADS[family])
    made = written(cut(draft_of(folder), 2), tmp_path / "cut")
    before, after = (lamina.load(at, engine="reference").head() for at in (folder, made))
    assert before.task == after.task
    found, expected = after.logits(SAMPLE).values, before.logits(SAMPLE, layer=2).values
    assert relative_error(found, expected) <= 1e-5


def test_what_is_around_the_weights_is_kept_and_nothing_else(sentence_bert: Path, tmp_path: Path) -> None:
    made = compress(sentence_bert, tmp_path / "cut", layers=1, sample=SAMPLE)
    files = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert files == {
        "config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "modules.json",
        "1_Pooling/config.json", "LICENSE", "lamina_compression.json",
    }  # fmt: skip
    before, after = lamina.load(sentence_bert), lamina.load(made.folder)
    assert after.tokenizer.sha256 == before.tokenizer.sha256
    expected = before.extract(SAMPLE, layers=1, pool="cls", normalize=True).layer(1)
    assert relative_error(after.extract(SAMPLE, pool="model").layer(-1), expected) <= 1e-6
    assert any("sentence-transformers" in note and "layer 1" in note for note in made.notes)


def test_what_is_read_out_of_the_config_is_all_that_changes(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("modernbert")
    made = compress(folder, tmp_path / "cut", layers=2, sample=SAMPLE)
    before, after = (json.loads((at / "config.json").read_text()) for at in (folder, made.folder))
    assert {key for key in before | after if before.get(key) != after.get(key)} == {"num_hidden_layers", "layer_types"}
    assert after["layer_types"] == before["layer_types"][:2]


def test_layers_that_share_weights_are_cut_where_the_config_can_say_so(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("albert", "two groups")  # five layers: 0 0 0 1 1
    with pytest.raises(SpecError, match=r"cannot be cut to 4 layers.*possible: 1, 2, 3$"):
        compress(folder, tmp_path / "cut", layers=4)
    inner = checkpoint("albert", "inner")  # three times two layers of their own, in two groups
    with pytest.raises(SpecError, match=r"cannot be cut to 3 layers.*possible: 2, 4$"):
        compress(inner, tmp_path / "cut", layers=3)
    assert not list(tmp_path.iterdir())
    made = read(written(cut(draft_of(inner), 4), tmp_path / "cut"))[0]
    assert made.layers == read(inner)[0].layers[:4]


@pytest.mark.parametrize("layers", [0, -1, 4, 2.5, True])
def test_a_number_of_layers_that_is_not_there(checkpoint: Checkpoints, tmp_path: Path, layers: Any) -> None:
    with pytest.raises(SpecError, match=f"layers must be from 1 to 3.*not {layers}"):
        compress(checkpoint("bert"), tmp_path / "cut", layers=layers)


def test_a_model_may_be_cut_twice(checkpoint: Checkpoints, tmp_path: Path) -> None:
    once = compress(checkpoint("bert"), tmp_path / "once", layers=2, heads=2, sample=SAMPLE)
    twice = compress(once.folder, tmp_path / "twice", layers=1, heads=1, sample=SAMPLE)
    assert twice.record["source"]["made_from"]["layers"] == {"kept": 2, "of": 3}
    assert twice.record["heads"]["of"] == 4
    (left,) = twice.record["heads"]["kept"]
    assert len(left) == 1
    assert set(left) < set(once.record["heads"]["kept"][0])  # by the numbers that they had at first
    states = lamina.load(twice.folder).extract(SAMPLE)
    assert np.isfinite(states.layer(1)).all()
