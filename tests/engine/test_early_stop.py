"""Proves that no engine reads a weight above the highest layer asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lamina.engine.batch import Batch, Program, Rows
from lamina.engine.openvino import OpenVinoEngine
from lamina.engine.reference import ReferenceEngine
from lamina.engine.torch import TorchEngine
from lamina.model.architecture import FAMILIES, architecture_of
from lamina.model.config import read_config
from lamina.model.weights import Weights, read_weights

IDS = np.arange(8, dtype=np.int32)[None]
ONE_TEXT = Batch(
    IDS, np.zeros_like(IDS), np.array([6], np.int32), (Rows(np.arange(6, dtype=np.int32), np.zeros(1, np.int32)),)
)


@pytest.mark.parametrize("kind", [OpenVinoEngine, ReferenceEngine, TorchEngine])
@pytest.mark.parametrize("layers", [(0,), (3,), (0, 5)])
def test_a_model_whose_upper_layers_are_gone_still_gives_the_lower_ones(
    deep_bert: Path, kind: type, layers: tuple[int, ...]
) -> None:
    arch = architecture_of(read_config(deep_bert / "config.json"))
    whole = read_weights([deep_bert / "model.safetensors"], arch, FAMILIES["bert"])
    gone = tuple(f"layers.{k}." for k in range(layers[-1], arch.n_layers))
    lower = Weights({name: tensor for name, tensor in whole.tensors.items() if not name.startswith(gone)}, ())
    options = {"threads": 1} if kind is OpenVinoEngine else {}
    results = []
    for weights in (whole, lower):
        engine = kind(arch, weights, precision="float32", **options)
        ((reduced,),) = engine.run(Program(layers, ("sum",)), [ONE_TEXT])
        results.append([array.copy() for array in reduced])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
