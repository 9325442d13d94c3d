"""Proves that every test that SECURITY.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_claim_has_its_test() -> None:
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 12
    assert not {name for name in named if f"def {name}(" not in tests}
    files = set(re.findall(r"`(tests/\w+/test_\w+\.py)`", page)) | {
        f"tests/hostile/{n}" for n in re.findall(r"`(test_\w+\.py)`", page)
    }
    assert not {name for name in files if not (ROOT / name).is_file()}
    targets = set(re.findall(r"the targets? `(\w+)`(?:, `(\w+)`)?", page))
    from fuzz.targets import TARGETS

    assert {name for pair in targets for name in pair if name} <= TARGETS.keys()
