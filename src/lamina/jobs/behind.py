"""One step behind: what is made is used up in a background thread while the next one is made."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Semaphore, Thread
from types import TracebackType
from typing import Generic, TypeVar

I = TypeVar("I")  # noqa: E741


class Behind(Generic[I]):
    """Uses items up in the order in which they are put, one at a time, in a thread of its own.

    Used as a context: leaving it waits until the last item is used up. What the use of an item raises is raised by the
    next `put`, or at the end, and nothing is used after it.
    """

    def __init__(self, use: Callable[[I], None]) -> None:
        self._use = use
        self._items: SimpleQueue[I | None] = SimpleQueue()
        self._idle = Semaphore(1)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="lamina-behind", daemon=True)

    def __enter__(self) -> Behind[I]:
        self._thread.start()
        return self

    def put(self, item: I) -> None:
        """Hand an item over, once the one before it is used up: no more than one is held. Raises what its use did."""
        self._idle.acquire()
        self._raise()
        self._items.put(item)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._items.put(None)
        interrupted: BaseException | None = None
        while self._thread.is_alive():
            try:
                self._thread.join()
            except BaseException as signal:  # noqa: BLE001 - raised below: what is begun must end before others begin
                interrupted = signal
        if interrupted is not None:
            raise interrupted
        if kind is None:
            self._raise()

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            try:
                self._use(item)
            except BaseException as error:  # noqa: BLE001 - it is raised where items are put
                self._error = error
            del item  # not held while the next one is awaited
            self._idle.release()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
