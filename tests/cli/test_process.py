"""What only a process of its own shows: signals, pipes, a full disk, and what goes to which stream."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

import lamina
from tests.cli.conftest import TEXTS, Cli, command

resource = pytest.importorskip("resource", reason="signals and limits are those of Unix")


def _start(*arguments: object) -> subprocess.Popen[bytes]:
    def interruptible() -> None:  # a parent that runs in the background hands down an ignored SIGINT
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command(), *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=interruptible
    )


def _interrupted(
    process: subprocess.Popen[bytes], folder: Path, *, after: float, within: float
) -> tuple[int, bytes, bytes]:
    """Interrupt a job `after` seconds at its dataset: exit code, stdout and stderr, if it ends `within` seconds."""
    try:
        deadline = time.monotonic() + 30
        while not (folder / "manifest.json").exists():
            assert time.monotonic() < deadline, "the job never began"
            assert process.poll() is None, "the job ended by itself"
            time.sleep(0.02)
        time.sleep(after)
        assert process.poll() is None, "the job was over before it could be interrupted"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=within)
        assert process.stdout is not None
        assert process.stderr is not None
        return process.returncode, process.stdout.read(), process.stderr.read().strip()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_an_interrupt_ends_the_job_with_130_and_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"letter {i} from a long and quiet winter " * 12 + "\n" for i in range(20_000)))
    job = _start("extract", path, "-o", tmp_path / "d")
    assert _interrupted(job, tmp_path / "d", after=0.5, within=8) == (130, b"", b"lamina: interrupted")
    with pytest.raises(lamina.LaminaError, match="unfinished"):
        lamina.open(tmp_path / "d")
    assert not list(tmp_path.rglob("*.partial"))


def test_an_interrupt_is_heard_while_standard_input_is_silent(tmp_path: Path) -> None:
    """As after `lamina extract - -o d` on a terminal, by mistake."""
    job = _start("extract", "-", "-o", tmp_path / "d")
    assert _interrupted(job, tmp_path / "d", after=1.5, within=5) == (130, b"", b"lamina: interrupted")


def test_a_reader_that_goes_away_is_no_traceback(made: Path) -> None:
    process = subprocess.Popen([*command(), "show", str(made)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 1)


def test_a_full_disk_is_one_sentence_and_leaves_no_shard(process: Cli, tmp_path: Path, lines: Path) -> None:
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # the manifest fits, a shard does not

    outcome = process("extract", lines, "-o", tmp_path / "d", limit=small_files)
    assert outcome.code == 1
    assert "File too large" in outcome.sentence
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "d",
        "d/manifest.json",
        "d/shards",
    ]


def test_no_progress_and_no_colour_where_nobody_looks(process: Cli, tmp_path: Path, lines: Path) -> None:
    outcome = process("extract", lines, "-o", tmp_path / "d", "--layers", "0")
    assert (outcome.code, outcome.err) == (0, "")
    assert "\x1b" not in outcome.out
    assert "\r" not in outcome.out
    assert f"{len(TEXTS)} texts" in outcome.out


def test_errors_of_a_process_are_those_of_the_front_door(process: Cli, tmp_path: Path) -> None:
    outcome = process("extract", tmp_path / "gone.csv", "-o", tmp_path / "d")
    assert outcome.code == 1
    assert "gone.csv" in outcome.sentence
