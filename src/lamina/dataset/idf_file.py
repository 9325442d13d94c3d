"""What `pool="idf"` was fitted on, beside the shards: `idf.npy`, in how many texts each token id occurs, int64 [V]."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.dataset.durable import write_whole
from lamina.dataset.manifest import IDF, Manifest

Int64 = npt.NDArray[np.int64]


def write_idf(folder: Path, n_texts: int, counts: Int64) -> dict[str, Any]:
    """Store the counts of a corpus of `n_texts` texts; what the manifest says of it comes back."""
    written = write_whole(folder / IDF, lambda file: np.lib.format.write_array(file, counts, allow_pickle=False))
    return {"n_texts": n_texts, "sha256": written.sha256}


def read_idf(folder: Path, manifest: Manifest) -> tuple[int, Int64] | None:
    """The number of texts and the counts; None where they are not those that the manifest tells of."""
    if manifest.idf is None:
        return None
    try:
        content = (folder / IDF).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != manifest.idf.get("sha256"):
        return None
    return int(manifest.idf["n_texts"]), np.lib.format.read_array(BytesIO(content), allow_pickle=False)
