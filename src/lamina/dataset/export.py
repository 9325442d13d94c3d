"""Export: one vector column of a dataset in another format. A format is a row in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lamina.dataset.durable import write_whole
from lamina.dataset.reader import Dataset
from lamina.embeddings import COMBINED, Vectors
from lamina.errors import DatasetError


def export(
    dataset: Dataset, path: str | Path, *, layer: int | None = None, transform: str | None = None
) -> tuple[int, ...]:
    """Write one layer (None: the combined one) to a file; its suffix says the format (`.npy`). Gives the shape [U, D].

    In the stored type; with `transform`, the name of a stored transform, in float32. Raises DatasetError for an
    unknown suffix, SpecError for a layer or transform that is not held.
    """
    target = Path(path)
    if target.suffix not in FORMATS:
        raise DatasetError(f"{target}: the format follows from the name, which must end in {', '.join(FORMATS)}")
    if layer is None and len(dataset.layers) > 1:
        raise DatasetError(
            f"{dataset.folder} holds layers {', '.join(map(str, dataset.layers))}: say which one to export"
        )
    if layer is None and not dataset.layers:
        vectors = dataset.vectors(COMBINED, transform=transform)
    else:
        vectors = dataset.layer(dataset.layers[0] if layer is None else layer, transform=transform)
    try:
        write_whole(target, lambda file: FORMATS[target.suffix](vectors, file))
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error.strerror}") from None
    return tuple(vectors.shape)


def _npy(vectors: Vectors, file: BinaryIO) -> None:
    np.lib.format.write_array(file, vectors, allow_pickle=False)


FORMATS: dict[str, Callable[[Vectors, BinaryIO], None]] = {".npy": _npy}
