"""Vectors in which one layer is known to hold the label, and others less or nothing of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.embeddings import Embeddings


def units(surfaces: Sequence[str], text_ids: Sequence[int] | None = None) -> pa.Table:
    n = len(surfaces)
    return pa.table({
        "text_id": pa.array(range(n) if text_ids is None else text_ids, pa.int64()),
        "surface": pa.array(surfaces, pa.string()),
        "start": pa.array([0] * n, pa.int32()),
        "end": pa.array([len(surface) for surface in surfaces], pa.int32()),
        "status": ["ok"] * n,
    })  # fmt: skip


def planted(
    values: npt.NDArray[np.float64],
    *,
    strengths: Sequence[float],
    width: int = 12,
    surfaces: Sequence[str] | None = None,
    text_ids: Sequence[int] | None = None,
    seed: int = 0,
) -> Embeddings:
    """Layers of noise, to each of which the values [U, C] are added, `strengths` times; with a mean and a scale of its
    own for each column, as real layers have them."""
    rng = np.random.default_rng(seed)
    signal = values if values.ndim == 2 else values[:, None]
    columns = {}
    for layer, strength in enumerate(strengths):
        noise = rng.normal(size=(len(signal), width))
        mixed = noise + strength * signal @ rng.normal(size=(signal.shape[1], width))
        columns[f"layer_{layer}"] = (mixed * rng.uniform(0.1, 9, width) + rng.normal(size=width) * 30).astype(
            np.float32
        )
    names = [f"text {k}" for k in range(len(signal))] if surfaces is None else surfaces
    return Embeddings(units(names, text_ids), columns, len(set(text_ids or range(len(signal)))))


def one_hot(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.eye(int(classes.max()) + 1)[classes]
