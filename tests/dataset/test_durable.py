"""`write_whole`: the order that makes a file durable, and what is left when a step fails."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lamina.dataset.durable import write_whole


def _record(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """The calls that matter, in order; a handle is named by what it is open on."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(handle: int) -> None:
        target = Path(f"/proc/self/fd/{handle}").resolve()
        calls.append(
            "fsync folder" if target == folder.resolve() else f"fsync {target.name} {os.fstat(handle).st_size}"
        )
        fsync(handle)

    def recorded_replace(self: Path, target: Path) -> Any:
        calls.append(f"rename {self.name} {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
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
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, write)
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
