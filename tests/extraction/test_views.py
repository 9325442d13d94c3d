"""Proves that several tables from one pass are the tables that several passes give, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.extraction.extractor import Extractor
from lamina.jobs.local import run
from tests.samples import SCRIPTS, prose

TEXTS = [prose(40), SCRIPTS["english"], "", SCRIPTS["thai"], SCRIPTS["english"]]
SPECS = {
    "words": lamina.Spec(unit="word", layers="2,5"),
    "texts": lamina.Spec(pool="cls", layers="-1"),
    "sentences": lamina.Spec(unit="sentence", pool="max", layers="0"),
    "mixed": lamina.Spec(combine="mean", layers="-4..-1", pool="position"),
}


def test_each_table_equals_its_own_pass(deep: Extractor) -> None:
    together = deep.extract_views(TEXTS, SPECS)
    for name, spec in SPECS.items():
        alone = deep.extract_views(TEXTS, {name: spec})[name]
        assert together[name].units.equals(alone.units)
        for column, matrix in alone.columns.items():
            assert np.array_equal(together[name].columns[column], matrix, equal_nan=True), (name, column)


def test_a_job_makes_a_dataset_of_each(deep: Extractor, tmp_path: Path) -> None:
    datasets = run(TEXTS, tmp_path, deep, SPECS)
    assert {name: dataset.spec for name, dataset in datasets.items()} == SPECS
    assert len(lamina.open(tmp_path / "words")) == len(datasets["words"])


def test_the_front_door_takes_a_path_or_a_described_file(deep: Extractor, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("t,n\nriver bank,1\nmoney,2\n")
    source = lamina.Source(str(tmp_path / "in.csv"), text="t")
    made = lamina.extract_views(source, tmp_path / "d", {"w": lamina.Spec(unit="word"), "t": lamina.Spec()}, model=deep)
    assert made["w"].units["n"].to_pylist() == ["1", "1", "2"]
    assert made["t"].manifest.made == lamina.open(tmp_path / "d" / "t").manifest.made


def test_views_of_one_pass_must_read_texts_alike(deep: Extractor) -> None:
    with pytest.raises(lamina.LaminaError, match="agree on max_tokens"):
        deep.extract_views(TEXTS, {"a": lamina.Spec(max_tokens=8), "b": lamina.Spec(max_tokens=9)})
    with pytest.raises(lamina.LaminaError, match="nothing is asked for"):
        deep.extract_views(TEXTS, {})
