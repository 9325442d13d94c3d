"""Proves that every token of a long text is taken once, from the window where it stands deepest in context."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.errors import TextError
from lamina.text.tokens import Tokens
from lamina.text.windows import Windows, check_lengths, fill, make_segments, make_windows, n_taken
from tests.text.tokens_by_hand import tokens_counted


def owner_of(windows: Windows, token: int) -> int:
    (owner,) = np.flatnonzero((windows.first <= token) & (token < windows.last))  # exactly one
    return int(owner)


def ids_of(tokens: Tokens, windows: Windows, window: int) -> list[int]:
    """The ids of one window, as the engine gets them."""
    row = np.full((1, int(windows.length[window])), -1, np.int32)
    fill(row, tokens.ids, tokens, windows, np.array([window]))
    return list(row[0].tolist())


def spans(count: int, room: int, step: int) -> list[tuple[int, int]]:
    """The slow twin's windows over one text's ordinary tokens: step apart, the last one full."""
    found = [(0, min(room, count))]
    while found[-1][1] < count:
        start = min(found[-1][0] + step, count - room)
        found.append((start, start + room))
    return found


def depth(place: int, span: tuple[int, int], count: int) -> float:
    """Tokens between a place and the nearer cut edge; the edges of the text are no cuts."""
    before = np.inf if span[0] == 0 else place - span[0]
    after = np.inf if span[1] == count else span[1] - 1 - place
    return float(min(before, after)) if span[0] <= place < span[1] else -1.0


texts = st.lists(st.integers(0, 60), min_size=1, max_size=4)


@settings(max_examples=400)
@given(counts=texts, room=st.integers(1, 12), data=st.data(), n_prefix=st.integers(0, 2), n_suffix=st.integers(0, 2))
def test_every_token_is_taken_once_and_where_it_is_deepest(
    counts: list[int], room: int, data: st.DataObject, n_prefix: int, n_suffix: int
) -> None:
    step = data.draw(st.integers(1, room))
    tokens = tokens_counted(counts, n_prefix=n_prefix, n_suffix=n_suffix)
    windows = make_windows(tokens, max_tokens=room + n_prefix + n_suffix, stride=step)
    expected = [(i, span) for i, count in enumerate(counts) for span in spans(count, room, step)]
    assert windows.text.tolist() == [i for i, _ in expected]
    assert (windows.origin - tokens.bounds[windows.text]).tolist() == [span[0] for _, span in expected]
    assert windows.length.tolist() == [span[1] - span[0] + n_prefix + n_suffix for _, span in expected]
    assert (n_taken(tokens, windows) == 1).all()
    for i, count in enumerate(counts):
        of_text = [w for w, (text, _) in enumerate(expected) if text == i]
        for place in range(count):
            owner = owner_of(windows, int(tokens.bounds[i]) + n_prefix + place)
            assert owner in of_text
            depths = [depth(place, expected[w][1], count) for w in of_text]
            assert depths[owner - of_text[0]] == max(depths)
        specials = range(int(tokens.bounds[i]), int(tokens.bounds[i + 1]))
        for token in specials[:n_prefix]:
            assert owner_of(windows, token) == of_text[0]
        for token in specials[len(specials) - n_suffix :]:
            assert owner_of(windows, token) == of_text[-1]


@settings(max_examples=200)
@given(counts=texts, room=st.integers(1, 12), data=st.data())
def test_segments_give_each_unit_its_tokens_once_and_in_order(
    counts: list[int], room: int, data: st.DataObject
) -> None:
    tokens = tokens_counted(counts)
    windows = make_windows(tokens, max_tokens=room + 2, stride=data.draw(st.integers(1, room)))
    n = tokens.ids.size
    edges = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)) + tokens.bounds.tolist())
    first, last = np.array(edges[:-1]), np.array(edges[1:])  # some of them empty
    segments = make_segments(first, last, windows)
    assert (np.diff(segments.window) >= 0).all()
    assert (segments.first < segments.last).all()
    taken: dict[int, list[int]] = {}
    for unit, window, low, high in zip(segments.unit, segments.window, segments.first, segments.last, strict=True):
        row = ids_of(tokens, windows, int(window))
        origin = int(windows.origin[window])
        taken.setdefault(int(unit), []).extend(row[low - origin : high - origin])  # ids number the tokens
    expected = {u: list(range(a, b)) for u, (a, b) in enumerate(zip(first, last, strict=True)) if a < b}
    assert taken == expected


@settings(max_examples=100)
@given(counts=texts, room=st.integers(1, 12), data=st.data())
def test_averaged_windows_give_each_token_as_often_as_it_stands_in_one(
    counts: list[int], room: int, data: st.DataObject
) -> None:
    tokens = tokens_counted(counts)
    step = data.draw(st.integers(1, room))
    windows = make_windows(tokens, max_tokens=room + 2, stride=step, overlap="mean")
    held = [spans(count, room, step) for count in counts]
    expected = [
        [1, *(sum(a <= place < b for a, b in held[i]) for place in range(count)), 1] for i, count in enumerate(counts)
    ]
    assert n_taken(tokens, windows).tolist() == [n for of_text in expected for n in of_text]
    segments = make_segments(tokens.bounds[:-1], tokens.bounds[1:], windows)
    times = np.zeros(tokens.ids.size, int)
    for window, low, high in zip(segments.window, segments.first, segments.last, strict=True):
        origin = int(windows.origin[window])
        seen = ids_of(tokens, windows, int(window))[low - origin : high - origin]
        assert seen == list(range(low, high))
        times[low:high] += 1
    assert times.tolist() == n_taken(tokens, windows).tolist()


def test_a_text_that_fits_is_one_window() -> None:
    windows = make_windows(tokens_counted([3, 0, 5]), max_tokens=7, stride=None)
    assert windows.text.tolist() == [0, 1, 2]
    assert windows.length.tolist() == [5, 2, 7]


def test_no_text_has_no_window() -> None:
    assert len(make_windows(tokens_counted([]), max_tokens=7, stride=None)) == 0


def test_one_token_too_many_makes_a_second_window() -> None:
    windows = make_windows(tokens_counted([5, 6]), max_tokens=7, stride=None)
    assert windows.text.tolist() == [0, 1, 1]
    assert windows.length.tolist() == [7, 7, 7]


def test_windows_are_three_quarters_apart_unless_asked_otherwise() -> None:
    tokens = tokens_counted([40])
    assert make_windows(tokens, max_tokens=14, stride=None).origin.tolist() == [0, 9, 18, 27, 28]
    assert make_windows(tokens, max_tokens=14, stride=12).origin.tolist() == [0, 12, 24, 28]


def test_every_window_stands_between_the_special_tokens() -> None:
    tokens = tokens_counted([1, 9])
    windows = make_windows(tokens, max_tokens=6, stride=4)
    rows = np.full((len(windows), 8), -1, np.int32)
    fill(rows, tokens.ids, tokens, windows, np.arange(len(windows)))
    assert rows.tolist() == [
        [0, 1, 2, -1, -1, -1, -1, -1],
        [3, 4, 5, 6, 7, 13, -1, -1],
        [3, 8, 9, 10, 11, 13, -1, -1],
        [3, 9, 10, 11, 12, 13, -1, -1],
    ]


def test_a_text_that_is_too_long_is_refused_with_both_numbers() -> None:
    check_lengths(tokens_counted([3, 5]), max_tokens=7)
    with pytest.raises(TextError, match=r"text 1 has 8 tokens, more than 7.*long='window'.*long='truncate'") as caught:
        check_lengths(tokens_counted([3, 6, 9]), max_tokens=7)
    assert caught.value.row == 1
