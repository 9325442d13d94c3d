"""Proves that packing loses, adds and mixes up nothing, against a twin that goes token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.engine.batch import Batch, Rows
from lamina.engine.torch_packed import Group, Packed, pack
from lamina.model.positions import Counted

lengths_lists = st.lists(st.integers(1, 6), min_size=1, max_size=9)


def batch_of(lengths: list[int], *, seed: int = 0) -> Batch:
    """Sequences of these lengths, what is padded full of numbers that must not be seen, and two places a row."""
    random = np.random.default_rng(seed)
    ids, types = random.integers(0, 9, (2, len(lengths), max(lengths) + 1)).astype(np.int32)
    places = np.concatenate([b * ids.shape[1] + np.arange(n) for b, n in enumerate(lengths)])
    index = random.permutation(np.repeat(places, 2)).astype(np.int32)
    rows = Rows(index, np.arange(0, index.size, 2, dtype=np.int32))
    return Batch(ids, types, np.array(lengths, np.int32), (rows,))


def slowly(batch: Batch, packed: Packed, uncounted: int) -> list[tuple[int, ...]]:
    """For each packed row its token's id, type, place and counted position, and its place in the batch laid flat."""
    found = []
    S = batch.ids.shape[1]
    for b in packed.order.tolist():
        counted = 0
        for place in range(int(batch.lengths[b])):
            token = int(batch.ids[b, place])
            counted += token != uncounted
            position = uncounted + counted if token != uncounted else uncounted
            found.append((token, int(batch.types[b, place]), place, position, b * S + place))
    return found


@settings(deadline=None)
@given(lengths=lengths_lists, tile=st.sampled_from([None, 1, 4, 7, 64]), seed=st.integers(0, 3))
def test_every_token_is_there_once_with_its_numbers(lengths: list[int], tile: int | None, seed: int) -> None:
    batch, counted = batch_of(lengths, seed=seed), Counted(2)
    packed = pack(batch, position_index=counted, tile=tile)
    expected = slowly(batch, packed, 2)
    T = len(expected)
    assert packed.n_tokens == T == sum(lengths)
    assert packed.n_rows == (T if tile is None else -(-T // tile) * tile)
    columns: list[Any] = ["token", "type", "position", counted]
    for column, kind in enumerate(columns):
        assert packed.index[kind].tolist()[:T] == [row[column] for row in expected]
        assert not packed.index[kind][T:].any()
        assert packed.index[kind].dtype == np.int32
    flat = np.array([row[4] for row in expected])
    assert np.array_equal(flat[packed.rows[0].index], batch.rows[0].index)
    assert np.array_equal(packed.rows[0].offsets, batch.rows[0].offsets)


@settings(deadline=None)
@given(lengths=lengths_lists)
def test_groups_cover_all_sequences_the_longest_first(lengths: list[int]) -> None:
    packed = pack(batch_of(lengths), position_index="position")
    assert sorted(packed.order.tolist()) == list(range(len(lengths)))
    assert [lengths[b] for b in packed.order] == sorted(lengths, reverse=True)
    assert packed.bounds.tolist() == [0, *np.cumsum(sorted(lengths, reverse=True)).tolist()]
    groups = packed.groups
    assert [group.length for group in groups] == sorted(set(lengths), reverse=True)
    assert [group.n for group in groups] == [lengths.count(group.length) for group in groups]
    assert [group.low for group in groups] == [
        packed.bounds[sum(n > group.length for n in lengths)] for group in groups
    ]


@pytest.mark.parametrize(("n", "parts"), [(1, [(5, 1), (8, 1), (11, 1)]), (2, [(5, 2), (11, 1)]), (3, [(5, 3)])])
def test_a_group_is_divided_between_sequences(n: int, parts: list[tuple[int, int]]) -> None:
    assert [(part.low, part.n) for part in Group(5, 3, 3).parts(n)] == parts
