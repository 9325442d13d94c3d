"""What only a process of its own shows: signals, pipes, a full disk, and what goes to which stream."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import lamina
from lamina.jobs.local import run
from tests.cli.conftest import TEXTS, Cli, command
from tests.dataset.making import assert_same_files

resource = pytest.importorskip("resource", reason="signals and limits are those of Unix")


SIGNALS = {signal.SIGINT: (130, b"lamina: interrupted"), signal.SIGTERM: (143, b"lamina: terminated")}
SOON = 4  # seconds: 1.5 and what a busy machine adds


def _start(*arguments: object) -> subprocess.Popen[bytes]:
    def interruptible() -> None:  # a parent that runs in the background hands down an ignored SIGINT
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command(), *map(str, arguments)], stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=interruptible
    )


def _signalled(
    process: subprocess.Popen[bytes], number: int, folder: Path, *, ready: Callable[[], bool], after: float = 0.3
) -> tuple[int, bytes, bytes]:
    """Send a signal to a job `after` seconds from when it is ready: exit code, stdout and stderr, if it ends SOON."""
    try:
        deadline = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < deadline, "the job never got there"
            assert process.poll() is None, "the job ended by itself"
            time.sleep(0.02)
        time.sleep(after)
        assert process.poll() is None, "the job was over before it could be interrupted"
        process.send_signal(number)
        process.wait(timeout=SOON)
        assert process.stdout is not None
        assert process.stderr is not None
        return process.returncode, process.stdout.read(), process.stderr.read().strip()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that takes minutes."""
    path = tmp_path_factory.mktemp("letters") / "in.txt"
    path.write_text("".join(f"letter {i} from a long and quiet winter " * 12 + "\n" for i in range(20_000)))
    return path


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_job_soon_with_its_code_and_one_sentence(
    tmp_path: Path, letters: Path, number: signal.Signals
) -> None:
    job = _start("extract", letters, "-o", tmp_path / "d")
    ready = (tmp_path / "d" / "manifest.json").exists
    code, said = SIGNALS[number]
    assert _signalled(job, number, tmp_path / "d", ready=ready) == (code, b"", said)
    with pytest.raises(lamina.LaminaError, match="unfinished"):
        lamina.open(tmp_path / "d")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_signal_is_heard_while_a_large_batch_is_computed(tmp_path: Path, letters: Path) -> None:
    job = _start("extract", letters, "-o", tmp_path / "d", "--batch-tokens", 100_000)
    ready = (tmp_path / "d" / "manifest.json").exists
    assert _signalled(job, signal.SIGTERM, tmp_path / "d", ready=ready, after=5)[0] == 143


def test_what_a_signal_ended_goes_on_and_gives_the_same_bytes(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"letter {i} from a long and quiet winter\n" for i in range(600)))
    options = ["--unit", "token", "--layers", "0..2"]
    monkeypatch.setitem(run.__kwdefaults__, "shard_bytes", 1 << 20)
    child = f"from lamina.jobs.local import run; run.__kwdefaults__['shard_bytes'] = {1 << 20}; "
    child += "from lamina.cli.main import main; main()"
    for number in SIGNALS:
        done = len(list((tmp_path / "d").rglob("*.parquet")))
        job = subprocess.Popen(
            [
                sys.executable,
                "-c",
                child,
                "extract",
                str(path),
                "-o",
                str(tmp_path / "d"),
                *options,
                "--batch-tokens",
                "256",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
        )
        more = partial(_holds, tmp_path / "d", done + 2)
        assert _signalled(job, number, tmp_path / "d", ready=more, after=0)[0] == SIGNALS[number][0]
    for folder in ("d", "whole"):
        assert cli("extract", path, "-o", tmp_path / folder, *options).code == 0
    assert_same_files(tmp_path / "d", tmp_path / "whole")


def _holds(folder: Path, n_shards: int) -> bool:
    return len(list(folder.rglob("part-*.parquet"))) >= n_shards


def test_an_interrupt_is_heard_while_standard_input_is_silent(tmp_path: Path) -> None:
    """As after `lamina extract - -o d` on a terminal, by mistake."""
    job = _start("extract", "-", "-o", tmp_path / "d")
    ready = (tmp_path / "d" / "manifest.json").exists
    outcome = _signalled(job, signal.SIGINT, tmp_path / "d", ready=ready, after=1)
    assert outcome == (130, b"", b"lamina: interrupted")


def test_a_second_job_on_the_same_folder_is_refused_and_harms_nothing(
    process: Cli, tmp_path: Path, letters: Path
) -> None:
    job = _start("extract", letters, "-o", tmp_path / "d")
    try:
        while not (tmp_path / "d" / "manifest.json").exists():
            assert job.poll() is None
            time.sleep(0.02)
        before = (tmp_path / "d" / "manifest.json").read_bytes()
        outcome = process("extract", letters, "-o", tmp_path / "d", "--overwrite", "--quiet")
        assert outcome.code == 1
        assert f"{tmp_path / 'd'} is being written by process {job.pid} on" in outcome.sentence
        assert (tmp_path / "d" / "manifest.json").read_bytes() == before
        assert job.poll() is None
    finally:
        job.kill()
        job.communicate()


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
    assert outcome.sentence.startswith(f"{tmp_path / 'd' / 'shards'}")
    assert outcome.sentence.endswith(".parquet: File too large")
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


def test_an_output_that_takes_few_characters_takes_what_is_said(
    process: Cli, made: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a file on Windows does."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    shutil.copytree(made, tmp_path / "d")
    outcome = process("fit", tmp_path / "d", "--name", "centred")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"384 \\u2192 384; fitted on {len(TEXTS)} rows" in outcome.out


def test_a_disk_without_room_is_named_with_what_to_do(
    cli: Cli, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, _: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as broken:
        broken.setattr("lamina.dataset.writer.write_whole", full)
        said = cli("extract", lines, "-o", tmp_path / "d", "--layers", "0").sentence
    assert said.endswith(".parquet: No space left on device: make room, and give the same command again")
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0").code == 0
