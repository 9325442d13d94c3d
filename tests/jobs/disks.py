"""Disks that fail, kill or take notes: each stands in for `os` in `lamina.dataset.durable`, through which all that a
job writes must pass. Nothing is really synced: what a power cut leaves is computed from notes (`Notes.after_a_cut`)."""

# ruff: noqa: PTH102, PTH105, PTH106, PTH108

from __future__ import annotations

import errno
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.dataset import durable


class Disk:
    """`os`, with a step taken at each change below a folder.

    counts  how many steps of each kind there were.
    paths   what each handle is open on.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.counts: Counter[str] = Counter()
        self.paths: dict[int, Path] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @property
    def n_steps(self) -> int:
        return self.counts.total()

    def step(self, name: str, act: Callable[[], Any], *about: Any) -> Any:
        """One change: counted, then done."""
        self.counts[name] += 1
        return act()

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            handle: int = self.step("open", lambda: os.open(path, flags, mode), Path(path))
        else:
            handle = os.open(path, flags, mode)
        self.paths[handle] = Path(path)
        return handle

    def close(self, handle: int) -> None:
        self.paths.pop(handle, None)
        os.close(handle)

    def write(self, handle: int, data: memoryview) -> int:
        n_bytes: int = self.step("write", lambda: os.write(handle, data), self.paths[handle], bytes(data))
        return n_bytes

    def fsync(self, handle: int) -> None:
        path = self.paths[handle]
        self.step("fsync of a folder" if path.is_dir() else "fsync", lambda: None, path)

    def replace(self, path: Path, target: Path) -> None:
        self.step("rename", lambda: os.replace(path, target), Path(path), Path(target))

    def link(self, path: Path, target: Path) -> None:
        self.step("link", lambda: os.link(path, target), Path(path), Path(target))

    def unlink(self, path: Path) -> None:
        self.step("unlink", lambda: os.unlink(path), Path(path))

    def mkdir(self, path: Path) -> None:
        self.step("mkdir", lambda: os.mkdir(path), Path(path))

    def rmdir(self, path: Path) -> None:
        self.step("rmdir", lambda: os.rmdir(path), Path(path))


@contextmanager
def used(disk: Disk) -> Iterator[Disk]:
    """Let everything durable go through a disk."""
    durable.os = disk  # type: ignore[assignment, attr-defined]
    try:
        yield disk
    finally:
        durable.os = os  # type: ignore[attr-defined]


class Failing(Disk):
    """Fails once, at a step: with an errno, or (`short`) by writing half and finding the disk full at the next try."""

    def __init__(self, root: Path, *, at: int, kind: str) -> None:
        super().__init__(root)
        self.at, self.kind = at, kind
        self.failed_at: str | None = None

    def step(self, name: str, act: Callable[[], Any], *about: Any) -> Any:
        self.counts[name] += 1
        if self.n_steps == self.at:
            self.failed_at = name
            if self.kind != "short":
                raise OSError(getattr(errno, self.kind), os.strerror(getattr(errno, self.kind)))
            if name == "write":
                self.at += 1
                self.kind = "ENOSPC"
        return act()

    def write(self, handle: int, data: memoryview) -> int:
        if self.kind == "short" and self.n_steps + 1 == self.at:
            data = data[: len(data) // 2]
        return super().write(handle, data)


class Killing(Disk):
    """Kills its own process before or after the so many-th step of a kind."""

    def __init__(self, root: Path, *, kind: str, at: int, after: bool, tell: Callable[[str], None]) -> None:
        super().__init__(root)
        self.kind, self.at, self.after, self.tell = kind, at, after, tell

    def step(self, name: str, act: Callable[[], Any], *about: Any) -> Any:
        self.counts[name] += 1
        here = name == self.kind and self.counts[name] == self.at
        if here:
            what = (
                " of the manifest" if "manifest" in about[0].name else " of a shard" if "part-" in about[0].name else ""
            )
            self.tell(f"{'after' if self.after else 'before'} {name}{what}")
        if here and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        done = act()
        if here:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


@dataclass
class File:
    """A file's bytes: as they are, and as they are sure to be after a power cut."""

    now: bytes = b""
    synced: bytes = b""


Entry = File | str | None  # a file, "folder", or nothing


class Notes(Disk):
    """Takes notes of every change, so that a power cut can be computed after any of them."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.said: list[tuple[Any, ...]] = []
        self.before: dict[Path, Entry] = {}
        for path in sorted(root.rglob("*")):
            self.before[path] = "folder" if path.is_dir() else File(path.read_bytes(), path.read_bytes())

    def step(self, name: str, act: Callable[[], Any], *about: Any) -> Any:
        done = super().step(name, act)
        self.said.append((name, *about))
        return done

    def after_a_cut(self, n_steps: int, rng: random.Random, *, how: str) -> dict[Path, bytes | None]:
        """What may be there after the power was cut behind so many steps: bytes by path, None for a folder.

        how   `least`: only what was synced; `most`: all that was done; `any`: of each entry, and of the unsynced bytes
              of each file, something between, apart from one another.
        """
        # Of each name, what it has stood for since its folder was synced; the last is what it stands for now.
        entries: dict[Path, list[Entry]] = {path: [_copy(entry)] for path, entry in self.before.items()}
        for name, *about in self.said[:n_steps]:
            _note(entries, name, *about)
        found: dict[Path, bytes | None] = {}
        for path in sorted(entries):
            held = entries[path]
            entry = held[0] if how == "least" else held[-1] if how == "most" else rng.choice(held)
            above = path.parent
            if entry is None or (above != self.root and above not in found):
                continue
            found[path] = None if isinstance(entry, str) else _bytes(entry, rng, how)
        return found


def lay_out(found: dict[Path, bytes | None], root: Path, folder: Path) -> None:
    """Make a folder with what was found below `root`."""
    for path, content in found.items():
        target = folder / path.relative_to(root)
        if content is None:
            target.mkdir(parents=True)
        else:
            target.write_bytes(content)


def _copy(entry: Entry) -> Entry:
    return File(entry.now, entry.synced) if isinstance(entry, File) else entry


def _note(entries: dict[Path, list[Entry]], name: str, path: Path, *about: Any) -> None:
    held = entries.setdefault(path, [None])
    now = held[-1]
    if name == "open":
        if isinstance(now, File):
            now.now = b""
        else:
            held.append(File())
    elif name == "write":
        assert isinstance(now, File)
        now.now += about[0]
    elif name == "fsync":
        assert isinstance(now, File)
        now.synced = now.now
    elif name == "fsync of a folder":  #  a folder: what its names stand for now, they will
        for child, of_child in entries.items():
            if child.parent == path:
                del of_child[:-1]
    elif name == "rename":
        entries.setdefault(about[0], [None]).append(now)
        held.append(None)
    elif name == "link":
        entries.setdefault(about[0], [None]).append(now)
    elif name in ("unlink", "rmdir"):
        held.append(None)
    elif name == "mkdir":
        held.append("folder")


def _bytes(file: File, rng: random.Random, how: str) -> bytes:
    if how == "least" or file.now == file.synced:
        return file.synced
    if how == "most":
        return file.now
    kept = file.now[: rng.randrange(len(file.now) + 1)]
    return rng.choice([file.synced, kept, kept + bytes(len(file.now) - len(kept))])
