"""Threads that compute batches, several at a time; results come back in the order of the batches.

A thread works straight through one batch: it packs, sends, launches, waits, takes. Because several do, copies in and
out, the device's work and the host's overlap, and several devices share a job, without a line that says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from threading import Barrier, local
from typing import Any, TypeVar

import torch

B = TypeVar("B")
R = TypeVar("R")


class Workers:
    """A thread for each of `devices`, in which a device may stand several times.

    On a GPU each has a stream of its own. On the CPU each multiplies with one thread, its own, so that how many there
    are changes no bit: a matrix library divides a sum among its threads.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self.n = len(devices)
        self._pool = ThreadPoolExecutor(self.n, thread_name_prefix="lamina-torch")
        self._mine = local()
        barrier = Barrier(self.n)
        new_stream: Any = torch.cuda.Stream

        def begin(device: torch.device) -> None:
            barrier.wait()  # until each thread has one device
            self._mine.device = device
            self._mine.stream = new_stream(device) if device.type == "cuda" else None
            if device.type == "cpu":
                torch.set_num_threads(1)  # of this thread, and of those that begin later: undone below

        n_threads = torch.get_num_threads()
        list(self._pool.map(begin, devices))
        torch.set_num_threads(n_threads)

    def call(self, compute: Callable[[torch.device, B], R], batch: B) -> Future[R]:
        """Compute one batch on whichever device is free first."""
        return self._pool.submit(self._call, compute, batch)

    def in_order(self, compute: Callable[[torch.device, B], R], batches: Iterable[B]) -> Generator[R]:
        """The result of each batch, in order; no more batches are asked for than can be worked on, and one."""
        at_work: deque[Future[R]] = deque()
        try:
            for batch in batches:
                if len(at_work) > self.n:
                    yield at_work.popleft().result()
                at_work.append(self.call(compute, batch))
            while at_work:
                yield at_work.popleft().result()
        finally:
            for future in at_work:  # left early, or one has failed
                future.cancel()
            wait(at_work)

    def _call(self, compute: Callable[[torch.device, B], R], batch: B) -> R:
        stream: Any = self._mine.stream
        with torch.inference_mode(), nullcontext() if stream is None else torch.cuda.stream(stream):
            return compute(self._mine.device, batch)
