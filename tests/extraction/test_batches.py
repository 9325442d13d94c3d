"""Proves which lengths texts are padded to, and how they are cut into batches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lamina.extraction.batches import make_batches, padded_length
from lamina.extraction.chunk import Chunk, make_chunk
from lamina.extraction.extractor import Extractor
from lamina.extraction.plan import make_plan
from lamina.spec import Overlap, Pool, Spec
from lamina.text.source import rows_of


def _chunk(model: Extractor, texts: list[str]) -> Chunk:
    plan = make_plan({"": Spec()}, model.architecture, model.tokenizer.template)
    (rows,) = rows_of(texts)
    return make_chunk(rows, plan, model.tokenizer, first_row=0)


def test_lengths_are_padded_to_multiples_of_eight_within_the_model() -> None:
    lengths = np.array([1, 8, 9, 63, 65, 127, 510])
    assert padded_length(lengths, 511).tolist() == [8, 8, 16, 64, 72, 128, 511]


def test_where_it_pays_long_ones_are_padded_to_multiples_of_sixteen() -> None:
    lengths = np.array([9, 17, 40, 49, 64, 65, 73, 80, 81, 97, 500])
    assert padded_length(lengths, 505, fine_tokens=64).tolist() == [16, 24, 40, 56, 64, 80, 80, 80, 96, 112, 505]


def test_batches_hold_round_numbers_of_one_length_within_the_budget(tiny: Extractor) -> None:
    texts = [f"{'a ' * (2 + k % 2 * 9)}{k}" for k in range(100)]
    chunk = _chunk(tiny, texts)
    made = [batch for batch, _ in make_batches(chunk, batch_tokens=160, max_positions=64, packs=False)]
    assert sum(len(batch.lengths) for batch in made) == len(chunk.windows)
    for one, after in pairwise(made):
        full = {8: 20, 16: 10, 24: 6}[one.ids.shape[1]]
        assert len(one.lengths) == full or after.ids.shape != one.ids.shape
    assert max(batch.ids.size for batch in made) <= 160


def test_a_text_larger_than_the_budget_is_a_batch(tiny: Extractor) -> None:
    made = list(make_batches(_chunk(tiny, ["a b c d", "a"]), batch_tokens=1, max_positions=64, packs=False))
    assert [batch.ids.shape for batch, _ in made] == [(1, 8), (1, 8)]


@pytest.mark.parametrize(
    ("pool", "overlap"),
    [("mean", "centre"), ("mean", "mean"), ("max", "centre"), ("position", "mean"), ("idf", "mean"), ("last", "mean")],
)
def test_small_chunks_give_the_bits_of_one(
    tiny: Extractor, monkeypatch: pytest.MonkeyPatch, pool: Pool, overlap: Overlap
) -> None:
    texts = [f"{'the river bank ' * (k * 7 % 40)}{k % 11}" for k in range(60)]
    specs = {unit: Spec(unit=unit, pool=pool, overlap=overlap, layers="0,1") for unit in ("text", "word")}
    whole = tiny.extract_views(texts, specs)
    monkeypatch.setattr("lamina.extraction.regroup.MAX_TEXTS", 7)
    parts = tiny.extract_views(texts, specs)
    for unit in specs:
        assert parts[unit].units.equals(whole[unit].units)
        for name, matrix in whole[unit].columns.items():
            np.testing.assert_array_equal(parts[unit].columns[name], matrix)
