"""Proves that counts are rounded to few numbers, and never by much."""

from __future__ import annotations

from lamina.engine.batch import round_down, round_up


def test_a_small_count_is_left_as_it_is() -> None:
    assert [round_up(n) for n in range(9)] == [round_down(n) for n in range(9)] == list(range(9))


def test_counts_are_rounded_to_the_nearest_of_three_bits() -> None:
    assert [round_down(n) for n in (9, 10, 15, 17, 39, 40, 85)] == [8, 10, 14, 16, 32, 40, 80]
    assert [round_up(n) for n in (9, 10, 15, 17, 33, 40, 85)] == [10, 10, 16, 20, 40, 40, 96]


def test_few_numbers_are_left_and_what_is_round_stays() -> None:
    for count in range(1, 5_000):
        assert count * 4 / 5 < round_down(count) <= count <= round_up(count) < count * 5 / 4
        assert round_up(round_up(count)) == round_up(count) == round_down(round_up(count))
    assert len({round_up(n) for n in range(1, 1_025)}) == 8 + 7 * 4
