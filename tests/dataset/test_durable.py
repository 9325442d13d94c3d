"""`write_whole`: the order that makes a file durable, and what is left when a step fails."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lamina.dataset.durable import Written, make_folder, remove, write_whole


def _record(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """The calls that matter, in order; a handle is named by what it is open on."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(handle: int) -> None:
        target = Path(f"/proc/self/fd/{handle}").resolve()
        calls.append(
            "fsync folder" if target == folder.resolve() else f"fsync {target.name} {os.fstat(handle).st_size}"
        )
        fsync(handle)

    def recorded_replace(path: Path, target: Path) -> None:
        calls.append(f"rename {path.name} {target.name}")
        replace(path, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    return calls


def _write(content: bytes) -> Any:
    def write(file: BinaryIO) -> None:
        for byte in content:
            file.write(bytes([byte]))

    return write


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name an open file")
def test_written_synced_renamed_and_then_the_folder_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _record(monkeypatch, tmp_path)

    def write(file: BinaryIO) -> None:
        file.write(b"seven b")
        calls.append("written")

    write_whole(tmp_path / "x.bin", write)
    assert calls == ["written", "fsync .x.bin.partial 7", "rename .x.bin.partial x.bin", "fsync folder"]


def test_it_says_what_it_wrote(tmp_path: Path) -> None:
    content = bytes(range(256))
    written = write_whole(tmp_path / "x.bin", _write(content))
    assert (tmp_path / "x.bin").read_bytes() == content
    assert (written.n_bytes, written.sha256) == (256, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
@pytest.mark.parametrize("old", [None, b"old content"])
def test_a_step_that_fails_leaves_the_old_content_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: bytes | None
) -> None:
    path = tmp_path / "x.bin"
    if old is not None:
        path.write_bytes(old)

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    write = _write(b"new")
    if step == "write":

        def write(file: BinaryIO) -> None:
            file.write(b"ne")
            fail()

    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left") as raised:
        write_whole(path, write)
    assert raised.value.filename == str(path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([("x.bin", old)] if old is not None else [])


def test_a_process_that_dies_while_writing_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old content")
    script = (
        "import os, sys; from pathlib import Path; from lamina.dataset.durable import write_whole\n"
        "def die(file):\n    file.write(b'n' * 1_000_000); file.flush(); os._exit(9)\n"
        "write_whole(Path(sys.argv[1]), die)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert path.read_bytes() == b"old content"
    write_whole(path, _write(b"new"))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x.bin", b"new")]


def test_what_the_system_takes_in_small_pieces_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:3]))
    written = write_whole(tmp_path / "x.bin", lambda file: _count(file.write(b"ten bytes.")))
    assert (tmp_path / "x.bin").read_bytes() == b"ten bytes."
    assert written == Written(10, hashlib.sha256(b"ten bytes.").hexdigest())


def test_what_is_not_accepted_never_takes_the_name(tmp_path: Path) -> None:
    def refuse(written: Written) -> None:
        raise ValueError(f"{written.n_bytes} bytes")

    (tmp_path / "x.bin").write_bytes(b"old content")
    with pytest.raises(ValueError, match="3 bytes"):
        write_whole(tmp_path / "x.bin", _write(b"new"), accept=refuse)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("x.bin", b"old content")]


def test_a_folder_is_removed_with_all_in_it_and_of_a_link_the_link(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("mine")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "a" / "b" / "file").write_text("gone")
    remove(tmp_path / "a")
    remove(tmp_path / "a")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["kept", "kept/file"]


def _count(_: int) -> None:
    """`write` gives a count."""


def test_what_is_written_late_goes_nowhere(tmp_path: Path) -> None:
    late: list[BinaryIO] = []
    with pytest.raises(ValueError, match="enough"):
        write_whole(tmp_path / "first", lambda file: late.append(file) or _refuse())  # type: ignore[func-returns-value]
    with (tmp_path / "second").open("wb") as other:  # it takes the handle that is free now
        assert late[0].write(b"footer") == 6
        other.write(b"its own")
    assert (tmp_path / "second").read_bytes() == b"its own"


def _refuse() -> None:
    raise ValueError("enough")
