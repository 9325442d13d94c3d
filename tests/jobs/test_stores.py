"""Proves that a job of several shards gives the same rows however they are stored, in one piece and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import lamina
from lamina.dataset.manifest import Store
from lamina.jobs.local import run
from lamina.text.source import Source


@pytest.mark.parametrize("store", get_args(Store))
def test_several_shards_hold_what_one_of_parquet_holds(tiny_bert: Path, tmp_path: Path, store: Store) -> None:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"text number {i} of many\n" for i in range(200)))
    model, specs = lamina.load(tiny_bert), {"": lamina.Spec(unit="token")}
    whole = run(Source(str(path)), tmp_path / "whole", model, specs)[""]
    made = run(Source(str(path)), tmp_path / "d", model, specs, store=store, shard_bytes=1 << 14)[""]
    assert len(whole.manifest.shards) == 1
    assert len(made.manifest.shards) > 3
    assert made.units.equals(whole.units)
    for layer in whole.layers:
        np.testing.assert_array_equal(made.layer(layer), whole.layer(layer))
