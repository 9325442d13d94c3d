"""Proves that a text that is cut says so, unit by unit, and that what was kept is what the model saw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lamina.errors import TextError
from lamina.extraction.extractor import Extractor

TEXT = "a b cde f g"  # with a vocabulary of letters: a, b, c ##d ##e, f, g
CUT = {"long": "truncate", "max_tokens": 6}  # four of seven


def column(found: Any, name: str) -> list[Any]:
    return list(found.units[name].to_pylist())


def test_a_text_that_is_cut_says_so_and_counts_what_was_kept(deep: Extractor) -> None:
    found = deep.extract(["a b", TEXT], **CUT)  # type: ignore[arg-type]
    assert column(found, "status") == ["ok", "cut"]
    assert column(found, "n_tokens") == [2, 4]
    assert column(found, "n_windows") == [1, 1]
    assert column(found, "surface") == ["a b", TEXT]


def test_what_was_kept_is_a_text_of_its_own(deep: Extractor) -> None:
    for pool in ("mean", "max", "cls", "first", "last"):
        found = deep.extract([TEXT], pool=pool, **CUT)  # type: ignore[arg-type]
        kept = deep.extract(["a b cd"], pool=pool)  # type: ignore[arg-type]
        for layer in found.layers:
            assert np.array_equal(found.layer(layer), kept.layer(layer))


def test_words_that_lose_tokens_say_so_and_those_that_lose_all_are_nan(deep: Extractor) -> None:
    found = deep.extract([TEXT], unit="word", **CUT)  # type: ignore[arg-type]
    assert column(found, "surface") == ["a", "b", "cde", "f", "g"]
    assert column(found, "n_tokens") == [1, 1, 2, 0, 0]
    assert column(found, "status") == ["ok", "ok", "cut", "cut", "cut"]
    assert column(found, "n_windows") == [1, 1, 1, 0, 0]
    assert np.isnan(found.layer(5)).all(axis=1).tolist() == [False, False, False, True, True]


def test_a_token_row_never_bears_another_tokens_name(deep: Extractor) -> None:
    whole = deep.extract([TEXT], unit="token")
    found = deep.extract([TEXT], unit="token", **CUT)  # type: ignore[arg-type]
    columns = (column(whole, name) for name in ("start", "token", "token_id"))
    names = {start: (token, token_id) for start, token, token_id in zip(*columns, strict=True)}
    for row, special in enumerate(column(found, "special")):
        name = (column(found, "token")[row], column(found, "token_id")[row])
        if not special:
            none = ("", -1)  # what the model never saw may have no name
            assert name in (names[column(found, "start")[row]], none if column(found, "status")[row] == "cut" else ())


def test_a_token_that_the_model_did_not_see_is_no_row_or_says_so(deep: Extractor) -> None:
    found = deep.extract([TEXT], unit="token", **CUT)  # type: ignore[arg-type]
    seen = [status == "ok" for status in column(found, "status")]
    assert sum(seen) == 6
    assert np.isfinite(found.layer(5)).all(axis=1).tolist() == seen
    assert [count > 0 for count in column(found, "n_tokens")] == seen


def test_a_text_that_is_refused_names_its_row_and_length(deep: Extractor) -> None:
    with pytest.raises(TextError, match="text 1 has 9 tokens, more than 6") as caught:
        deep.extract(["a b", TEXT], long="error", max_tokens=6)
    assert caught.value.row == 1
    assert len(deep.extract(["a b", TEXT], long="error", max_tokens=9)) == 2


def test_a_model_cuts_at_its_own_positions_unless_told(tiny: Extractor) -> None:
    found = tiny.extract(["a " * 40], long="truncate")
    assert column(found, "n_tokens") == [14]
    assert column(found, "status") == ["cut"]
