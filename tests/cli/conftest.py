"""The front door, in this process and in one of its own, and a dataset that it made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamina.cli.main import run
from lamina.model.checkpoint import find_checkpoint

TEXTS = [
    "A lamp was left burning in the hall.",
    'They called it "the long evening", and it was.',
    "Elle n'a jamais répondu à ma lettre.",
    "夜行列车 left at 23:40.",
    "No.",
]
LAYERS = (0, 3, 6)


@dataclass(frozen=True)
class Outcome:
    """What a command line did."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one sentence that an error is, checked to be all that was said."""
        assert self.out == ""
        assert self.err.startswith("lamina: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        assert "bug in Lamina" not in self.err
        return self.err.removeprefix("lamina: ").strip()


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line in this process."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return call


def command() -> list[str]:
    """The installed program, or the same as a module."""
    script = Path(sys.executable).with_name("lamina")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "lamina"]


@pytest.fixture
def process() -> Cli:
    """Runs a command line in a process of its own, with bytes on standard input."""

    def call(*arguments: object, stdin: bytes = b"", limit: Callable[[], None] | None = None) -> Outcome:
        done = subprocess.run(
            [*command(), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            preexec_fn=limit,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return call


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The texts, one a line."""
    path = tmp_path_factory.mktemp("input") / "lines.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, lines: Path) -> Path:
    """A dataset of the texts that the command line made. Nobody changes it."""
    folder = tmp_path_factory.mktemp("dataset") / "made"
    assert run(["extract", str(lines), "-o", str(folder), "--layers", "0,3,6", "--quiet"]) == 0
    return folder


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A copy of the bundled model that a test may break; its files are linked, so replace them rather than edit."""
    source, folder = find_checkpoint("minilm").folder, tmp_path / "model"
    folder.mkdir()
    for path in source.iterdir():
        if path.suffix == ".safetensors":
            (folder / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copy(path, folder)
    return folder
