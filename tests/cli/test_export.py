"""`lamina export` writes one layer as NumPy reads it, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lamina
from tests.cli.conftest import LAYERS, Cli


@pytest.mark.parametrize("layer", [*LAYERS, -1])
def test_a_layer_is_what_the_dataset_gives(cli: Cli, made: Path, tmp_path: Path, layer: int) -> None:
    outcome = cli("export", made, "--layer", layer, "-o", tmp_path / "x.npy")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{tmp_path / 'x.npy'}: 5 × 384\n"
    found, expected = np.load(tmp_path / "x.npy", allow_pickle=False), lamina.open(made).layer(layer)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


def test_combined_layers_and_a_single_layer_need_no_number(cli: Cli, lines: Path, tmp_path: Path) -> None:
    for options, read in (
        (["--layers", "2"], lambda d: d.layer(2)),
        (["--combine", "concat", "--layers", "1,2", "--dtype", "float32"], lambda d: d.combined),
    ):
        assert cli("extract", lines, "-o", tmp_path / "d", "--overwrite", *options).code == 0
        assert cli("export", tmp_path / "d", "-o", tmp_path / "x.npy").code == 0
        np.testing.assert_array_equal(
            np.load(tmp_path / "x.npy", allow_pickle=False), read(lamina.open(tmp_path / "d"))
        )


def test_without_a_number_several_layers_are_named(cli: Cli, made: Path, tmp_path: Path) -> None:
    outcome = cli("export", made, "-o", tmp_path / "x.npy")
    assert outcome.code == 1
    assert "0, 3, 6" in outcome.sentence


@pytest.mark.parametrize("layer", ["1", "7", "-2"])
def test_a_layer_that_is_not_held_is_named_and_nothing_written(
    cli: Cli, made: Path, tmp_path: Path, layer: str
) -> None:
    outcome = cli("export", made, "--layer", layer, "-o", tmp_path / "x.npy")
    assert outcome.code == 2
    assert f"layer {layer} " in outcome.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.csv", "x", "x.npy.gz", ".npy"])
def test_an_unknown_suffix_is_named(cli: Cli, made: Path, tmp_path: Path, name: str) -> None:
    outcome = cli("export", made, "--layer", "3", "-o", tmp_path / name)
    assert outcome.code == 1
    assert name in outcome.sentence
    assert ".npy" in outcome.sentence


def test_a_place_that_cannot_be_written_is_named(cli: Cli, made: Path, tmp_path: Path) -> None:
    outcome = cli("export", made, "--layer", "3", "-o", tmp_path / "nowhere" / "x.npy")
    assert outcome.code == 1
    assert str(tmp_path / "nowhere" / "x.npy") in outcome.sentence


def test_what_is_no_dataset_is_named(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("export", tmp_path / "nowhere", "--layer", "3", "-o", tmp_path / "x.npy")
    assert outcome.code == 1
    assert f"{tmp_path / 'nowhere'} is no dataset" in outcome.sentence


def test_a_damaged_shard_is_named_and_the_old_file_kept(cli: Cli, lines: Path, tmp_path: Path) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0").code == 0
    (shard,) = (tmp_path / "d" / "shards").iterdir()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF  # 3,840 bytes of vectors are most of the file
    shard.write_bytes(content)
    (tmp_path / "x.npy").write_text("old")
    outcome = cli("export", tmp_path / "d", "--layer", "0", "-o", tmp_path / "x.npy")
    assert outcome.code == 1
    assert shard.name in outcome.sentence
    assert (tmp_path / "x.npy").read_text() == "old"
