"""A `Chunk`: some consecutive texts, tokenized, cut into windows and units, ready to be batched.

All the integer work for a bounded piece of the input happens here, array by array, before a float is computed.
Identical texts are kept once; `ChunkView.rows` says where their units go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.embeddings import COMBINED, LAYER_PREFIX, TOKEN_FIELDS, UNIT_FIELDS
from lamina.engine.batch import Float32
from lamina.errors import TextError
from lamina.extraction.idf import Idf
from lamina.extraction.plan import Plan, View
from lamina.extraction.table import units_table
from lamina.spec import Pool
from lamina.text.prompt import encode_after, n_before
from lamina.text.source import Rows
from lamina.text.text import Text, as_text
from lamina.text.tokenizer import Int64, Tokenizer, Tokens
from lamina.text.units import WHOLE, Units, cut, kept_tokens, make_units, pooled_tokens, sentence_tokens
from lamina.text.windows import Segments, Windows, check_lengths, check_room, make_segments, make_windows, n_taken

RESULT_BYTES = 256 << 20  # of vectors, at most, in one chunk (one text is never split)
MAX_TEXTS = 8192
MAX_CHARACTERS = 4_000_000
CHARACTERS_A_UNIT = {"word": 5, "token": 3, "sentence": 40, "span": 10}  # low estimates, for the bound above


@dataclass(frozen=True, slots=True)
class ChunkView:
    """One pool of one view of a chunk: U units of its different texts.

    origin    [U]; the token of each unit from which the weights of the pool `position` count.
    divisor   [U]; what the unit's (weighted) sum is divided by; None where it stays as it is.
    rows      [U']; for each row of the result, the unit it shows.
    table     the units table, U' rows.
    """

    view: View
    pool: Pool
    segments: Segments
    origin: Int64
    divisor: Float32 | None
    rows: Int64
    table: pa.Table

    @property
    def n_units(self) -> int:
        return self.origin.size


@dataclass(frozen=True, slots=True)
class Chunk:
    """N texts, of which some are the same; `views` in the order of the program's reductions.

    token_weights  for each view, the weight of each token [T] but for its place in the unit; None: 1.
    """

    tokens: Tokens
    windows: Windows
    views: tuple[ChunkView, ...]
    token_weights: tuple[Float32 | None, ...]
    n_texts: int
    n_characters: int


def make_chunk(rows: Rows, plan: Plan, tokenizer: Tokenizer, *, first_row: int, idf: Idf | None = None) -> Chunk:
    """Prepare the texts of `rows`, the first of which is text number `first_row` of the input. Raises TextError."""
    texts, which = _distinct(rows.texts)
    # A text that cannot be read is named by its row, so the input's own order is kept where that costs nothing.
    given = rows.texts if len(texts) == len(rows.texts) else texts
    n_left_out = 0
    if plan.prompt:
        tokens = encode_after(plan.prompt, given, tokenizer, first_row=first_row)
        n_left_out = 0 if plan.include_prompt else n_before(plan.prompt, tokenizer, max_tokens=plan.max_tokens)
    else:
        tokens = tokenizer.encode(given, first_row=first_row)
    if plan.long == "error":
        check_lengths(tokens, max_tokens=plan.max_tokens, first_row=first_row)
    units = [make_units(view.spec.unit, texts, tokens) for view in plan.views.values()]
    if plan.long == "truncate" and (np.diff(tokens.bounds) > plan.max_tokens).any():
        check_room(tokens, plan.max_tokens, first_row)
        keep = kept_tokens(tokens, plan.max_tokens)
        tokens, units = cut(tokens, keep), [of_view.kept(keep) for of_view in units]
    windows = make_windows(
        tokens, max_tokens=plan.max_tokens, stride=plan.stride, overlap=plan.overlap, first_row=first_row
    )
    shares = (1 / n_taken(tokens, windows)).astype(np.float32) if plan.overlap == "mean" else None
    pooled = [
        (view, pool, of_view) for view, of_view in zip(plan.views.values(), units, strict=True) for pool in view.pools
    ]
    weights = [_token_weights(pool, tokens, shares, idf) for _, pool, _ in pooled]
    views = [
        _chunk_view(
            view, pool, rows, texts, which, tokens, windows, of_view, of_token, tokenizer, first_row, n_left_out
        )
        for (view, pool, of_view), of_token in zip(pooled, weights, strict=True)
    ]
    n_characters = sum(len(as_text(text).text) for text in rows.texts)
    return Chunk(tokens, windows, tuple(views), tuple(weights), len(rows.texts), n_characters)


def chunked(rows: Iterable[Rows], plan: Plan) -> Iterator[Rows]:
    """Regroup rows so that a chunk's vectors stay below RESULT_BYTES, and as large as that allows."""
    n_layers = len(plan.program.layers)
    max_texts, max_characters = MAX_TEXTS, MAX_CHARACTERS
    for view in plan.views.values():
        n_units = max(1, RESULT_BYTES // len(plan.views) // (4 * max(view.width, 64) * n_layers))
        max_texts = min(max_texts, n_units)
        max_characters = min(max_characters, n_units * CHARACTERS_A_UNIT.get(view.spec.unit, MAX_CHARACTERS))
    held: list[Rows] = []
    n_texts = n_characters = 0
    for group in rows:
        low = 0
        for place, item in enumerate(group.texts):
            size = len(as_text(item).text)
            if n_texts and (n_texts >= max_texts or n_characters + size > max_characters):
                yield _joined([*held, _slice(group, low, place)])
                held, low, n_texts, n_characters = [], place, 0, 0
            n_texts, n_characters = n_texts + 1, n_characters + size
        held.append(_slice(group, low, len(group.texts)))
    if n_texts:
        yield _joined(held)


def ragged(starts: Int64, counts: Int64) -> Int64:
    """The ranges starts[i], starts[i] + 1, … of counts[i] numbers each, laid end to end."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if ends.size else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)


def _chunk_view(
    view: View,
    pool: Pool,
    rows: Rows,
    texts: list[Text],
    which: Int64,
    tokens: Tokens,
    windows: Windows,
    units: Units,
    token_weights: Float32 | None,
    tokenizer: Tokenizer,
    first_row: int,
    n_left_out: int,
) -> ChunkView:
    spec = view.spec
    if spec.pool in ("cls", "model") and spec.unit == "text" and tokens.is_pair.any():
        raise TextError("a pair has one classification token: use unit='pair' with pool='cls'", row=first_row)
    if view.recipe is None:
        whole = spec.unit in WHOLE
        first, last = pooled_tokens(units, tokens, whole=whole, pool=pool, special=spec.special)
        origin = first
    else:
        first, last = sentence_tokens(units, pool, n_before=n_left_out)
        origin = units.first
    segments = make_segments(first, last, windows)
    of_unit = np.bincount(units.text, minlength=len(texts))
    unit_bounds = np.concatenate(([0], np.cumsum(of_unit)))
    expanded = ragged(unit_bounds[which], of_unit[which])
    row_text = np.repeat(np.arange(len(which)), of_unit[which])  # of each result row, the input's text
    table = units_table(spec.unit, texts, tokens, units, segments, tokenizer)
    if len(texts) < len(rows.texts):
        table = table.take(pa.array(expanded))
    table = table.set_column(0, "text_id", pa.array(first_row + row_text))
    return ChunkView(
        view=view,
        pool=pool,
        segments=segments,
        origin=origin,
        divisor=_divisor(pool, origin, first, last, token_weights),
        rows=expanded,
        table=_with_columns(table, rows.columns, row_text),
    )


def _token_weights(pool: Pool, tokens: Tokens, shares: Float32 | None, idf: Idf | None) -> Float32 | None:
    """The weight of each token [T]: its share of each window it is taken from, times its rarity."""
    if pool != "idf":
        return shares
    assert idf is not None
    rarity = idf.weights[tokens.ids]
    return rarity if shares is None else rarity * shares


def _divisor(pool: Pool, origin: Int64, first: Int64, last: Int64, token_weights: Float32 | None) -> Float32 | None:
    """What each unit's sum is divided by, [U]. A unit without tokens gets 1: its row is NaN anyway."""
    n = np.maximum(last - first, 1)
    by_count: dict[str, npt.NDArray[Any]] = {
        "mean": n,
        "sqrt": np.sqrt(n),
        "position": np.maximum(_triangle(last - origin) - _triangle(first - origin), 1),
    }
    if pool in by_count:
        return by_count[pool].astype(np.float32, copy=False)
    if pool == "idf":
        assert token_weights is not None
        filled = np.flatnonzero(first < last)
        total = np.ones(first.size, np.float32)
        if filled.size:
            counts = (last - first)[filled]
            taken = token_weights[ragged(first[filled], counts)]
            total[filled] = np.add.reduceat(taken, np.cumsum(counts) - counts)
        return total
    return None


def _triangle(n: Int64) -> Int64:
    """1 + 2 + … + n."""
    return n * (n + 1) // 2


def _distinct(texts: list[str | Text]) -> tuple[list[Text], Int64]:
    """The different texts, in order of first appearance, and for each text which of them it is."""
    number: dict[str | Text, int] = {}
    which = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int64, len(texts))
    return [as_text(text) for text in number], which


def _with_columns(table: pa.Table, columns: pa.Table, row_text: Int64) -> pa.Table:
    if not columns.num_columns:
        return table
    unchanged = row_text.size == columns.num_rows and (np.diff(row_text) == 1).all()
    spread = columns if unchanged else columns.take(pa.array(row_text))
    for name in columns.column_names:
        table = table.append_column(travelled_name(name), spread.column(name))
    return table


def travelled_name(name: str) -> str:
    """What a travelling column is called in the units table: `input_` is put before a name that is taken."""
    is_taken = name in UNIT_FIELDS or name in TOKEN_FIELDS or name == COMBINED or name.startswith(LAYER_PREFIX)
    return f"input_{name}" if is_taken else name


def _slice(rows: Rows, low: int, high: int) -> Rows:
    if low == 0 and high == len(rows.texts):
        return rows
    return Rows(rows.texts[low:high], rows.columns.slice(low, high - low))


def _joined(parts: list[Rows]) -> Rows:
    parts = [part for part in parts if part.texts]
    if len(parts) == 1:
        return parts[0]
    return Rows([text for part in parts for text in part.texts], pa.concat_tables([part.columns for part in parts]))
