"""Which devices torch has, what they compute natively, and how much at once."""

from __future__ import annotations

from threading import Lock
from typing import Any

import torch

from lamina.engine.batch import Precision
from lamina.engine.devices import check_device
from lamina.errors import EngineError
from lamina.model.architecture import Architecture

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
}  # fmt: skip
AMPERE = (8, 0)  # the first GPUs with bfloat16 and TF32

CPU_TOKENS = 2048
MOST_TOKENS, FEWEST_TOKENS = 1 << 16, 1 << 12  # of a batch on another device
SHARE = 0.4  # of a device's memory that the batches at work may take


def n_gpus() -> int:
    """How many GPUs torch sees, NVIDIA's or AMD's."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def found_devices(device: str) -> list[torch.device]:
    """The devices of a word, at least one; of several GPUs those of the first one's kind, since kinds differ in bits.

    Raises SpecError for a word that is none, EngineError where there is no such device.
    """
    check_device(device)
    if device == "cpu" or (device == "auto" and not n_gpus()):
        return [torch.device("cpu")]
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise EngineError("torch sees no Apple GPU here: device='cpu' computes on the CPU")
        return [torch.device("mps")]
    number = int(device.partition(":")[2] or 0)
    if number >= n_gpus():
        raise EngineError(
            f"device {device!r} is not there: torch {torch.__version__} sees {n_gpus()} GPUs on this machine; "
            "device='cpu' computes on the CPU"
        )
    gpus = [torch.device("cuda", i) for i in ([number] if ":" in device else range(n_gpus()))]
    return [gpu for gpu in gpus if device_name(gpu) == device_name(gpus[0])]


def device_name(device: torch.device) -> str:
    """`cpu`, `mps`, or what the GPU is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def native_precision(device: torch.device) -> Precision:
    """The fastest precision that a device has in hardware."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= AMPERE else "float16"
    if device.type == "mps":
        return "float16"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "float32"


def checked_precision(precision: Precision | None, device: torch.device) -> Precision:
    """A precision that the device can compute in, None: its fastest. Raises EngineError."""
    if precision is None:
        return native_precision(device)
    needs_ampere = {"tf32": True, "bfloat16": device.type == "cuda"}.get(precision, False)
    has_ampere = device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE
    if needs_ampere and not has_ampere and not torch.version.hip:
        raise EngineError(
            f"{device_name(device)} has no native {precision}: use precision='float32', or 'auto' for its fastest"
        )
    return precision


def device_tokens(arch: Architecture, dtype: torch.dtype, device: torch.device, *, n_at_once: int) -> int:
    """How many tokens a batch should hold where `n_at_once` are at work: a power of two that the device's memory holds.

    It depends on the memory that the device has, not on what is free now: the shape of its products follows from it.
    """
    if device.type == "cpu":
        return CPU_TOKENS
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = torch.mps.recommended_max_memory()
    # States, queries, keys, values, contexts, sums; the feed-forward's; every layer's rows where nothing is pooled.
    numbers = 8 * arch.width + 3 * arch.ffn_width + (arch.n_layers + 1) * arch.width
    n_tokens = int(SHARE * memory) // (n_at_once * numbers * dtype.itemsize)
    return 1 << min(max(n_tokens, FEWEST_TOKENS), MOST_TOKENS).bit_length() - 1


def wait_for(device: torch.device) -> None:
    """Wait until all that this thread has asked of a device is done, without keeping a core busy."""
    if device.type == "cuda":
        new_event: Any = torch.cuda.Event
        done = new_event(blocking=True)
        done.record(torch.cuda.current_stream(device))
        done.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


class Float32Products:
    """Products of float32 matrices in float32, or in TF32 where that is the precision, while anybody is inside.

    torch says it for a whole process, which has it back as it was when the last run has left.
    """

    def __init__(self, precision: Precision) -> None:
        backends: Any = torch.backends
        self._flags = {
            backends.cuda.matmul: "tf32" if precision == "tf32" else "ieee",
            backends.mkldnn.matmul: "ieee",
        }
        self._before: dict[Any, str] = {}
        self._n_inside = 0
        self._lock = Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._n_inside += 1
            if self._n_inside == 1:
                self._before = {flag: flag.fp32_precision for flag in self._flags}
                self._set(self._flags)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._set(self._before)

    def _set(self, values: dict[Any, str]) -> None:
        for flag, value in values.items():
            flag.fp32_precision = value
