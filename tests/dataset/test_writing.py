"""What a dataset refuses to hold, what it counts, and what is left where writing fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from lamina.dataset.manifest import read_manifest
from lamina.dataset.reader import open_dataset
from lamina.embeddings import Embeddings
from lamina.errors import DatasetError
from tests.dataset.making import LAYERS, embeddings, files_in, manifest, units_of, write


def _with_a_large_number(value: float) -> Embeddings:
    part = embeddings(3)
    part.columns["layer_2"][2, 4] = value
    return part


@pytest.mark.parametrize("value", [65520.0, -70000.0, 3e38])
def test_a_number_beyond_float16_is_refused_with_the_way_out(tmp_path: Path, value: float) -> None:
    with pytest.raises(DatasetError, match=r"layer_2 .*float16.*65,504.*float32"):
        write(tmp_path / "d", [_with_a_large_number(value)])
    with pytest.raises(DatasetError, match="unfinished"):
        open_dataset(tmp_path / "d")


def test_float32_holds_it_and_float16_holds_its_own_largest_number(tmp_path: Path) -> None:
    large = write(tmp_path / "wide", [_with_a_large_number(3e38)], described=manifest(dtype="float32"))
    assert large.layer(2)[2, 4] == np.float32(3e38)
    assert write(tmp_path / "narrow", [_with_a_large_number(65504.0)]).layer(2)[2, 4] == 65504


def test_rows_without_tokens_stay_nan_and_are_counted(tmp_path: Path) -> None:
    units = units_of(["a cold day", "", "two words", ""])
    columns = {f"layer_{k}": np.ones((4, 16), np.float32) for k in LAYERS}
    for matrix in columns.values():
        matrix[[1, 3]] = np.nan
    dataset = write(tmp_path / "d", [Embeddings(units, columns, 4)])
    assert dataset.manifest.statuses == {"empty": 2, "ok": 2}
    assert (dataset.manifest.n_texts, dataset.manifest.n_rows, dataset.manifest.n_tokens) == (4, 4, 5)
    assert np.isnan(dataset.layer(0)).all(axis=1).tolist() == [False, True, False, True]


def test_counts_add_up_over_parts(tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [embeddings(3, first=3 * i) for i in range(4)], shard_a_part=True)
    assert dataset.manifest.n_texts == 12
    assert dataset.manifest.statuses == {"empty": 4, "ok": 8}
    assert dataset.manifest.n_tokens == 8 * 3


def test_a_full_disk_leaves_no_shard_and_nothing_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:  # the folders and the first manifest get through
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "d", [embeddings(3)])
    assert list(files_in(tmp_path)) == ["d/manifest.json"]
    assert read_manifest(tmp_path / "d").complete is False
    assert read_manifest(tmp_path / "d").shards == ()


def test_an_error_in_the_middle_keeps_the_shards_but_calls_them_unfinished(tmp_path: Path) -> None:
    def parts() -> object:
        yield embeddings(2)
        yield embeddings(2, first=2)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write(tmp_path / "d", parts(), shard_a_part=True)  # type: ignore[arg-type]
    assert len(read_manifest(tmp_path / "d").shards) == 2
    with pytest.raises(DatasetError, match=r"unfinished.*4 rows"):
        open_dataset(tmp_path / "d")
