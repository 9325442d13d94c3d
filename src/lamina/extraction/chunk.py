"""A `Chunk`: some consecutive texts, tokenized, cut into windows and units, ready to be batched.

All the integer work for a bounded piece of the input happens here, array by array, before a float is computed.
Identical texts are kept once; `ChunkView.rows` says where their units go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lamina.arrow import numbers
from lamina.engine.batch import Float32
from lamina.errors import TextError
from lamina.extraction.idf import Idf
from lamina.extraction.plan import Plan, View
from lamina.extraction.table import units_table, with_columns, with_errors
from lamina.extraction.weighting import divisors, is_each_once, ragged, token_weights
from lamina.spec import Pool
from lamina.text.prompt import encode_after, n_before
from lamina.text.source import Item, Rows
from lamina.text.text import OnError, Text, Unreadable, as_text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Int64, Tokens
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
    n_texts   of the input, that end in these rows.
    """

    view: View
    pool: Pool
    segments: Segments
    origin: Int64
    weights: Float32 | None
    divisor: Float32 | None
    rows: Int64
    table: pa.Table
    n_texts: int

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

    texts       the different ones, N; where some could not be read, the last one stands for them and has no token.
    which       for each text of the input, which of them it is.
    faults      by their places in the chunk, why texts could not be read.
    first_row   the position in the input of the chunk's first text.
    n_prompted  tokens of each text that the prompt keeps out of the pool `model`.
    """

    texts: list[Text]
    which: Int64
    faults: dict[int, str]
    first_row: int
    columns: pa.Table
    tokenizer: Tokenizer
    tokens: Tokens
    windows: Windows
    n_prompted: int


def make_chunk(
    rows: Rows, plan: Plan, tokenizer: Tokenizer, *, first_row: int, idf: Idf | None = None, on_error: OnError = "stop"
) -> Chunk:
    """Prepare the texts of `rows`, the first of which is text number `first_row` of the input.

    Raises TextError; with `mark`, what would raise it has rows of its own: one for each view, of no token.
    """
    read, units = _read(rows, plan, tokenizer, first_row=first_row, on_error=on_error)
    rarity = None if idf is None else idf.weights[read.tokens.ids]
    taken = n_taken(read.tokens, read.windows) if plan.overlap == "mean" else None
    views = tuple(
        _chunk_view(read, view, pool, of_view, rarity, taken)
        for view, of_view in zip(plan.views.values(), units, strict=True)
        for pool in view.pools
    )
    n_characters = sum(len(as_text(text).text) for text in rows.texts)
    return Chunk(read.tokens, read.windows, views, len(rows.texts), n_characters)


def _read(
    rows: Rows, plan: Plan, tokenizer: Tokenizer, *, first_row: int, on_error: OnError
) -> tuple[_Read, list[Units]]:
    """The texts as they were read, and the units of each view. Refused texts are left out and the rest read again, as
    often as there are kinds of refusal: a text's tokens do not depend on its neighbours."""
    texts, which, faults = _distinct(rows.texts)
    if faults and on_error == "stop":
        raise TextError(faults[min(faults)], row=first_row + min(faults))
    kept = np.arange(len(texts))
    while True:
        try:
            held = [texts[i] for i in kept]
            tokens, units = _tokens_and_units(held, plan, tokenizer)
            if faults:
                held, tokens = [*held, Text("")], tokens.with_nothing()
                units = [of_view.with_nothing(tokens) for of_view in units]
            windows = make_windows(tokens, max_tokens=plan.max_tokens, stride=plan.stride, overlap=plan.overlap)
            break
        except TextError as error:  # it counts among those kept of the different texts
            refused = {int(kept[i]): reason for i, reason in error.refused.items()}
            of_input = {row: refused[text] for row, text in enumerate(which.tolist()) if text in refused}
            if on_error == "stop":
                raise TextError(of_input[min(of_input)], row=first_row + min(of_input)) from None
            faults |= of_input
            kept = np.delete(kept, list(error.refused))
    number = np.full(len(texts) + 1, kept.size)  # what is not kept is the text without a token, which comes last
    number[kept] = np.arange(kept.size)
    n_prompted = n_before(plan.prompt, tokenizer, max_tokens=plan.max_tokens) if plan.leaves_out_prompt else 0
    return _Read(held, number[which], faults, first_row, rows.columns, tokenizer, tokens, windows, n_prompted), units


def _tokens_and_units(texts: list[Text], plan: Plan, tokenizer: Tokenizer) -> tuple[Tokens, list[Units]]:
    """The tokens of texts, cut where the plan says so, and the units of each view."""
    tokens = encode_after(plan.prompt, texts, tokenizer) if plan.prompt else tokenizer.encode(texts)
    _check_pairs(tokens, plan)
    if plan.long == "error":
        check_lengths(tokens, max_tokens=plan.max_tokens)
    units = [make_units(view.spec.unit, texts, tokens) for view in plan.views.values()]
    if plan.long == "truncate" and (tokens.sizes > plan.max_tokens).any():
        check_room(tokens, plan.max_tokens)
        keep = kept_tokens(tokens, plan.max_tokens)
        tokens, units = cut(tokens, keep), [of_view.kept(keep) for of_view in units]
    return tokens, units


def _check_pairs(tokens: Tokens, plan: Plan) -> None:
    """Raise TextError for pairs that the model, or a view, has no place for."""
    pairs = np.flatnonzero(tokens.is_pair).tolist()
    if pairs and any(view.spec.pool in ("cls", "model") and view.spec.unit == "text" for view in plan.views.values()):
        raise TextError.of(dict.fromkeys(pairs, "is a pair, which has one classification token: use unit='pair'"))
    highest = int(tokens.types.max(initial=0))
    if pairs and 0 < plan.n_types <= highest:  # an engine would read beyond the table of segments, or zeros
        reason = f"is a pair with segment {highest}, and this model was made for segments 0 to {plan.n_types - 1}"
        raise TextError.of(dict.fromkeys(pairs, reason))


def _chunk_view(
    read: _Read, view: View, pool: Pool, units: Units, rarity: Float32 | None, taken: Int64 | None
) -> ChunkView:
    spec, tokens = view.spec, read.tokens
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
    if not is_each_once(rows, len(units)):
        table = table.take(numbers(rows, pa.int64()))
    table = table.set_column(0, "text_id", numbers(read.first_row + row_text, pa.int64()))
    table = with_errors(table, row_text, read.faults)
    return ChunkView(
        view=view,
        pool=pool,
        segments=segments,
        origin=origin,
        weights=token_weights(pool, rarity, taken),
        divisor=None if spec.unit == "token" else divisors(pool, origin, first, last, rarity),  # each of one token
        rows=rows,
        table=with_columns(table, read.columns, row_text),
        n_texts=read.which.size,
    )


def _distinct(texts: Sequence[Item]) -> tuple[list[Text], Int64, dict[int, str]]:
    """The different texts, in order of first appearance; for each text which of them it is (-1: could not be read);
    and of those that could not, by their places, why."""
    number: dict[str | Text, int] = {}
    faults = {place: text.reason for place, text in enumerate(texts) if isinstance(text, Unreadable)}
    numbers = (-1 if isinstance(text, Unreadable) else number.setdefault(text, len(number)) for text in texts)
    which = np.fromiter(numbers, np.int64, len(texts))
    return [as_text(text) for text in number], which, faults
