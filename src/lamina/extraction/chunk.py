"""A `Chunk`: some consecutive texts, tokenized, cut into windows and units, ready to be batched.

All the integer work for a bounded piece of the input happens here, array by array, before a float is computed.
Identical texts are kept once; `ChunkView.rows` says where their units go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lamina.engine.batch import Float32
from lamina.errors import TextError
from lamina.extraction.idf import Idf
from lamina.extraction.plan import Plan, View
from lamina.extraction.table import units_table, with_columns
from lamina.extraction.weighting import divisors, ragged, token_weights
from lamina.spec import Pool
from lamina.text.prompt import encode_after, n_before
from lamina.text.source import Rows
from lamina.text.text import Text, as_text
from lamina.text.tokenizer import Int64, Tokenizer, Tokens
from lamina.text.units import WHOLE, Units, cut, kept_tokens, make_units, pooled_tokens, sentence_tokens
from lamina.text.windows import Segments, Windows, check_lengths, check_room, make_segments, make_windows, n_taken


@dataclass(frozen=True, slots=True)
class ChunkView:
    """One pool of one view of a chunk: U units of its different texts.

    origin    [U]; the token of each unit from which the weights of the pool `position` count.
    weights   [T]; the weight of each token but for its place in the unit; None: 1.
    divisor   [U]; what the unit's (weighted) sum is divided by; None where it stays as it is.
    rows      [U']; for each row of the result, the unit it shows.
    table     the units table, U' rows.
    """

    view: View
    pool: Pool
    segments: Segments
    origin: Int64
    weights: Float32 | None
    divisor: Float32 | None
    rows: Int64
    table: pa.Table

    @property
    def n_units(self) -> int:
        return self.origin.size


@dataclass(frozen=True, slots=True)
class Chunk:
    """Texts ready to be batched; `views` in the order of the program's reductions.

    n_texts, n_characters  of the input, the same texts counted as often as they come.
    """

    tokens: Tokens
    windows: Windows
    views: tuple[ChunkView, ...]
    n_texts: int
    n_characters: int


@dataclass(frozen=True, slots=True)
class _Read:
    """The texts of a chunk as they were read, which all its views share.

    texts       the different ones, N.
    which       for each text of the input, which of them it is.
    first_row   the position in the input of the chunk's first text.
    n_prompted  tokens of each text that the prompt keeps out of the pool `model`.
    """

    texts: list[Text]
    which: Int64
    first_row: int
    columns: pa.Table
    tokenizer: Tokenizer
    tokens: Tokens
    windows: Windows
    n_prompted: int


def make_chunk(rows: Rows, plan: Plan, tokenizer: Tokenizer, *, first_row: int, idf: Idf | None = None) -> Chunk:
    """Prepare the texts of `rows`, the first of which is text number `first_row` of the input. Raises TextError."""
    texts, which = _distinct(rows.texts)
    try:
        tokens, units = _tokens_and_units(texts, plan, tokenizer)
        windows = make_windows(tokens, max_tokens=plan.max_tokens, stride=plan.stride, overlap=plan.overlap)
    except TextError as error:  # it counts among the different texts
        raise error.at(first_row + int(np.flatnonzero(which == error.row)[0])) from None
    n_prompted = n_before(plan.prompt, tokenizer, max_tokens=plan.max_tokens) if plan.leaves_out_prompt else 0
    read = _Read(texts, which, first_row, rows.columns, tokenizer, tokens, windows, n_prompted)
    rarity = None if idf is None else idf.weights[tokens.ids]
    taken = n_taken(tokens, windows) if plan.overlap == "mean" else None
    views = tuple(
        _chunk_view(read, view, pool, of_view, rarity, taken)
        for view, of_view in zip(plan.views.values(), units, strict=True)
        for pool in view.pools
    )
    return Chunk(tokens, windows, views, len(rows.texts), sum(len(as_text(text).text) for text in rows.texts))


def _tokens_and_units(texts: list[Text], plan: Plan, tokenizer: Tokenizer) -> tuple[Tokens, list[Units]]:
    """The tokens of texts, cut where the plan says so, and the units of each view."""
    tokens = encode_after(plan.prompt, texts, tokenizer) if plan.prompt else tokenizer.encode(texts)
    if plan.long == "error":
        check_lengths(tokens, max_tokens=plan.max_tokens)
    units = [make_units(view.spec.unit, texts, tokens) for view in plan.views.values()]
    if plan.long == "truncate" and (np.diff(tokens.bounds) > plan.max_tokens).any():
        check_room(tokens, plan.max_tokens)
        keep = kept_tokens(tokens, plan.max_tokens)
        tokens, units = cut(tokens, keep), [of_view.kept(keep) for of_view in units]
    return tokens, units


def _chunk_view(
    read: _Read, view: View, pool: Pool, units: Units, rarity: Float32 | None, taken: Int64 | None
) -> ChunkView:
    spec, tokens = view.spec, read.tokens
    if spec.pool in ("cls", "model") and spec.unit == "text" and tokens.is_pair.any():
        row = int(np.flatnonzero(tokens.is_pair[read.which])[0])
        raise TextError("is a pair, which has one classification token: use unit='pair'", row=read.first_row + row)
    if view.recipe is None:
        first, last = pooled_tokens(units, tokens, whole=spec.unit in WHOLE, pool=pool, special=spec.special)
        origin = first
    else:
        first, last = sentence_tokens(units, pool, n_before=read.n_prompted)
        origin = units.first
    segments = make_segments(first, last, read.windows)
    of_unit = np.bincount(units.text, minlength=len(read.texts))
    unit_bounds = np.concatenate(([0], np.cumsum(of_unit)))
    rows = ragged(unit_bounds[read.which], of_unit[read.which])
    row_text = np.repeat(np.arange(read.which.size), of_unit[read.which])  # of each result row, the input's text
    table = units_table(spec.unit, read.texts, tokens, units, segments, read.tokenizer)
    if len(read.texts) < read.which.size:
        table = table.take(pa.array(rows))
    table = table.set_column(0, "text_id", pa.array(read.first_row + row_text))
    return ChunkView(
        view=view,
        pool=pool,
        segments=segments,
        origin=origin,
        weights=token_weights(pool, rarity, taken),
        divisor=divisors(pool, origin, first, last, rarity),
        rows=rows,
        table=with_columns(table, read.columns, row_text),
    )


def _distinct(texts: list[str | Text]) -> tuple[list[Text], Int64]:
    """The different texts, in order of first appearance, and for each text which of them it is."""
    number: dict[str | Text, int] = {}
    which = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int64, len(texts))
    return [as_text(text) for text in number], which
