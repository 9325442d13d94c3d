"""The lock that keeps a second writer out of a dataset's folder. Reading needs none.

The operating system's own lock on `.lamina.lock` decides: it is taken in one step and falls with the process that holds
it, however that ends, so a stale owner on this machine needs no guessing and two who take over at once cannot both
succeed. What is written in the file (host, process, since when) is for errors, and for file systems that keep locks
from machine to machine apart: there the owner's last sign of life decides.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

from lamina.errors import DatasetError

LOCK = ".lamina.lock"
BEAT = 60.0  # seconds between two signs of life
SILENT = 600.0  # seconds without one after which an owner on another machine is taken for dead
BEYOND = 1 << 30  # the byte that Windows locks: what is locked there cannot be read
HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # what a lock that somebody else holds is called
CANNOT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # a file system that keeps no locks


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds a lock; `token` tells two takings by one process apart."""

    host: str
    pid: int
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held."""

    path: Path
    owner: Owner

    def check(self) -> None:
        """Raise DatasetError where another writer took the lock over, as after this machine slept through SILENT."""
        if (found := _owner(self.path)) != self.owner:
            raise DatasetError(
                f"{self.path.parent} was taken over by {found or 'somebody who removed the lock'} while this job was "
                "silent: nothing more is written here; give the same command again once that job has ended"
            )


@contextmanager
def locked(folder: Path) -> Iterator[Lock]:
    """Hold the lock of a folder that exists. Raises DatasetError where somebody else holds it, naming them."""
    path = folder / LOCK
    try:
        handle = _taken(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be made: {error.strerror}") from None
    lock = Lock(path, Owner(platform.node(), os.getpid(), datetime.now(UTC).isoformat("T", "seconds"), uuid4().hex))
    left = Event()
    try:
        os.truncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(asdict(lock.owner)).encode())
        Thread(target=_beat, args=(path, left), name="lamina-lock", daemon=True).start()
        yield lock
    finally:
        left.set()
        with suppress(OSError):  # Windows removes no open file
            if _owner(path) == lock.owner:
                path.unlink()
        os.close(handle)
        if sys.platform == "win32":
            with suppress(OSError):
                path.unlink()


def _taken(path: Path) -> int:
    """An open handle of the lock's file, locked."""
    while True:
        try:
            handle, is_new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                handle, is_new = os.open(path, os.O_RDWR), False
            except FileNotFoundError:  # removed meanwhile
                continue
        try:
            if not _try(handle, path, is_new=is_new):  # removed by its owner between opening and locking
                os.close(handle)
                continue
            _check_other_machine(path)
        except BaseException:
            os.close(handle)
            raise
        return handle


def _try(handle: int, path: Path, *, is_new: bool) -> bool:
    """Lock an open file; False where it is no longer the one of that name. Raises DatasetError where it is held."""
    try:
        _lock(handle)
    except OSError as error:
        if error.errno not in (*HELD, *CANNOT):
            raise
        owner = _owner(path) or "another process"
        if error.errno in HELD:
            raise DatasetError(f"{path.parent} is being written by {owner}: wait until it has ended") from None
        if not is_new:
            raise DatasetError(
                f"{path.parent} is being written by {owner}, or was until that ended without tidying up, which cannot "
                f"be told on this file system (it keeps no locks): if it has ended, remove {path}"
            ) from None
    with suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _check_other_machine(path: Path) -> None:
    """Refuse a lock that a process of another machine wrote, unless it has been silent for long."""
    owner = _owner(path)
    if owner is None or owner.host == platform.node():
        return
    with tempfile.TemporaryFile(dir=path.parent) as file:  # the file system's clock, which may be a server's
        silent = os.fstat(file.fileno()).st_mtime - path.stat().st_mtime
    if silent < SILENT:
        raise DatasetError(
            f"{path.parent} is being written by {owner}, whose last sign of life was {max(0, silent):.0f} s ago: wait "
            f"until it has ended; it is taken for dead after {SILENT:.0f} s, or when you remove {path}"
        )


def _beat(path: Path, left: Event) -> None:
    while not left.wait(BEAT):
        with suppress(OSError):
            os.utime(path)


def _owner(path: Path) -> Owner | None:
    """Who is written in a lock's file; None where nobody (legible) is."""
    try:
        return Owner(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, BEYOND, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
