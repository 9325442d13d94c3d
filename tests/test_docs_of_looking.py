"""Proves that what the pages of VERBS show can be typed; that their Python runs."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERBS = ("map", "attention", "lens", "trace", "align", "keywords", "relations")


def blocks(verb: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "docs" / f"{verb}.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_can_be_typed(verb: str) -> None:
    command = import_module(f"lamina.cli.{verb}").command
    examples = command.help.split("\b", 1)[1].splitlines()
    lines = [line.strip() for block in blocks(verb, "sh") for line in block.splitlines()] + [
        line.strip() for line in examples if line.strip().startswith("lamina")
    ]
    assert len(lines) >= 4
    for line in lines:
        program, typed, *arguments = shlex.split(line, comments=True)
        assert (program, typed) == ("lamina", verb)
        command.make_context(verb, arguments)  # refuses an option that is not there


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_its_own_is_explained_or_plain(verb: str) -> None:
    page = (ROOT / "docs" / f"{verb}.md").read_text(encoding="utf-8")
    for option in re.findall(r"`(--[a-z-]+)", page):
        assert option in {name for one in import_module(f"lamina.cli.{verb}").command.params for name in
                          (*one.opts, *one.secondary_opts)} | {"--text", "--logdir", "--unit"}, option  # fmt: skip


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "lens"])  # which needs a checkpoint with a head
def test_the_python_prints_what_the_comments_say(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(verb, "python")
    exec(compile(block, f"{verb}.md", "exec"), {})  # noqa: S102 - our own page
    expected = re.findall(r"^print\(.*\)\s+# (.*)$", block, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected
    assert expected


@pytest.mark.parametrize("verb", VERBS)
def test_pictures_are_there(verb: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs" / f"{verb}.md").read_text(encoding="utf-8")):
        assert (ROOT / "docs" / link).exists(), link
