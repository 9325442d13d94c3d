"""The lock: one writer at a time, whoever it is and however the last one ended."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from lamina.dataset import lock as lock_module
from lamina.dataset.folder import begin
from lamina.dataset.lock import LOCK, SILENT, Owner, locked
from lamina.dataset.manifest import read_manifest
from lamina.dataset.reader import open_dataset
from lamina.dataset.writer import DatasetWriter
from lamina.errors import DatasetError
from tests.dataset.making import embeddings, manifest, write

HOLD = """
import sys, time
from pathlib import Path
from lamina.dataset.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

# Takes the lock when it can, and notes in a file that it came and went: two at once would be seen there.
TAKE = """
import os, sys, time
from pathlib import Path
from lamina.dataset.lock import locked
from lamina.errors import DatasetError
folder, n_taken, ends = Path(sys.argv[1]), 0, time.monotonic() + 2
while time.monotonic() < ends:
    try:
        with locked(folder):
            handle = os.open(folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(handle, f"in {os.getpid()}\\n".encode())
            time.sleep(0.001)
            os.write(handle, f"out {os.getpid()}\\n".encode())
            os.close(handle)
            n_taken += 1
            if n_taken % 3 == 0 and len(sys.argv) > 2:
                os.write(1, b".")
                os._exit(9)
    except DatasetError:
        pass
"""
ELSEWHERE = Owner("another-machine", 7, "2026-01-01T00:00:00+00:00", "its own")


def _holder(folder: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def refused(folder: Path, match: str) -> None:
    """Nobody else gets the lock, and they are told why."""
    with pytest.raises(DatasetError, match=match), locked(folder):
        pytest.fail("two hold it")


def _left_by(folder: Path, owner: Owner, *, seconds_ago: float) -> None:
    path = folder / LOCK
    path.write_text(json.dumps(asdict(owner)))
    os.utime(path, (time.time() - seconds_ago,) * 2)


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    holder = _holder(tmp_path)
    try:
        with (
            pytest.raises(DatasetError, match=rf"process {holder.pid} on {platform.node()} since 20"),
            locked(tmp_path),
        ):
            pytest.fail("two hold it")
        assert (tmp_path / LOCK).is_file()
    finally:
        holder.kill()
        holder.wait()


def test_two_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    with locked(tmp_path):
        refused(tmp_path, f"process {os.getpid()} ")
        assert (tmp_path / LOCK).is_file()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("how", ["released", "raised"])
def test_nothing_is_left_of_it(tmp_path: Path, how: str) -> None:
    try:
        with locked(tmp_path):
            assert [path.name for path in tmp_path.iterdir()] == [LOCK]
            if how == "raised":
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    holder = _holder(tmp_path)
    holder.kill()
    holder.wait()
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == holder.pid
    with locked(tmp_path) as lock:
        assert lock.owner.pid == os.getpid()
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_many_who_take_it_over_at_once_never_hold_it_together(tmp_path: Path) -> None:
    """Some of them die while they hold it."""
    commands = [[sys.executable, "-c", TAKE, str(tmp_path), *(["dies"] if k % 2 else [])] for k in range(6)]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert {process.wait() for process in processes} <= {0, 9}
    lines = (tmp_path / "notes").read_text().splitlines()
    assert len(lines) > 20
    for came, went in zip(lines[::2], lines[1::2], strict=True):
        assert came.removeprefix("in ") == went.removeprefix("out ")
    with locked(tmp_path):
        pass


def test_a_living_owner_on_another_machine_is_respected(tmp_path: Path) -> None:
    _left_by(tmp_path, ELSEWHERE, seconds_ago=100)
    refused(tmp_path, r"process 7 on another-machine .*10\d s ago.* or when you remove")
    assert json.loads((tmp_path / LOCK).read_text()) == asdict(ELSEWHERE)


def test_an_owner_on_another_machine_that_was_silent_for_long_is_dead(tmp_path: Path) -> None:
    _left_by(tmp_path, ELSEWHERE, seconds_ago=SILENT + 10)
    with locked(tmp_path) as lock:
        assert lock.owner.host == platform.node()
    assert list(tmp_path.iterdir()) == []


def test_an_owner_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "BEAT", 0.01)
    with locked(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        deadline = time.monotonic() + 10
        while (tmp_path / LOCK).stat().st_mtime < 1000:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"host": 1}', b"\xff"])
def test_a_file_that_says_nothing_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_who_lost_it_is_stopped_and_leaves_the_others_lock_alone(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        lock.check()
        (tmp_path / LOCK).write_text(json.dumps(asdict(ELSEWHERE)))
        with pytest.raises(DatasetError, match=r"taken over by process 7 on another-machine.* nothing more is written"):
            lock.check()
    assert json.loads((tmp_path / LOCK).read_text()) == asdict(ELSEWHERE)


def test_a_writer_that_lost_the_lock_commits_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "d", manifest())
    with locked(tmp_path / "d") as lock:
        writer = DatasetWriter(tmp_path / "d", manifest(), before_commit=lock.check)
        writer.add(embeddings(2))
        writer.end_input()
        (tmp_path / "d" / LOCK).write_text(json.dumps(asdict(ELSEWHERE)))
        writer.add(embeddings(2, first=2))
        with pytest.raises(DatasetError, match="taken over"):
            writer.end_input()
    assert read_manifest(tmp_path / "d").n_texts == 2


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_file_system_keeps_no_locks_a_file_that_is_there_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def cannot(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock_module, "_lock", cannot)
    with locked(tmp_path):
        refused(tmp_path, rf"process {os.getpid()} .*keeps no locks.*remove {tmp_path}")
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "gone", r"\.lamina\.lock cannot be made")


def test_reading_needs_no_lock(tmp_path: Path) -> None:
    write(tmp_path / "d", [embeddings(3)])
    with locked(tmp_path / "d"):
        assert len(open_dataset(tmp_path / "d").layer(2)) == 3
