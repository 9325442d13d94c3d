"""Texts of several kinds, and the same ones as files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.disks import Disk, used

TEXTS = [
    "The kettle sings long before the water boils.",
    "",
    'She said "later", and never came back.',
    "Der Zug hält heute nicht in Köln; 雨が降る。",
    "\u200b",
    "The kettle sings long before the water boils.",
    "rain " * 40,
]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(tmp_path: Path) -> Iterator[None]:
    """Syncing is left out: it takes most of the time, and no test pulls the plug (test_torments.py computes that)."""
    with used(Disk(tmp_path)):
        yield


@pytest.fixture
def texts() -> list[str]:
    """Seven texts: one of them twice, one empty, one of which the tokenizer keeps nothing, one long."""
    return list(TEXTS)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """The texts as a csv file with other columns, some of whose names the units table uses itself."""
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "start", "status", "layer_3"])
        writer.writerows([f"r{i}", text, f"s{i}", f"t{i}", f"l{i}"] for i, text in enumerate(TEXTS))
    return path
