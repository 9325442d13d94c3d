"""Proves that a stream keeps the order, reads only a little ahead, and leaves nothing running when it is left."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from itertools import count, islice

import numpy as np
import pytest

import lamina.extraction.regroup
import lamina.text.source
from lamina.embeddings import Embeddings
from lamina.errors import TextError
from lamina.extraction.extractor import Done, Extractor
from lamina.spec import Spec
from lamina.text.source import rows_of

CHUNK = 8


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few texts, so that a short stream has many."""
    monkeypatch.setattr(lamina.extraction.regroup, "MAX_TEXTS", CHUNK)
    monkeypatch.setattr(lamina.text.source, "ROWS", 4)


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lamina")]


def endless(seen: list[int]) -> Iterator[str]:
    for i in count():
        seen.append(i)
        yield f"text {i}"


def text_ids(parts: list[Embeddings]) -> list[int]:
    return [i for part in parts for i in part.units["text_id"].to_pylist()]


def test_parts_come_in_the_order_of_the_input_whatever_is_longest(tiny: Extractor) -> None:
    texts = ["a " * (1 + (i * 7) % 40) for i in range(50)]
    parts = list(tiny.stream(texts, batch_tokens=64))
    assert len(parts) > 5
    assert text_ids(parts) == list(range(50))
    assert [s for part in parts for s in part.units["surface"].to_pylist()] == texts


def test_an_endless_input_gives_its_first_parts(tiny: Extractor) -> None:
    seen: list[int] = []
    stream = tiny.stream(endless(seen))
    parts = list(islice(stream, 3))
    assert text_ids(parts) == list(range(3 * CHUNK))
    assert len(seen) <= 10 * CHUNK  # it reads ahead by a few parts and no more
    stream.close()  # type: ignore[attr-defined]


def test_nothing_is_read_before_the_first_part_is_asked_for(tiny: Extractor) -> None:
    seen: list[int] = []
    stream = tiny.stream(endless(seen))
    assert seen == []
    next(stream)
    assert seen
    stream.close()  # type: ignore[attr-defined]


def test_a_stream_that_is_closed_leaves_no_thread_and_reads_no_more(tiny: Extractor) -> None:
    seen: list[int] = []
    stream = tiny.stream(endless(seen))
    next(stream)
    assert ours()
    stream.close()  # type: ignore[attr-defined]
    assert ours() == []
    n_seen = len(seen)
    assert list(stream) == []
    assert len(seen) == n_seen


def test_a_stream_that_is_dropped_leaves_no_thread(tiny: Extractor) -> None:
    for part in tiny.stream(endless([])):
        assert len(part) == CHUNK
        break
    gc.collect()
    assert ours() == []


def test_a_stream_that_ends_leaves_no_thread(tiny: Extractor) -> None:
    assert len(list(tiny.stream(["a"] * 20))) == 3
    assert ours() == []


def test_an_error_of_the_input_ends_the_stream_and_leaves_no_thread(tiny: Extractor) -> None:
    def texts() -> Iterator[str]:
        yield from (f"text {i}" for i in range(40))
        raise KeyError("the input broke")

    with pytest.raises(KeyError, match="the input broke"):
        list(tiny.stream(texts()))
    assert ours() == []


def test_a_text_that_is_none_ends_the_stream_and_leaves_no_thread(tiny: Extractor) -> None:
    with pytest.raises(TextError, match="text 30 "):
        list(tiny.stream([*(f"text {i}" for i in range(30)), "\ud800", *(f"text {i}" for i in range(30))]))
    assert ours() == []


def test_a_model_left_early_gives_the_same_vectors_afterwards(deep: Extractor) -> None:
    texts = [f"text {i}" for i in range(30)]
    before = deep.extract(texts)
    for _ in range(3):
        stream = deep.stream(endless([]), batch_tokens=32)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    after = deep.extract(texts)
    assert all(np.array_equal(before.layer(k), after.layer(k)) for k in before.layers)


def test_two_streams_of_one_model_do_not_disturb_each_other(tiny: Extractor) -> None:
    texts = [f"text {i}" for i in range(40)]
    whole = tiny.extract(texts)
    ways = [tiny.stream(texts, batch_tokens=32), tiny.stream(texts[::-1], batch_tokens=32)]
    parts: list[list[Embeddings]] = [[], []]
    for pair in zip(*ways, strict=True):
        for held, part in zip(parts, pair, strict=True):
            held.append(part)
    forth, back = (np.concatenate([part.layer(1) for part in held]) for held in parts)
    assert np.array_equal(forth, whole.layer(1))
    assert np.array_equal(back[::-1], whole.layer(1))


def test_progress_adds_up_to_all_texts_and_tokens(tiny: Extractor) -> None:
    texts = [f"text {i} " * (1 + i % 9) for i in range(37)]
    heard: list[Done] = []
    for _ in tiny.stream_rows(rows_of(texts), {"": Spec()}, batch_tokens=64, on_batch=heard.append):
        pass
    assert len(heard) > 5
    assert sum(done.n_texts for done in heard) == pytest.approx(len(texts))
    assert sum(done.n_characters for done in heard) == pytest.approx(sum(map(len, texts)))
    assert min(done.n_tokens for done in heard) > 0
