"""Runs docs/mistakes.md: every common mistake with transformers, then Lamina's way, and prints what each computes.

    pip install torch transformers
    python examples/mistakes.py        exits with 1 where a block prints something else than the page says

The page is the program. Its first Python block is the preparation; every other one runs by itself after it, in the
repository's root, and prints exactly the text block that stands below it (none: it prints nothing). The model is the
bundled MiniLM: nothing is downloaded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mistakes.md"

_PIECE = re.compile(
    r"^## (?P<title>.+?)$|^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<says>.*?)^```\n)?", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """One Python block of the page: its section, its place, its code, and what the page says that it prints."""

    title: str
    line: int
    code: str
    says: str


def blocks(page: str) -> list[Block]:
    """The page's Python blocks, in order."""
    found, title = [], ""
    for piece in _PIECE.finditer(page):
        if piece["title"]:
            title = piece["title"]
        else:
            line = page.count("\n", 0, piece.start()) + 2
            found.append(Block(title, line, piece["code"], piece["says"] or ""))
    return found


def run(page: list[Block]) -> Iterator[tuple[Block, str]]:
    """Each block with what it prints. The first prepares; the others see its names and not each other's."""
    prepared: dict[str, object] = {"__name__": "__main__"}
    for number, block in enumerate(page):
        names = dict(prepared) if number else prepared
        printed = StringIO()
        code = compile("\n" * (block.line - 1) + block.code, str(PAGE), "exec")  # so that errors name the page's line
        with chdir(ROOT), redirect_stdout(printed):
            exec(code, names)  # noqa: S102 - the page is ours
        yield block, printed.getvalue()


def main() -> int:
    title, n_different = "", 0
    for block, printed in run(blocks(PAGE.read_text(encoding="utf-8"))):
        if block.title != title:
            title = block.title
            print(f"\n{title}")
        print("".join(f"    {line}\n" for line in printed.splitlines()), end="")
        if printed != block.says:
            n_different += 1
            print(f"    ^ line {block.line} of the page says otherwise:\n{block.says}")
    return int(n_different > 0)


if __name__ == "__main__":
    sys.exit(main())
