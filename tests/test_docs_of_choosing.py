"""Proves that what docs/probe.md, classify.md and tag.md show can be typed, and that their pictures are there."""

from __future__ import annotations

import json
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERBS = ("probe", "classify", "tag")
PAGES = (*VERBS, "sklearn", "choosing-a-layer")


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_can_be_typed(verb: str) -> None:
    shell = "\n".join(re.findall(r"```sh\n(.*?)```", page(verb), re.DOTALL)).replace("\\\n", " ")
    typed = re.findall(rf"lamina {verb} ([^|>\n]*)", shell)
    assert len(typed) >= 5
    for line in typed:
        arguments, command = shlex.split(line, comments=True), import_module(f"lamina.cli.{verb}").command
        if hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        command.make_context(verb, arguments)  # refuses an option that is not there


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_that_is_named_exists(verb: str) -> None:
    group = import_module(f"lamina.cli.{verb}").command
    commands = getattr(group, "commands", {"": group}).values()
    there = {name for one in commands for option in one.params for name in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"`(--[a-z-]+)", page(verb)))
    assert named
    assert named <= there | {"--save"}  # `lamina probe --save`, which the others take up


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page(name)):
        assert link.startswith("http") or (ROOT / "docs" / link).exists(), link


def test_the_figures_by_layer_are_those_stored() -> None:
    """The table of docs/probe.md, the stored results and what is best of them."""
    tasks = json.loads((ROOT / "benchmarks" / "results" / "layers.json").read_text())["tasks"]
    rows = dict(re.findall(r"^\| ([\w-]+)(?: \w+)?, [^|]*\|(.*)\|$", page("probe"), re.MULTILINE))
    assert set(rows) == set(tasks) - {"XQuAD"}
    for name, row in rows.items():
        task = tasks[name]
        beside = max(value for key, value in task["baselines"].items() if key != "majority")
        stored = [*task["scores"], *task["mixes"].values(), beside]
        assert [cell.strip(" *") for cell in row.split("|")] == [f"{100 * score:.1f}" for score in stored]
