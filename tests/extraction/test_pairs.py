"""Proves that a pair is read as the model was trained to read it, and that its units know which side they stand on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import lamina
import lamina.extraction.regroup
from lamina.extraction.extractor import Extractor
from lamina.jobs.local import run
from tests.oracle import Oracle
from tests.samples import SCRIPTS, prose

PAIR = lamina.Text("Where does the river end?", pair="It flows slowly. The sea is its end. " + SCRIPTS["emoji"])


def test_a_pair_has_the_ids_segments_and_states_of_transformers(minilm: Extractor, minilm_oracle: Oracle) -> None:
    inputs = AutoTokenizer.from_pretrained(minilm.checkpoint.folder)(PAIR.text, PAIR.pair, return_tensors="pt")
    assert inputs["token_type_ids"].sum() > 0
    with torch.inference_mode():
        states = minilm_oracle.model(**inputs, output_hidden_states=True).hidden_states
    found = minilm.extract([PAIR], unit="token")
    assert found.units["token_id"].to_pylist() == inputs["input_ids"][0].tolist()
    for layer, state in enumerate(states):
        error = np.linalg.norm(found.layer(layer) - state[0].numpy()) / np.linalg.norm(state[0].numpy())
        assert error <= 1e-5, layer


@pytest.mark.parametrize("unit", ["text", "sentence", "word"])
def test_units_of_either_side_cut_their_surface_from_their_own_string(minilm: Extractor, unit: str) -> None:
    units = minilm.extract([PAIR], unit=unit, layers=0).units.to_pylist()
    assert {row["side"] for row in units} == {0, 1}
    for row in units:
        assert (PAIR.pair if row["side"] else PAIR.text)[row["start"] : row["end"]] == row["surface"]


def test_a_row_a_text_is_two_for_a_pair_and_unit_pair_is_one(minilm: Extractor) -> None:
    assert len(minilm.extract([PAIR], unit="text", layers=0)) == 2
    assert len(minilm.extract([PAIR], unit="pair", layers=0)) == 1
    mean = minilm.extract([PAIR], unit="pair", layers=4).layer(4)[0]
    tokens = minilm.extract([PAIR], unit="token", layers=4).layer(4)
    np.testing.assert_allclose(mean, tokens.mean(axis=0), rtol=1e-4, atol=1e-5)


def test_the_surface_of_unit_pair_is_as_long_as_its_offsets_say(minilm: Extractor) -> None:
    texts = [PAIR, "alone", lamina.Text("left", pair=""), ""]
    units = minilm.extract(texts, unit="pair", layers=0).units.to_pylist()
    assert [row["surface"] for row in units] == [f"{PAIR.text}\t{PAIR.pair}", "alone", "left\t", ""]
    assert [row["end"] for row in units] == [len(row["surface"]) for row in units]


def test_the_sides_of_a_pair_share_its_tokens_between_them(minilm: Extractor) -> None:
    sides = minilm.extract([PAIR], unit="text", pool="sum", layers=4).layer(4)
    whole = minilm.extract([PAIR], unit="pair", pool="sum", layers=4).layer(4)[0]
    np.testing.assert_allclose(sides.sum(axis=0), whole, rtol=1e-4, atol=1e-3)


def test_a_long_second_text_is_read_in_windows_that_all_hold_the_first(deep: Extractor) -> None:
    long = lamina.Text("river bank", pair=prose(80))
    tokens = deep.extract([long], unit="token", layers=0)
    rows = tokens.units.to_pylist()
    assert tokens.units["n_tokens"].to_pylist() == [1] * len(rows)
    in_order = [row["start"] for row in rows if row["side"] == 1 and not row["special"]]
    assert in_order == sorted(in_order)
    assert deep.extract([long], unit="pair", layers=0).units["n_windows"].to_pylist()[0] > 1
    words = deep.extract([lamina.Text("river bank"), lamina.Text(prose(80))], unit="word", layers=0).units
    assert deep.extract([long], unit="word", layers=0).units["surface"].equals(words["surface"])


def test_a_first_text_that_leaves_no_room_is_named(deep: Extractor) -> None:
    with pytest.raises(lamina.LaminaError, match="text 1 is a pair whose first text takes"):
        deep.extract(["fine", lamina.Text(prose(80), pair="short")])


def test_one_classification_token_serves_a_pair(minilm: Extractor) -> None:
    with pytest.raises(lamina.LaminaError, match="unit='pair'"):
        minilm.extract([PAIR], pool="cls")
    cls = minilm.extract([PAIR], unit="pair", pool="cls", layers=6).layer(6)[0]
    assert np.array_equal(cls, minilm.extract([PAIR], unit="token", layers=6).layer(6)[0])


def test_a_text_that_is_no_pair_has_no_side_whatever_it_is_read_with(deep: Extractor, monkeypatch) -> None:
    texts = ["one", "two", "three", lamina.Text("a", pair="b"), "four"]
    together = deep.extract(texts, layers=0).units
    assert together["side"].to_pylist() == [None, None, None, 0, 1, None]
    monkeypatch.setattr(lamina.extraction.regroup, "MAX_TEXTS", 2)
    assert deep.extract(texts, layers=0).units.equals(together)


def test_a_shard_has_sides_only_where_it_has_a_pair(deep: Extractor, tmp_path: Path, monkeypatch) -> None:
    texts = ["one", "two", "three", lamina.Text("a", pair="b"), "four"]
    hashes = []
    for max_texts in (1, 2, 3, 9):  # what is read together must not show in a shard, as a job may begin at any
        monkeypatch.setattr(lamina.extraction.regroup, "MAX_TEXTS", max_texts)
        made = run(texts, tmp_path / str(max_texts), deep, {"": lamina.Spec(layers="0")}, shard_bytes=192)[""]
        hashes.append([shard.sha256 for shard in made.manifest.shards])
        assert made.units["side"].to_pylist() == [None, None, None, 0, 1, None]
    assert len(hashes[0]) > 2
    assert hashes[1:] == hashes[:-1]
