"""The help pages say everything there is, and nothing heavy is loaded to show them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module

import click
import pytest

import lamina
from lamina.cli.main import VERBS
from lamina.spec import Spec
from tests.cli.conftest import Cli

HEAVY = (
    "numpy",
    "pyarrow",
    "openvino",
    "tokenizers",
    "rich",
    "huggingface_hub",
    "transformers",
    "torch",
    "safetensors",
)


def _options(verb: str) -> list[click.Option]:
    command = import_module(f"lamina.cli.{verb}").command
    return [option for option in command.params if isinstance(option, click.Option)]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_page_says_every_option_with_a_text(cli: Cli, verb: str) -> None:
    outcome = cli(verb, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    page = " ".join(outcome.out.split())
    assert page.startswith(f"Usage: lamina {verb} [OPTIONS]")
    for option in _options(verb):
        assert option.help, f"{option.name} has no text"
        assert " ".join(option.help.split()) in page
        assert all(name in page for name in option.opts)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_what_it_does_and_so_does_the_list(cli: Cli, verb: str) -> None:
    assert VERBS[verb] in " ".join(cli("--help").out.split())
    assert len(import_module(f"lamina.cli.{verb}").command.help) > 30


GROUPS = ("search", "classify", "tag", "train")


def _pages(cli: Cli) -> list[str]:
    """The help of every verb, and of every command of those that are groups."""
    asked = [[verb] for verb in VERBS]
    for verb in GROUPS:
        group = import_module(f"lamina.cli.{verb}").command
        asked += [[verb, name] for name in group.list_commands(click.Context(group))]
    return [" ".join(cli(*words, "--help").out.split()) for words in asked]


def test_no_option_says_two_defaults(cli: Cli) -> None:
    pages = _pages(cli)
    assert len(pages) > len(VERBS) + 10
    for page in pages:
        assert not re.search(r"\[default: [^]]*\] \[default:", page), page


@pytest.mark.parametrize("verb", GROUPS)
def test_a_groups_list_says_whole_sentences(cli: Cli, verb: str) -> None:
    listed = re.split(r"\n(?:Commands|Kinds):\n", cli(verb, "--help").out)[1]
    assert len(listed.splitlines()) >= 3
    assert "..." not in listed


@pytest.mark.parametrize("verb", ["attention", "lens"])
def test_what_extracts_no_dataset_offers_to_keep_none(verb: str) -> None:
    assert "keep" not in {option.name for option in _options(verb)}


def test_a_mistyped_verb_is_told_the_nearest(cli: Cli) -> None:
    outcome = cli("extarct", "in.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == "Error: No such verb 'extarct'. Did you mean 'extract'?"
    assert cli("xyz").err.splitlines()[-1].startswith("Error: No such command 'xyz'")


def test_every_field_of_a_spec_is_an_option_with_the_same_default() -> None:
    values = import_module("lamina.cli.extract").command.make_context("extract", ["in.csv", "-o", "d"]).params
    assert {field.name: values.get(field.name, "absent") for field in fields(Spec)} == {
        field.name: field.default for field in fields(Spec)
    }


def test_help_comes_by_its_short_name_too(cli: Cli) -> None:
    for verb in ([], *([verb] for verb in VERBS)):
        assert cli(*verb, "-h") == cli(*verb, "--help")


def test_the_version_is_the_packages(cli: Cli) -> None:
    outcome = cli("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"lamina {lamina.__version__}\n", "")


def test_no_verb_shows_the_list_and_exits_with_2(cli: Cli) -> None:
    outcome = cli()
    assert outcome.code == 2
    for verb in VERBS:
        assert verb in outcome.err


def test_the_program_and_the_module_are_one(process: Cli) -> None:
    done = subprocess.run([sys.executable, "-m", "lamina", "--help"], capture_output=True, text=True, check=True)
    assert process("--help").out == done.stdout


@pytest.mark.parametrize(
    "what",
    ["import lamina", *(f"lamina.cli.main.run({[*verb, '--help']!r})" for verb in ([], *([verb] for verb in VERBS)))],
)
def test_nothing_heavy_is_loaded_for(what: str) -> None:
    script = (
        f"import sys, lamina\nif {what!r} != 'import lamina':\n    import lamina.cli.main\n    {what}\n"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
