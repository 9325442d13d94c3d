"""docs/mistakes.md is true: each of its blocks prints what the page says, with transformers and with Lamina."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mistakes() -> ModuleType:
    """examples/mistakes.py, as a module."""
    import sys

    spec = spec_from_file_location("mistakes", ROOT / "examples" / "mistakes.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["mistakes"] = module_from_spec(spec)  # where dataclasses look it up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(mistakes: ModuleType) -> str:
    return str(mistakes.PAGE.read_text(encoding="utf-8"))


def test_every_block_prints_what_the_page_says(mistakes: ModuleType, page: str) -> None:
    blocks = mistakes.blocks(page)
    assert len(blocks) == page.count("\n```python\n")
    assert sum(bool(block.says) for block in blocks) == page.count("\n```text\n") == len(blocks) - 1
    for block, printed in mistakes.run(blocks):
        assert printed == block.says, f"line {block.line} of {mistakes.PAGE}"


def test_each_mistake_has_its_snippet_its_answer_and_its_row_in_the_index(mistakes: ModuleType, page: str) -> None:
    titles = re.findall(r"^## (.+)$", page, re.M)
    anchors = re.findall(r"^\| \[(\d+)\]\(#(.+?)\) \|", page, re.M)
    assert [title.split(".")[0] for title in titles] == [number for number, _ in anchors]
    assert [anchor for _, anchor in anchors] == [
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    ]
    for title in titles:
        codes = [block.code for block in mistakes.blocks(page) if block.title == title]
        section = page.split(f"## {title}\n")[1].split("\n## ")[0]
        assert re.search(r"\b(bert|outputs|tokenizer)\b", codes[0]), title
        assert "model." in section.replace("bert.", ""), title


def test_a_block_that_prints_something_else_is_found(mistakes: ModuleType, tmp_path: Path) -> None:
    page = "```python\nx = 1\n```\n\n## A\n\n```python\nprint(x)\n```\n\n```text\n2\n```\n"
    found = list(mistakes.run(mistakes.blocks(page)))
    assert [(block.title, block.says, printed) for block, printed in found] == [("", "", ""), ("A", "2\n", "1\n")]
