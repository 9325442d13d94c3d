"""Proves that random weights are a model of the same shape that has learnt nothing, and the same for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.extraction.extractor import Extractor
from lamina.model.checkpoint import Checkpoint
from lamina.model.random_weights import DEVIATION, write_random
from lamina.model.weights import read_tensors

TEXTS = ["A lamp was left burning.", "No."]


def tensors(folder: Path) -> dict[str, np.ndarray]:
    return {tensor.name: tensor.float32() for tensor in read_tensors(folder / "model.safetensors")}


@pytest.fixture
def random(deep_bert: Path, tmp_path: Path) -> Path:
    write_random(Checkpoint("deep", deep_bert), tmp_path / "random")
    return tmp_path / "random"


def test_every_tensor_has_its_shape_and_none_its_values(deep_bert: Path, random: Path) -> None:
    before, after = tensors(deep_bert), tensors(random)
    assert {name: array.shape for name, array in before.items()} == {name: array.shape for name, array in after.items()}
    matrices = [name for name, array in after.items() if array.ndim > 1]
    assert all(not np.array_equal(before[name], after[name]) for name in matrices)
    assert np.std(np.concatenate([after[name].ravel() for name in matrices])) == pytest.approx(DEVIATION, rel=0.02)


def test_norms_are_the_identity_and_biases_zero(random: Path) -> None:
    for name, array in tensors(random).items():
        if array.ndim == 1:
            assert (array == (0 if name.endswith("bias") else 1)).all()


def test_it_is_a_model_that_loads_and_knows_other_things(deep: Extractor, random: Path) -> None:
    model = lamina.load(random)
    assert model.architecture == deep.architecture
    assert model.tokenizer.sha256 == deep.tokenizer.sha256
    assert model.checkpoint.weights_sha256() != deep.checkpoint.weights_sha256()
    mine, theirs = (one.extract(TEXTS, layers=-1).layer(-1) for one in (model, deep))
    assert np.isfinite(mine).all()
    assert not np.allclose(mine, theirs, atol=0.1)


def test_the_seed_decides(deep_bert: Path, random: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        write_random(Checkpoint("deep", deep_bert), tmp_path / str(seed), seed=seed)
    first, same, other = (tensors(folder) for folder in (random, tmp_path / "0", tmp_path / "1"))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_the_bundled_model_too(tmp_path: Path, minilm: Extractor) -> None:
    write_random(minilm.checkpoint, tmp_path)
    assert lamina.load(tmp_path).architecture == minilm.architecture
