"""Device words, and whether a GPU is likely, said without importing torch: that takes seconds, and a GPU is rare.

`auto` is every GPU there is, else the CPU; `cuda` every GPU; `cuda:1` one of them; `mps` Apple's; `cpu`.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from lamina.errors import MissingExtraError, SpecError

DEVICES = ("auto", "cpu", "cuda", "mps")  # and cuda:0, cuda:1 ...

# What the drivers of NVIDIA (Linux, Linux on Windows, Windows) and AMD leave on a machine.
DRIVERS = (
    Path("/proc/driver/nvidia/version"), Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"),
    Path("C:/Windows/System32/nvcuda.dll"),
)  # fmt: skip


def check_device(device: str) -> None:
    """Raises SpecError for a word that names no device."""
    if device not in DEVICES and not re.fullmatch(r"cuda:\d{1,3}", device):
        raise SpecError(f"device must be one of {', '.join(DEVICES)} or cuda:0, cuda:1 and so on, not {device!r}")


def require(package: str, *, engine: str) -> None:
    """Raises MissingExtraError where a package is not installed that an engine needs, with the engine's own extra."""
    if find_spec(package) is None:
        raise MissingExtraError(f"engine {engine!r} needs {package}: pip install 'lamina[{engine}]'")


def has_gpu(drivers: tuple[Path, ...] = DRIVERS) -> bool:
    """Whether torch is installed and sees a GPU. It is imported only where a driver is there."""
    if find_spec("torch") is None or not any(path.exists() for path in drivers):
        return False
    from lamina.engine.torch_devices import n_gpus

    return n_gpus() > 0
