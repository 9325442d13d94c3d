"""Proves that the published figure of all-MiniLM-L6-v2 is reproduced: Spearman 82.03 on the STS Benchmark test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lamina.extraction.extractor import Extractor


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def test_sts_benchmark_gives_the_published_correlation(minilm: Extractor, shared_data: Path) -> None:
    lines = (shared_data / "sts" / "STSB-test.tsv").read_text("utf-8").rstrip("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    scores = np.array([float(row[0]) for row in rows])
    vectors = minilm.extract([text for row in rows for text in row[1:3]], layers=-1, normalize=True).layer(6)
    cosines = (vectors[0::2].astype(np.float64) * vectors[1::2]).sum(axis=1)
    spearman = 100 * np.corrcoef(ranks(scores), ranks(cosines))[0, 1]
    assert len(rows) == 1379
    assert round(spearman, 2) == 82.03
