"""Strings that have broken other software, and worse ones: each gets its vectors, none changes another's by a bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina.extraction.extractor import Extractor
from tests.samples import BARE, TEXTS

WORSE = [
    "\u202e" * 50 + "reversed", "a" + "\u0301" * 500, "👩‍" * 200, "\ufdfa" * 100, "\U0001f1eb" * 99, "\u0d4d" * 64,
    "\x00" * 300,
    "\ufeff", "\ufffe\uffff", "\U0010ffff" * 20, "ﬃ" * 80, "İ" * 80, "ß" * 80, "\u1e9e", "\u0345" * 40, "\u200b" * 999,
    "[CLS][SEP][PAD][MASK][UNK]", "##ing ##", "\r" * 100, "\u2028" * 100, "\u180e\u2060\u034f", "x" * 5_000, ". " * 800,
]  # fmt: skip


@pytest.mark.parametrize("unit", ["text", "word", "sentence", "token"])
def test_every_string_between_two_others(minilm: Extractor, shared_data: Path, unit: str) -> None:
    naughty = json.loads((shared_data / "naughty_strings" / "blns.json").read_text("utf-8"))
    _check(minilm, naughty, unit)


@pytest.mark.parametrize("unit", ["text", "word", "sentence", "token"])
def test_worse_ones(tiny: Extractor, unit: str) -> None:
    _check(tiny, [*WORSE, *TEXTS, *BARE], unit)


def _check(model: Extractor, strings: list[str], unit: str) -> None:
    beside = "The kettle sings long before the water boils."
    alone = model.extract([beside], unit=unit, layers=(0, 1))  # type: ignore[arg-type]
    mixed = [text for string in strings for text in (string, beside)]
    found = model.extract(mixed, unit=unit, layers=(0, 1), on_error="mark")  # type: ignore[arg-type]
    ids, status = found.units["text_id"].to_numpy(), np.array(found.units["status"].to_pylist())
    assert "error" not in status
    for layer in (0, 1):
        rows = found.layer(layer)[ids % 2 == 1].reshape(len(strings), len(alone), -1)
        assert (rows == alone.layer(layer)).all()
        assert (np.isnan(found.layer(layer)).any(axis=1) == (status == "dropped")).all()
    texts = found.units["surface"].to_pylist()
    starts, ends = found.units["start"].to_numpy(), found.units["end"].to_numpy()
    for row in np.flatnonzero(~found.units["special"].to_numpy(zero_copy_only=False)).tolist():
        assert texts[row] == mixed[ids[row]][starts[row] : ends[row]]


def test_naughty_strings_survive_a_file_and_a_dataset(tiny: Extractor, tmp_path: Path) -> None:
    strings = [*WORSE, *TEXTS, *BARE]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": text, "same": text}) + "\n" for text in strings))
    units = lamina.extract(path, tmp_path / "d", model=tiny).units
    assert units["surface"].to_pylist() == strings
    assert units["same"].to_pylist() == strings
