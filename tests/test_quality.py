"""The published score of all-MiniLM-L6-v2 on the STS Benchmark, layer by layer, through the command line.

Each sentence pair's cosine is ranked against the human scores (Spearman × 100, 1,379 pairs of the test set). 82.03
at the last layer is what sentence-transformers publishes; the layers below were first measured with transformers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from scipy.stats import spearmanr

import lamina
from lamina.cli.main import run
from lamina.dataset.reader import Dataset
from lamina.engine.openvino import native_precisions

PUBLISHED = 82.03
MEASURED = {0: 55.60, 1: 56.70, 2: 56.10, 3: 55.86, 4: 59.59, 5: 66.48}


Sentences = tuple[Dataset, Dataset]


def _extracted(shared_data: Path, folder: Path, precision: str) -> Sentences:
    """The first and the second sentences of the test set."""
    source = shared_data / "sts" / "STSB-test.tsv"
    if not source.is_file():
        pytest.skip(f"needs the STS Benchmark's test set, which is not at {source}")
    made = []
    for column in ("first", "second"):
        out = str(folder / column)
        options = ["--columns", "score,first,second,source", "--text", column, "--keep", "score", "--dtype", "float32"]
        assert run(["extract", str(source), "-o", out, *options, "--precision", precision]) == 0
        made.append(lamina.open(out))
    return made[0], made[1]


@pytest.fixture(scope="module")
def sentences(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Sentences:
    return _extracted(shared_data, tmp_path_factory.mktemp("sts"), "float32")


def _spearman(sentences: Sentences, layer: int) -> float:
    first, second = (dataset.layer(layer).astype(np.float64) for dataset in sentences)
    cosine = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    scores = np.array(sentences[0].units.column("score").to_pylist(), dtype=np.float64)
    return 100 * float(spearmanr(cosine, scores).statistic)


def test_the_last_layer_reaches_the_published_score(sentences: Sentences) -> None:
    assert len(sentences[0]) == len(sentences[1]) == 1379
    assert _spearman(sentences, 6) == pytest.approx(PUBLISHED, abs=0.01)


@pytest.mark.parametrize("layer", MEASURED)
def test_every_layer_below_has_its_score(sentences: Sentences, layer: int) -> None:
    assert _spearman(sentences, layer) == pytest.approx(MEASURED[layer], abs=0.05)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_fewer_bits_keep_the_score_and_every_layer(
    sentences: Sentences, shared_data: Path, tmp_path: Path, precision: str
) -> None:
    if precision not in native_precisions(ov.Core()):
        pytest.skip(f"no native {precision} here")
    found = _extracted(shared_data, tmp_path, precision)
    assert _spearman(found, 6) >= 81.7
    for exact, rounded in zip(sentences, found, strict=True):
        for layer in exact.layers:
            x, y = exact.layer(layer).astype(np.float64), rounded.layer(layer).astype(np.float64)
            cosine = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
            assert cosine.mean() >= 0.995, (layer, cosine.mean())
