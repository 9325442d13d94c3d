"""What goes to a device and what comes back: weights once, a batch's numbers in one copy, reduced rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lamina.engine.batch import Float32, Int32
from lamina.model.weights import Weights

TORCH_TYPES = {np.dtype(np.int32): torch.int32, np.dtype(np.float32): torch.float32}


class Resident:
    """A checkpoint's weights, and tables that depend on no text, on one device: each is sent when it is first used.

    On the CPU, float32 weights stay where they are, in the mapped file.
    """

    def __init__(self, weights: Weights, device: torch.device, dtype: torch.dtype) -> None:
        self._weights, self._device, self._dtype = weights, device, dtype
        self._held: dict[Hashable, Tensor] = {}
        self._lock = Lock()  # several threads compute on one device, and each would send its own copy

    def weight(self, name: str) -> Tensor:
        """A weight by its canonical name, in the engine's precision."""
        return self._once(name, lambda: torch.from_numpy(self._weights[name]).to(self._device, self._dtype))

    def table(self, key: Hashable, make: Callable[[], npt.NDArray[np.generic]]) -> Tensor:
        """A table as it was made."""
        return self._once(key, lambda: torch.from_numpy(make()).to(self._device))

    def _once(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        if key not in self._held:
            with self._lock:
                if key not in self._held:
                    self._held[key] = make()  # has arrived when this returns: the copy is no asynchronous one
        return self._held[key]


def sent(arrays: Sequence[Int32 | Float32], device: torch.device) -> list[Tensor]:
    """Flat arrays of 32-bit numbers on a device: one copy for all of them, from pinned memory to a GPU."""
    if device.type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    together = torch.from_numpy(np.concatenate([array.view(np.int32) for array in arrays]))
    if device.type == "cuda":
        together = together.pin_memory()
    parts = torch.split(together.to(device, non_blocking=True), [array.size for array in arrays])
    return [part.view(TORCH_TYPES[array.dtype]) for part, array in zip(parts, arrays, strict=True)]


def arrays_of(found: Sequence[Tensor]) -> tuple[Float32, ...]:
    """Tensors that have arrived as float32 arrays; 16-bit ones are widened into memory that is used again."""
    return tuple(_widened(one).numpy() for one in found)


def _widened(found: Tensor) -> Tensor:
    if found.dtype == torch.float32:
        return found
    return torch.empty(found.shape, dtype=torch.float32, pin_memory=found.is_pinned()).copy_(found)
