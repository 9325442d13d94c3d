"""Proves that the map names every file of the house, and no file that is not there; that the house says it is typed."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_map_and_the_house_agree() -> None:
    rows = [line for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines() if line.startswith("| ")]
    named: set[str] = set()
    room = ""
    for row in rows:
        cells = [cell.strip() for cell in row.split("|")[1:-1]]
        if len(cells) == 3 and "file" not in cells:
            room = cells[0].strip("`") or room
            inside = "" if not room or room == "-" else room
            named |= {f"{inside}{name}" for name in re.findall(r"`(\w+\.py)`", cells[1])}
    package = ROOT / "src" / "lamina"
    there = {str(path.relative_to(package)) for path in package.rglob("*.py") if not path.name.startswith("__")}
    assert named == there


def test_type_checkers_are_told_that_there_are_types() -> None:
    assert "Typing :: Typed" in (ROOT / "pyproject.toml").read_text()
    assert (ROOT / "src" / "lamina" / "py.typed").is_file()
