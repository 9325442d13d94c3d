"""The same model with random weights: what an architecture knows before it has learnt anything.

Comes in: a checkpoint. Goes out: a folder that is one too, every tensor drawn anew as before pretraining: matrices
from a normal distribution, norms the identity, biases zero. The draws depend on the seed and the tensors' names only.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lamina.model.checkpoint import HUB_FILES, INDEX, SINGLE, Checkpoint
from lamina.model.weights import ITEM_BYTES, FloatArray, StoredTensor, read_tensors

DEVIATION = 0.02  # BERT's initializer_range (Devlin et al. 2019, their code), and that of every family here


def write_random(checkpoint: Checkpoint, folder: Path, *, seed: int = 0) -> None:
    """Write a checkpoint of random weights with the configuration and tokenizer of another. Raises CheckpointError."""
    folder.mkdir(parents=True, exist_ok=True)
    files = checkpoint.weight_files()
    tensors = [tensor for file in files for tensor in read_tensors(file)]
    made = {tensor.name: _drawn(tensor, seed) for tensor in tensors if tensor.dtype in ITEM_BYTES}
    for pattern in HUB_FILES:
        for path in checkpoint.folder.glob(pattern):
            copy = folder / path.relative_to(checkpoint.folder)
            if path not in files and path.name != INDEX:
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    save_file(made, folder / SINGLE)


def _drawn(tensor: StoredTensor, seed: int) -> FloatArray:
    """A tensor's shape with values as before pretraining; one axis is a norm's scale or a bias."""
    if len(tensor.shape) < 2:
        is_scale = tensor.name.rpartition(".")[2] in ("weight", "gamma")
        return np.full(tensor.shape, float(is_scale), np.float32)
    return drawn(tensor.name, tensor.shape, seed=seed)


def drawn(name: str, shape: tuple[int, ...], *, seed: int) -> FloatArray:
    """A matrix as before pretraining, from its name and the seed alone."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    found: FloatArray = np.random.default_rng([seed, number]).standard_normal(shape, np.float32)
    found *= np.float32(DEVIATION)
    return found
