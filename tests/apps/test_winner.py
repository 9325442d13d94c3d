"""Proves that a winner comes back from its file as it went in, and that what is no winner is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamina.apps.winner import Winner, read_winner
from lamina.errors import SpecError

WINNER = Winner("minilm", "0.12,1e-05:3,4", unit="word", pool="first", label="tags", scores={"accuracy": 0.9})


def test_it_comes_back_as_it_went_in(tmp_path: Path) -> None:
    WINNER.save(tmp_path / "w.json")
    assert read_winner(tmp_path / "w.json") == WINNER


@pytest.mark.parametrize(
    ("layer", "layers", "combine"),
    [("4", "4", "none"), ("mean:3,4", "3,4", "mean"), ("concat:0,2", "0,2", "concat"), ("0.1,2:3,4", "3,4", "0.1,2")],
)
def test_its_spec_extracts_just_what_it_needs(layer: str, layers: str, combine: str) -> None:
    spec = Winner("minilm", layer, pool="max").spec()
    assert (spec.layers, spec.combine, spec.pool, spec.unit) == (layers, combine, "max", "text")


def test_what_a_newer_one_adds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    WINNER.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "mood": "good"}))
    assert read_winner(path) == WINNER


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no winner of a probe"),
        ("[]", "lamina probe --save"),
        ('{"format": "lamina-winner", "format_version": 9}', "format version 9"),
        ('{"format": "lamina-winner", "format_version": 1}', "no whole winner"),
        ('{"format": "lamina-winner", "format_version": 1, "model": "m", "layer": 4}', "layer of a winner must be"),
        ('{"format": "lamina-winner", "format_version": 1, "model": "m", "layer": "x"}', "'x'"),
        ('{"format": "lamina-winner", "format_version": 1, "model": "m", "layer": "4", "unit": "leg"}', "unit must be"),
        ('{"format": "lamina-winner", "format_version": 1, "model": "m", "layer": "4", "scores": 1}', "a mapping"),
    ],
)
def test_what_is_no_winner_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "w.json"
    path.write_text(content)
    with pytest.raises(SpecError, match=said):
        read_winner(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"w\.json cannot be read"):
        read_winner(tmp_path / "w.json")
