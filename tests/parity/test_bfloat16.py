"""Proves that bfloat16 stays close to float32 at every layer: what it costs is known, wherever it runs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import lamina
from lamina.embeddings import Embeddings
from lamina.engine.reference import bfloat16
from lamina.extraction.extractor import Extractor
from tests.samples import TEXTS, prose

SAMPLE = ["a", *TEXTS[:4], prose(4), prose(20)]


def worst_cosine(found: Embeddings, expected: Embeddings) -> float:
    """The smallest cosine of any text's mean at any layer."""
    cosines = []
    for layer in expected.layers:
        a, b = found.layer(layer).astype(np.float64), expected.layer(layer).astype(np.float64)
        cosines.append((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))
    return float(np.min(cosines))


def test_emulated_bfloat16_stays_close_to_float32(minilm: Extractor) -> None:
    found = lamina.load("minilm", engine="reference", precision="bfloat16").extract(SAMPLE)
    cosine = worst_cosine(found, minilm.extract(SAMPLE))
    assert cosine >= 0.9995
    assert cosine < 0.9999999  # it does round


def test_native_bfloat16_stays_close_to_float32(minilm: Extractor, native_bfloat16: None) -> None:
    model = lamina.load("minilm", engine="openvino", precision="bfloat16")
    texts = TEXTS + SAMPLE
    found = model.extract(texts)
    assert model.engine.precision == "bfloat16"
    assert worst_cosine(found, minilm.extract(texts)) >= 0.9995


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**120), max_value=2.0**120)


@settings(deadline=None)  # the first example imports torch
@given(arrays.arrays(np.float32, 8, elements=numbers))
def test_rounding_to_bfloat16_is_that_of_torch(x: np.ndarray) -> None:
    import torch

    expected = torch.from_numpy(x.copy()).to(torch.bfloat16).float().numpy()
    assert np.array_equal(bfloat16(x).view(np.uint32), expected.view(np.uint32))
