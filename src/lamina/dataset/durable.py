"""Files that exist whole or not at all, and folders whose entries last: all writing of a dataset goes through here.

A file is written aside, flushed, fsynced and renamed, and then its folder is fsynced: after a crash at any instant
the name shows the old content, the new content, or nothing. (A rename without the first fsync can survive a power
cut while the data does not: Pillai et al., OSDI 2014.) docs/durability.md tells the protocol built from these.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

PIECE = 1 << 19  # bytes that are written, then hashed
ASIDE = ".partial"  # what a file is called while it is being written: .NAME.partial


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: its size and its sha256."""

    n_bytes: int
    sha256: str


def write_whole(
    path: Path, write: Callable[[BinaryIO], None], *, accept: Callable[[Written], None] | None = None
) -> Written:
    """Write a file through `write`, which gets an open binary file and only appends to it.

    `accept` may refuse what was written by raising, before it takes the name. Raises OSError.
    """
    aside = path.with_name(f".{path.name}{ASIDE}")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        hashing = _Hashing(handle)
        try:
            write(hashing)  # type: ignore[arg-type]
            os.fsync(handle)
        finally:
            hashing.spent = True
            os.close(handle)
        written = Written(hashing.n_bytes, hashing.digest.hexdigest())
        if accept is not None:
            accept(written)
        os.replace(aside, path)  # noqa: PTH105 - the tests put another `os` here, which fails or counts
    except BaseException as error:
        with suppress(OSError):
            os.unlink(aside)  # noqa: PTH108
        if isinstance(error, OSError) and error.filename in (None, str(aside)):
            error.filename = str(path)  # that of a write says none
        raise
    sync_folder(path.parent)
    return written


def write_bytes(path: Path, data: bytes) -> Written:
    """Write a file that holds `data`. Raises OSError."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    return write_whole(path, write)


def write_json(path: Path, values: Mapping[str, Any] | Sequence[Any]) -> Written:
    """Write JSON, for people too. In ASCII: a config may hold halves of characters, which UTF-8 cannot.

    Raises OSError.
    """
    return write_bytes(path, (json.dumps(values, indent=2) + "\n").encode())


def copy_whole(path: Path, to: Path) -> Written:
    """Copy a file's content. Raises OSError."""
    with path.open("rb") as file:
        return write_whole(to, lambda copied: shutil.copyfileobj(file, copied))


def sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable. Windows cannot open folders, and needs no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there yet. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with suppress(FileExistsError):  # two may make it at once; a file in its place is found when it is used
        os.mkdir(folder)  # noqa: PTH102
    sync_folder(folder.parent)


def also_in(folder: Path, path: Path) -> None:
    """Let a file stand in another folder too; it lasts once that folder is synced. Raises OSError.

    A second name, not a move: until the folder is synced, a power cut may take a name that is new there, and the old
    one must not be gone with it. On a file system without second names it is moved.
    """
    try:
        os.link(path, folder / path.name)
    except FileExistsError:
        return
    except OSError:
        os.replace(path, folder / path.name)  # noqa: PTH105


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or of a link the link; nothing where nothing is."""
    if path.is_dir() and not path.is_symlink():
        for found in list(path.iterdir()):
            remove(found)
        os.rmdir(path)  # noqa: PTH106
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


class _Hashing:
    """The writing half of a file that hashes what passes through it; every write goes to the system at once (Parquet
    and NumPy write large pieces).

    Once `spent` it writes nothing: a Parquet writer that was left by an error writes its footer when it is collected,
    and the handle may be another file's by then.
    """

    closed = False

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.spent = False
        self.digest = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> int:
        left = memoryview(data).cast("B")
        n_bytes = len(left)
        if self.spent:
            return n_bytes
        while len(left):
            piece = left[: os.write(self._handle, left[:PIECE])]  # the system may take a part only
            self.digest.update(piece)  # while the processor still has it near
            left = left[len(piece) :]
        self.n_bytes += n_bytes
        return n_bytes

    def tell(self) -> int:
        return self.n_bytes

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The file stays open: it is synced first."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False
