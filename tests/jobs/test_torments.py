"""Proves that nothing is lost, doubled or different when a job is killed, starved, cut off or started twice: every kind
of job, in small numbers. `make torture` does it a thousand times."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.extraction.extractor import Extractor
from lamina.extraction.loading import load
from lamina.jobs import made
from tests.jobs.scenes import Scene, expected_of, scenes
from tests.jobs.torments import Figures, cut_everywhere, fail_everywhere

ROOT = Path(__file__).parents[2]
NAMES = ("new", "two tables", "overwrite", "append", "add", "repair")
EVERY = {"new": 3}  # else one fault and one power cut of so many
MANY = 17


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> Extractor:
    return load(tiny_bert, engine="reference")


@pytest.fixture
def scene(request: pytest.FixtureRequest, model: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(made, "version", str)  # asking for a package's version is slow
    return next(one for one in scenes(model, tmp_path, n_texts=2) if one.name == request.param)


@pytest.mark.parametrize("scene", NAMES, indirect=True)
def test_a_write_that_fails_costs_nothing(scene: Scene, tmp_path: Path) -> None:
    figures = Figures()
    every = EVERY.get(scene.name, MANY)
    fail_everywhere(scene, tmp_path / "work", expected_of(scene, tmp_path), figures=figures, every=every)
    assert figures.wrong == []
    assert figures.done["starts that failed"] > 5


@pytest.mark.parametrize("scene", NAMES, indirect=True)
def test_a_power_cut_costs_what_was_not_committed_and_no_more(scene: Scene, tmp_path: Path) -> None:
    figures, rng = Figures(), random.Random(scene.name)
    every = EVERY.get(scene.name, MANY)
    expected = expected_of(scene, tmp_path)
    cut_everywhere(scene, tmp_path / "work", expected, rng=rng, figures=figures, every=every)
    assert figures.wrong == []
    assert figures.done["power cuts"] > 15


@pytest.mark.skipif(not hasattr(os, "fork"), reason="jobs are killed in forked children")
def test_twenty_kills_and_two_runners_at_once_change_no_byte() -> None:
    command = [sys.executable, "-m", "tests.jobs.torture", "--kills", "20", "--units", "20", "--every", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] >= 20
    assert figures["races"] == len(NAMES)
    assert figures["wrong"] == 0
