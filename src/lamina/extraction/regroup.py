"""Regrouping the input: as many texts in one chunk as its vectors leave room for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

from lamina.extraction.plan import Plan
from lamina.text.source import Rows
from lamina.text.text import as_text

RESULT_BYTES = 256 << 20  # of vectors, at most, in one chunk (one text is never split)
STORED_BYTES = 128 << 20  # the same where they are written while the next are computed: the last are not (docs/log.md)
STORED_BATCHES = 8  # but room for so many, as batches of few texts take longer
MORE = 4
MAX_TEXTS = 8192
MAX_CHARACTERS = 4_000_000
CHARACTERS_A_UNIT = {"word": 5, "token": 3, "sentence": 40, "span": 10}  # low estimates, for the bound above


def regrouped(rows: Iterable[Rows], plan: Plan, *, batch_tokens: int) -> Iterator[Rows]:
    """Regroup rows so that a chunk's vectors stay below `room`, and as large as that allows.

    For an engine that asks for large batches they may take up to `MORE` times as much, until a batch is full of units.
    """
    n_layers = len(plan.program.layers)
    max_texts, max_characters = MAX_TEXTS, MAX_CHARACTERS
    of_view = room(plan, batch_tokens) // len(plan.views)
    for view in plan.views.values():
        n_units = max(1, of_view // (plan.number_bytes * max(view.width, 64) * n_layers))
        n_units = max(n_units, min(batch_tokens, MORE * n_units))
        max_texts = min(max_texts, n_units)
        max_characters = min(max_characters, n_units * CHARACTERS_A_UNIT.get(view.spec.unit, MAX_CHARACTERS))
    held: list[Rows] = []
    n_texts = n_characters = n_bytes = 0
    for group in rows:
        low = 0
        n_bytes += group.columns.nbytes
        if n_texts and n_bytes > RESULT_BYTES:  # what travels along is held too
            yield _joined(held)
            held, n_texts, n_characters, n_bytes = [], 0, 0, group.columns.nbytes
        for place, item in enumerate(group.texts):
            size = len(as_text(item).text)
            if n_texts and (n_texts >= max_texts or n_characters + size > max_characters):
                yield _joined([*held, _slice(group, low, place)])
                held, low, n_texts, n_characters, n_bytes = [], place, 0, 0, group.columns.nbytes
            n_texts, n_characters = n_texts + 1, n_characters + size
        held.append(_slice(group, low, len(group.texts)))
    if n_texts:
        yield _joined(held)


def room(plan: Plan, batch_tokens: int) -> int:
    """The bytes of vectors in one chunk."""
    if not plan.stored:
        return RESULT_BYTES
    of_row = plan.number_bytes * sum(view.n_numbers for view in plan.views.values())
    return min(RESULT_BYTES, max(STORED_BYTES, STORED_BATCHES * batch_tokens * of_row))


def skipped(rows: Iterable[Rows], n_texts: int) -> Iterator[Rows]:
    """The rows after the first `n_texts` texts."""
    for group in rows:
        if n_texts < len(group.texts):
            yield _slice(group, n_texts, len(group.texts))
        n_texts = max(0, n_texts - len(group.texts))


def _slice(rows: Rows, low: int, high: int) -> Rows:
    if low == 0 and high == len(rows.texts):
        return rows
    return Rows(rows.texts[low:high], rows.columns.slice(low, high - low))


def _joined(parts: list[Rows]) -> Rows:
    parts = [part for part in parts if part.texts]
    if len(parts) == 1:
        return parts[0]
    return Rows([text for part in parts for text in part.texts], pa.concat_tables([part.columns for part in parts]))
