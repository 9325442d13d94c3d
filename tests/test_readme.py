"""Proves that what the README shows runs and prints what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lamina.cli.main import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


def test_its_python_prints_what_the_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    n_checked = 0
    for block in PYTHON:
        for statement in _statements(block):
            exec(compile(statement, "README.md", "exec"), names)  # noqa: S102 - our own page
            printed = capsys.readouterr().out.strip()
            comment = re.search(r"^print\(.*?\)\s+# (.*)$", statement)
            if comment:
                assert comment.group(1).startswith(printed), statement
                n_checked += 1
    assert n_checked >= 6


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line, comments=True)[1:] for line in SHELL if line.startswith("lamina ")]
    assert len(commands) >= 4
    for command in commands:
        assert run(command) == 0, (command, capsys.readouterr().err)


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def _statements(block: str) -> list[str]:
    """A block's top-level statements; what is indented belongs to the line above."""
    statements: list[str] = []
    for line in block.splitlines():
        if line[:1] in (" ", ")") and statements:
            statements[-1] += "\n" + line
        elif line.strip():
            statements.append(line)
    return statements
