"""Proves that `verify` finds every flipped bit, truncation, missing and foreign file, and names the rows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import lamina
from lamina.cli.main import run as cli
from lamina.dataset.verify import verify
from lamina.extraction.extractor import Extractor
from lamina.jobs.local import run


@pytest.fixture
def dataset(tiny: Extractor, tmp_path: Path) -> Path:
    a_row = 2 * 8  # bytes
    run([f"text {i}" for i in range(6)], tmp_path / "d", tiny, {"": lamina.Spec(layers="0")}, shard_bytes=2 * a_row)
    return tmp_path / "d"


def test_a_whole_dataset_has_no_findings(dataset: Path) -> None:
    assert verify(dataset) == []
    assert cli(["verify", str(dataset)]) == 0


def test_every_flipped_bit_of_a_shard_is_found_with_its_rows(dataset: Path) -> None:
    path = sorted((dataset / "shards").iterdir())[1]
    whole = path.read_bytes()
    chosen = random.Random(0)
    for _ in range(300):
        place, bit = chosen.randrange(len(whole)), chosen.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        (finding,) = verify(dataset)
        assert (finding.name, finding.rows) == (path.name, (2, 4))


def test_every_flipped_bit_of_the_manifest_is_found_or_changes_nothing(dataset: Path) -> None:
    path = dataset / "manifest.json"
    whole = path.read_bytes()
    content = json.loads(whole)
    chosen = random.Random(1)
    n_found = 0
    for _ in range(1000):
        place, bit = chosen.randrange(len(whole)), chosen.randrange(8)
        flipped = whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :]
        path.write_bytes(flipped)
        try:
            lamina.open(dataset)
        except lamina.LaminaError:
            n_found += 1
        else:
            assert json.loads(flipped) == content
    assert n_found > 900


@pytest.mark.parametrize("n_bytes", [0, 1, 100, -1])
def test_truncation_is_found(dataset: Path, n_bytes: int) -> None:
    path = sorted((dataset / "shards").iterdir())[0]
    path.write_bytes(path.read_bytes()[:n_bytes])
    (finding,) = verify(dataset)
    assert finding.rows == (0, 2)
    assert "bytes instead of" in finding.problem


def test_missing_and_foreign_files_are_found(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = sorted((dataset / "shards").iterdir())
    foreign = shards[2].rename(shards[2].with_name("part-00009-0123abcd.parquet"))
    assert [(one.name, one.rows) for one in verify(dataset)] == [
        (shards[2].name, (4, 6)),
        (foreign.name, (0, 0)),
    ]
    assert cli(["verify", str(dataset), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["whole"] is False
