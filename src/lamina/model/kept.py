"""What Lamina has found out about a model and need not find out again: files in the user's cache, by a key.

They lie where huggingface_hub keeps the assets of libraries (its own variables say where). A cache that cannot be read
or written is no cache: what is wanted is then made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import numpy.typing as npt

MAX_BYTES = 1 << 30  # a larger file is not Lamina's

Tensors = dict[str, npt.NDArray[np.float32]]


def kept_bytes(name: str, make: Callable[[], bytes]) -> bytes:
    """The content of a kept file; where there is none, what `make` makes, which is then kept."""
    folder = kept_folder()
    if folder is not None:
        with suppress(OSError):
            path = folder / name
            if path.stat().st_size <= MAX_BYTES:
                return path.read_bytes()
    content = make()
    if folder is not None:
        _keep(folder / name, content)
    return content


def kept_tensors(name: str, make: Callable[[], Tensors]) -> Tensors:
    """The same for arrays by name, as safetensors; a damaged file counts as none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load, save

    try:
        return dict(load(kept_bytes(name, lambda: save(make()))))
    except SafetensorError:
        content = save(make())
        if (folder := kept_folder()) is not None:
            _keep(folder / name, content)
        return dict(load(content))


def kept_folder() -> Path | None:
    """Where files are kept, made if need be; None where that cannot be."""
    from huggingface_hub import cached_assets_path

    try:
        return Path(cached_assets_path("lamina", namespace="kept", subfolder="v1"))
    except OSError:
        return None


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole: it gets its name when it is complete. Two processes may do so at once."""
    with suppress(OSError):
        with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)
