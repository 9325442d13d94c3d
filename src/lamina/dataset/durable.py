"""Files that exist whole or not at all.

A file is written aside, flushed, fsynced and renamed, and then its folder is fsynced: after a crash at any instant
the name shows the old content, the new content, or nothing. (A rename without the first fsync can survive a power
cut while the data does not: Pillai et al., OSDI 2014.)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ASIDE = ".partial"  # what a file is called while it is being written: .NAME.partial


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: its size and its sha256."""

    n_bytes: int
    sha256: str


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> Written:
    """Write a file through `write`, which gets an open binary file and only appends to it. Raises OSError."""
    aside = path.with_name(f".{path.name}{ASIDE}")
    try:
        with aside.open("wb") as file:
            hashing = _Hashing(file)
            write(hashing)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return Written(hashing.n_bytes, hashing.digest.hexdigest())


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable. Windows cannot open folders, and needs no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Hashing:
    """The writing half of a file that hashes what passes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.n_bytes = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self.n_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """The file stays open: it is synced first."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
