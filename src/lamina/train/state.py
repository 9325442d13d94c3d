"""What a run needs to go on: parameters, moments, figures; one safetensors file, there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open

from lamina.dataset.durable import make_folder, write_whole
from lamina.errors import TrainedError
from lamina.train.optimizer import Placed

Array = npt.NDArray[Any]
TYPES = {
    "float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8",
    "bool": "BOOL",
}  # fmt: skip
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures after a step."""

    step: int
    figures: dict[str, float]


@dataclass(slots=True)
class History:
    """What has happened so far.

    losses       of each step: the mean over its items.
    best         which evaluation was the best one, None before the first.
    is_finished  whether nothing is left to do; `is_early`: because it did not get better.
    n_tokens, seconds  computed, and how long that took, all sittings together.
    """

    losses: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    best: int | None = None
    is_finished: bool = False
    is_early: bool = False
    n_tokens: int = 0
    seconds: float = 0.0

    @property
    def step(self) -> int:
        return len(self.losses)

    def document(self) -> dict[str, Any]:
        """All but the losses, as JSON values."""
        return {
            "evaluations": [{"step": one.step, **one.figures} for one in self.evaluations],
            "best": self.best, "is_finished": self.is_finished, "is_early": self.is_early,
            "n_tokens": self.n_tokens, "seconds": self.seconds,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """Copies of the parameters, by name, as they were at the best evaluation."""

    values: dict[str, torch.Tensor] = field(default_factory=dict)

    def keep(self, learnt: list[Placed]) -> None:
        for one in learnt:
            self.values[one.name] = one.parameter.detach().to("cpu", copy=True)

    def put_back(self, learnt: list[Placed]) -> None:
        with torch.no_grad():
            for one in learnt:
                if one.name in self.values:
                    one.parameter.copy_(self.values[one.name])


def write_state(
    path: Path,
    *,
    learnt: list[Placed],
    optimizer: torch.optim.Optimizer,
    history: History,
    best: Kept,
    identity: Mapping[str, Any],
) -> None:
    """Write the state of a run. Raises OSError."""
    taken = [int(optimizer.state.get(one.parameter, {}).get("step", 0)) for one in learnt]
    arrays: dict[str, Array] = {"losses": np.array(history.losses, np.float64), "taken": np.array(taken, np.int64)}
    for one in learnt:
        arrays[f"parameters/{one.name}"] = _array(one.parameter)
        moments = optimizer.state.get(one.parameter, {})
        for moment in MOMENTS:
            if moment in moments:
                arrays[f"{moment}/{one.name}"] = _array(moments[moment])
    arrays |= {f"best/{name}": _array(value) for name, value in best.values.items()}
    about = {"identity": json.dumps(identity), "history": json.dumps(history.document())}
    make_folder(path.parent)
    write_tensors(path, arrays, about)


def read_state(
    path: Path, *, learnt: list[Placed], optimizer: torch.optim.Optimizer, best: Kept, identity: Mapping[str, Any]
) -> History | None:
    """Put a run where it was; None where there is no state. Raises TrainedError for a state of another run."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            _check_identity(path, json.loads(about["identity"]), identity)
            history = _history(json.loads(about["history"]), file.get_tensor("losses"))
            held = set(file.keys())
            with torch.no_grad():
                for one, step in zip(learnt, file.get_tensor("taken").tolist(), strict=True):
                    _restore(file, one, optimizer, step)
            for name in held:
                if name.startswith("best/"):
                    best.values[name.removeprefix("best/")] = file.get_tensor(name)
            return history
    except (SafetensorError, KeyError, ValueError, OSError, RuntimeError) as error:
        raise TrainedError(f"{path} is damaged, or no state of this run ({error}): --overwrite starts anew") from None


def _restore(file: Any, one: Placed, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Put back a parameter and, where it has taken steps, its moments."""
    one.parameter.copy_(file.get_tensor(f"parameters/{one.name}"))
    if not step:
        return
    device = one.parameter.device
    state = {moment: file.get_tensor(f"{moment}/{one.name}").to(device) for moment in MOMENTS}
    optimizer.state[one.parameter] = {"step": torch.tensor(float(step), device=device), **state}


def _history(about: Mapping[str, Any], losses: torch.Tensor) -> History:
    evaluations = [
        Evaluation(one["step"], {name: value for name, value in one.items() if name != "step"})
        for one in about["evaluations"]
    ]
    return History(
        losses.tolist(), evaluations, about["best"], about["is_finished"], about["is_early"],
        about["n_tokens"], about["seconds"],
    )  # fmt: skip


def _check_identity(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    expected = json.loads(json.dumps(expected))  # tuples as lists, as they were written
    differing = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
    if differing:
        said = ", ".join(f"{key} was {found.get(key)!r}, is {expected.get(key)!r}" for key in differing[:4])
        raise TrainedError(
            f"{path.parent} holds an unfinished run of another kind ({said}): give the same command to go on with it, "
            "--overwrite to start anew"
        )


def write_tensors(path: Path, arrays: Mapping[str, Array], about: Mapping[str, str]) -> str:
    """Write a safetensors file array by array, without a second copy in memory; its sha256 comes back."""
    entries: dict[str, Any] = {"__metadata__": dict(about)}
    offset = 0
    for name, array in arrays.items():
        kind = TYPES[array.dtype.name]
        entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8 bytes

    def write(file: BinaryIO) -> None:
        file.write(len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    return write_whole(path, write).sha256


def _array(tensor: torch.Tensor) -> Array:
    found: Array = tensor.detach().cpu().numpy()
    return found
