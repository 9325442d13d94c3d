"""One process or several: which share of a step this one computes, and how their gradients are added up.

Several are started by `accelerate launch` (or torchrun); accelerate then connects them and says which device each has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamina.engine.threads import available_threads
from lamina.engine.torch_devices import found_devices
from lamina.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process, of `n`, is number `rank`, and computes on `device`."""

    rank: int
    n: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make each parameter's gradient the sum over all processes: one exchange for all of them."""
        if self.n == 1:
            return
        for one in parameters:
            if one.grad is None:  # this process had no example of the step
                one.grad = torch.zeros_like(one)
        flat = torch.cat([one.grad.view(-1) for one in parameters if one.grad is not None])
        torch.distributed.all_reduce(flat)
        for one, part in zip(parameters, torch.split(flat, [one.numel() for one in parameters]), strict=True):
            one.grad = part.view_as(one)

    def added(self, values: Iterable[float]) -> list[float]:
        """The sum over all processes of each value."""
        held = list(values)
        if self.n == 1:
            return held
        together = torch.tensor(held, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(together)
        return [float(value) for value in together.tolist()]

    def of_first(self, values: Iterable[float]) -> list[float]:
        """The first process's values, in all of them."""
        return self.added(value if self.is_first else 0.0 for value in values)

    def wait(self) -> None:
        """Until all processes are here."""
        self.added([0.0])

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.n > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor.detach(), 0)


@contextmanager
def own_threads(n_processes: int) -> Iterator[None]:
    """As many threads as a process of its own would take, whatever this one did before: a sum is divided among them, so
    that its last bits depend on how many there are. Several processes keep to what started them."""
    before = torch.get_num_threads()
    if n_processes == 1:
        asked = os.environ.get("OMP_NUM_THREADS", "")
        torch.set_num_threads(int(asked) if asked.isdigit() and int(asked) else available_threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def find_processes(device: str) -> Processes:
    """This process among those that were started together. Raises MissingExtraError, EngineError, SpecError."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(0, 1, found_devices(device)[0])
    try:
        from accelerate import PartialState
    except ImportError:
        raise MissingExtraError("several processes need accelerate: pip install 'lamina[train]'") from None
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes, state.device)
