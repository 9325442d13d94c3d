"""Proves that a text's vectors have the same bits whatever else is computed, in what order, and on how many threads.

Each text is computed alone, once; then any company, order, batch budget, repetition and number of threads must give
back the very same bits, in every unit, pool and precision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lamina
import lamina.extraction.regroup
from lamina.embeddings import Embeddings, concatenate
from lamina.extraction.extractor import Extractor
from tests.samples import SCRIPTS, prose

# Lengths on both sides of the padding's steps and of the windows' size, empty ones, and windows in plenty.
POOL = [
    "", "a", "\x00", "the river", "the wide river bends", *(prose(1, start=i) for i in range(12)), prose(2), prose(3),
    prose(3, start=1), prose(5), prose(12), SCRIPTS["chinese"], SCRIPTS["emoji"], SCRIPTS["thai"],
]  # fmt: skip
CASES = [
    ("text", "mean"), ("text", "max"), ("text", "position"), ("sentence", "sqrt"), ("word", "mean"), ("word", "max"),
    ("token", "mean"),
]  # fmt: skip
WINDOWED = {"layers": "0,2,6", "long": "window", "max_tokens": 32}

few = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
companies = st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=30)
budgets = st.sampled_from([1, 48, 200, 777, 4096])


MODES = ["openvino float32", "openvino bfloat16", "openvino int8", "torch float32", "torch bfloat16"]


@pytest.fixture(scope="module", params=MODES)
def on_threads(request: pytest.FixtureRequest) -> Callable[[int], Extractor]:
    """The model in one engine and precision, on 1 or 2 threads."""
    engine, precision = request.param.split()
    if precision == "bfloat16":
        request.getfixturevalue("native_bfloat16")
    return cache(lambda n: lamina.load("minilm", engine=engine, device="cpu", precision=precision, threads=n))


def rows_of(found: Embeddings, text: int) -> dict[str, Any]:
    """All that a result says of one of its texts, vectors as bits."""
    of_text = np.flatnonzero(found.units["text_id"].to_numpy() == text)
    bits = {name: np.ascontiguousarray(matrix[of_text]).view(np.uint32) for name, matrix in found.columns.items()}
    return {**bits, "units": found.units.take(of_text).drop_columns("text_id").to_pylist()}


def assert_same_bits(found: Embeddings, company: list[int], alone: Callable[[int], dict[str, Any]]) -> None:
    """Text i of the result is what text company[i] of the pool is alone."""
    for i, member in enumerate(company):
        ours, expected = rows_of(found, i), alone(member)
        assert ours["units"] == expected["units"]
        for name in found.columns:
            assert np.array_equal(ours[name], expected[name]), f"{name} of {POOL[member][:30]!r}"


@pytest.mark.parametrize(("unit", "pool"), CASES)
def test_no_text_sees_its_company(on_threads: Callable[[int], Extractor], unit: Any, pool: Any) -> None:
    options: dict[str, Any] = {"unit": unit, "pool": pool, **WINDOWED}

    @cache
    def alone(member: int) -> dict[str, Any]:
        return rows_of(on_threads(1).extract([POOL[member]], **options), 0)

    @few
    @given(company=companies, batch_tokens=budgets, threads=st.sampled_from([1, 2]))
    def check(company: list[int], batch_tokens: int, threads: int) -> None:
        texts = [POOL[member] for member in company]
        found = on_threads(threads).extract(texts, batch_tokens=batch_tokens, **options)
        assert_same_bits(found, company, alone)

    check()


@pytest.mark.parametrize(
    "options", [{"combine": "mean"}, {"combine": "concat", "normalize": True}, {"pool": "last"}, {"overlap": "mean"}]
)
def test_no_text_sees_its_company_when_layers_are_combined(
    on_threads: Callable[[int], Extractor], options: dict[str, Any]
) -> None:
    company = [*range(len(POOL)), 3, 3, 0]

    def alone(member: int) -> dict[str, Any]:
        return rows_of(on_threads(1).extract([POOL[member]], **WINDOWED, **options), 0)

    found = on_threads(2).extract([POOL[member] for member in company], **WINDOWED, **options)
    assert_same_bits(found, company, alone)


@pytest.mark.parametrize("n_words", [5, 21])
def test_batches_of_every_size_give_the_same_bits(on_threads: Callable[[int], Extractor], n_words: int) -> None:
    texts = [f"{i} " * n_words for i in range(40)]  # equally long, so that the budget alone makes the batches
    S = 8 * -(-(n_words + 2) // 8)
    alone = [on_threads(1).extract([text], layers="1,6", unit="token") for text in texts]
    for size in (1, 2, 7, 33):
        found = on_threads(2).extract(texts[::-1], layers="1,6", unit="token", batch_tokens=size * S)
        for i, expected in enumerate(alone[::-1]):
            ours, theirs = rows_of(found, i), rows_of(expected, 0)
            assert len(theirs["units"]) == n_words + 2
            assert all(np.array_equal(ours[name], theirs[name]) for name in found.columns), f"{size} at once"


def test_whole_windows_of_a_long_text_see_no_company(on_threads: Callable[[int], Extractor]) -> None:
    long = prose(120)
    alone = on_threads(1).extract([long], layers="1,6")
    among = on_threads(2).extract([*POOL, long, *POOL, prose(100)], layers="1,6", batch_tokens=1500)
    assert alone.units["n_windows"].to_pylist()[0] > 1
    ours, expected = rows_of(among, len(POOL)), rows_of(alone, 0)
    assert all(np.array_equal(ours[name], expected[name]) for name in alone.columns)


@pytest.mark.parametrize("unit", ["text", "word", "token"])
def test_a_stream_laid_end_to_end_is_the_extract(minilm: Extractor, monkeypatch: pytest.MonkeyPatch, unit: Any) -> None:
    options: dict[str, Any] = {"unit": unit, **WINDOWED}
    texts = POOL * 2
    whole = minilm.extract(texts, **options)
    monkeypatch.setattr(lamina.extraction.regroup, "MAX_TEXTS", 5)
    parts = list(minilm.stream(texts, batch_tokens=300, **options))
    assert len(parts) > 4
    laid = concatenate(parts)
    assert laid.units.equals(whole.units)
    assert laid.n_texts == whole.n_texts == len(texts)
    for name in whole.columns:
        assert np.array_equal(laid.columns[name].view(np.uint32), whole.columns[name].view(np.uint32))


def test_the_layers_asked_for_do_not_change_a_layer(minilm: Extractor) -> None:
    every = minilm.extract(POOL, layers="all")
    for layers in ("3", "6,0", "encoder"):
        some = minilm.extract(POOL, layers=layers)
        for number in some.layers:
            assert np.array_equal(some.layer(number).view(np.uint32), every.layer(number).view(np.uint32))
