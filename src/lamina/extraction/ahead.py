"""One step ahead: the next item of an iterator is made in the background while this one is used."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Event, Semaphore, Thread
from typing import TypeVar

I = TypeVar("I")  # noqa: E741


def one_ahead(items: Iterator[I]) -> Iterator[I]:
    """The items of an iterator, each made in a background thread while the one before it is used.

    A daemon thread, not an executor's: one that waits for a silent pipe must not keep an interrupted process alive.
    """
    made: Queue[tuple[I | None, BaseException | None]] = Queue(maxsize=1)
    wanted = Semaphore(1)
    left = Event()

    def make() -> None:
        try:
            while wanted.acquire() and not left.is_set():
                item = next(items, None)
                made.put((item, None))
                if item is None:
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the item is awaited
            made.put((None, error))

    thread = Thread(target=make, name="lamina-prepare", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is None:
                return
            wanted.release()
            yield item
    finally:
        left.set()
        wanted.release()
        thread.join(timeout=1)  # longer only where the source itself is waiting for input
