"""Proves that a filter means what it says, and that nothing else than a filter is read as one."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lamina.apps.where import Condition, parse_where, rows_where
from lamina.errors import SpecError

UNITS = pa.table(
    {
        "stars": [1, 4, 5, None],
        "price": ["9.5", "10", "", "100"],  # as from csv: strings
        "lang": ["de", "en", "de", "zh"],
        "a name": ["x and y", "z", "it's", "x"],
        "cut": [True, False, None, False],
        "zh 列": ["河", "水", "河", ""],
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ("stars>=4", [1, 2]),
        ("stars >= 4 and lang==de", [2]),
        ("stars>=4 AND lang = de and price != ''", []),
        ("stars<5", [0, 1]),
        ("stars!=4", [0, 2]),  # no value, no condition met
        ("price>9.6", [1, 3]),  # as numbers: "100" is more than "9.5"
        ("price==10", [1]),
        ("price==10.0", []),  # as strings
        ("lang==de", [0, 2]),
        ('"a name"=="x and y"', [0]),
        ("'a name' == \"it's\"", [2]),
        ("cut==true", [0]),
        ("cut!=true", [1, 3]),
        ("'zh 列'==河", [0, 2]),
    ],
)
def test_what_is_kept(where: str, rows: list[int]) -> None:
    assert rows_where(UNITS, where).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    "where",
    [
        "",
        "stars",
        "stars>=",
        ">=4",
        "stars>=4 lang==de",
        "stars>=4 and",
        "stars>=4 or lang==de",
        "stars=>4",
        "stars>='4",
        "a name==z",
        "missing==1",
        "stars>=four",
        "lang>de",
        "cut==perhaps",
        "__import__('os').system('true')",
        "stars>=4; drop",
    ],
)
def test_what_is_no_filter_is_refused(where: str) -> None:
    with pytest.raises(SpecError):
        rows_where(UNITS, where)


def test_conditions_print_as_they_parse() -> None:
    for condition in (Condition("stars", ">=", "4"), Condition("a name", "==", "x and y"), Condition("and", "!=", "")):
        assert parse_where(str(condition)) == (condition,)
