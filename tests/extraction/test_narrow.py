"""Proves that vectors of tokens that come in float16, to be stored, have the bits of float32 ones rounded by numpy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import openvino as ov
import pytest

import lamina
from lamina.engine.batch import Precision
from lamina.engine.openvino import native_precisions
from lamina.extraction.extractor import Extractor
from lamina.text.source import rows_of

TEXTS = ["The lamp in the hall was left burning.", "", "夜行列车 left at 23:40.", "no " * 700]


def _extracted(model: Extractor, spec: lamina.Spec, *, stored: bool) -> lamina.Embeddings:
    (part,) = model.stream_rows(rows_of(TEXTS), {"": spec}, stored=stored)
    return part[""]


@pytest.mark.parametrize("precision", [p for p in get_args(Precision) if p != "tf32"])
@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("long", ["window", "truncate"])
def test_they_are_rounded_as_numpy_rounds(precision: Precision, pool: str, long: str) -> None:
    if precision not in native_precisions(ov.Core()):
        pytest.skip(f"no native {precision} here")
    model = lamina.load("minilm", precision=precision)
    spec = lamina.Spec.of(unit="token", pool=pool, long=long)
    whole, narrow = (_extracted(model, spec, stored=stored) for stored in (False, True))
    for layer in whole.layers:
        assert whole.layer(layer).dtype == np.float32
        assert narrow.layer(layer).dtype == np.float16
        np.testing.assert_array_equal(whole.layer(layer).astype(np.float16), narrow.layer(layer))
    assert whole.units.equals(narrow.units)


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "word"},
        {"dtype": "float32"},
        {"combine": "mean"},
        {"normalize": True},
        {"dims": 8},
        {"overlap": "mean"},
    ],
)
def test_what_is_still_computed_with_comes_in_float32(minilm: Extractor, options: dict[str, object]) -> None:
    spec = lamina.Spec.of(**{"unit": "token", **options})
    columns = _extracted(minilm, spec, stored=True).columns
    assert {matrix.dtype for matrix in columns.values()} == {np.dtype(np.float32)}
