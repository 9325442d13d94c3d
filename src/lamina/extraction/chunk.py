"""A `Chunk`: some consecutive texts, tokenized, cut into windows and units, ready to be batched.

All the integer work for a bounded piece of the input happens here, array by array, before a float is computed.
Identical texts are kept once; `rows` says where their units go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lamina.embeddings import TOKEN_FIELDS, UNIT_FIELDS
from lamina.extraction.plan import Plan
from lamina.text.source import Rows
from lamina.text.tokenizer import Int64, Tokenizer, Tokens
from lamina.text.units import Units, cut_tokens, make_units, n_ordinary, pooled_tokens
from lamina.text.windows import Segments, Windows, check_lengths, make_segments, make_windows

RESULT_BYTES = 256 << 20  # of vectors, at most, in one chunk (one text is never split)
MAX_TEXTS = 8192
MAX_CHARACTERS = 4_000_000
CHARACTERS_A_UNIT = {"word": 5, "token": 3}  # a low estimate, for the bound above


@dataclass(frozen=True, slots=True)
class Chunk:
    """Texts ready to be batched: N texts, of which some are the same; U units of the different ones.

    n_pooled  [U]; the tokens that are reduced to each unit.
    rows      [U']; for each row of the result, the unit it shows.
    table     the units table, U' rows.
    n_texts, n_characters  of the input, the same texts counted as often as they come.
    """

    tokens: Tokens
    windows: Windows
    segments: Segments
    n_pooled: Int64
    rows: Int64
    table: pa.Table
    n_texts: int
    n_characters: int


def make_chunk(rows: Rows, plan: Plan, tokenizer: Tokenizer, *, first_row: int) -> Chunk:
    """Prepare the texts of `rows`, the first of which is text number `first_row` of the input."""
    spec = plan.spec
    texts, which = _distinct(rows.texts)
    tokens = tokenizer.encode(rows.texts if len(texts) == len(rows.texts) else texts, first_row=first_row)
    if spec.long == "error":
        check_lengths(tokens, max_tokens=plan.max_tokens, first_row=first_row)
    units = make_units(spec, texts, tokens)
    if spec.long == "truncate":
        tokens, units = cut_tokens(tokens, units, plan.max_tokens - tokenizer.n_special)
    windows = make_windows(tokens, max_tokens=plan.max_tokens, stride=plan.stride)
    first, last = pooled_tokens(spec, units, tokens)
    segments = make_segments(first, last, windows)
    of_unit = np.bincount(units.text, minlength=len(texts))
    unit_bounds = np.concatenate(([0], np.cumsum(of_unit)))
    expanded = ragged(unit_bounds[which], of_unit[which])
    row_text = np.repeat(np.arange(len(which)), of_unit[which])  # of each result row, the input's text
    table = _units_table(texts, tokens, units, segments, tokenizer, spec.unit == "token")
    if len(texts) < len(rows.texts):
        table = table.take(expanded)
    table = table.set_column(0, "text_id", pa.array(first_row + row_text))
    return Chunk(
        tokens=tokens,
        windows=windows,
        segments=segments,
        n_pooled=last - first,
        rows=expanded,
        table=_with_columns(table, rows.columns, row_text),
        n_texts=len(rows.texts),
        n_characters=sum(map(len, rows.texts)),
    )


def chunked(rows: Iterable[Rows], plan: Plan) -> Iterator[Rows]:
    """Regroup rows so that a chunk's vectors stay below RESULT_BYTES, and as large as that allows."""
    n_units = max(1, RESULT_BYTES // (4 * plan.width * (1 if plan.spec.combine == "concat" else len(plan.layers))))
    max_texts = min(MAX_TEXTS, n_units)
    max_characters = min(MAX_CHARACTERS, n_units * CHARACTERS_A_UNIT.get(plan.spec.unit, MAX_CHARACTERS))
    held: list[Rows] = []
    n_texts = n_characters = 0
    for group in rows:
        low = 0
        for place, text in enumerate(group.texts):
            if n_texts and (n_texts >= max_texts or n_characters + len(text) > max_characters):
                yield _joined([*held, _slice(group, low, place)])
                held, low, n_texts, n_characters = [], place, 0, 0
            n_texts, n_characters = n_texts + 1, n_characters + len(text)
        held.append(_slice(group, low, len(group.texts)))
    if n_texts:
        yield _joined(held)


def ragged(starts: Int64, counts: Int64) -> Int64:
    """The ranges starts[i], starts[i] + 1, … of counts[i] numbers each, laid end to end."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if ends.size else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)


def travelled_names(names: Iterable[str]) -> dict[str, str]:
    """What each travelling column is called in the units table: `input_` is put before a name that is taken."""
    taken = {*UNIT_FIELDS, *TOKEN_FIELDS, "combined"}
    return {name: f"input_{name}" if name in taken or name.startswith("layer_") else name for name in names}


def _distinct(texts: Sequence[str]) -> tuple[list[str], Int64]:
    """The different texts, in order of first appearance, and for each text which of them it is."""
    number: dict[str, int] = {}
    which = np.fromiter((number.setdefault(text, len(number)) for text in texts), np.int64, len(texts))
    return list(number), which


def _units_table(
    texts: list[str], tokens: Tokens, units: Units, segments: Segments, tokenizer: Tokenizer, are_tokens: bool
) -> pa.Table:
    count = n_ordinary(units, tokens)
    status = np.where(units.cut, "cut", np.where(count > 0, "ok", "dropped")).astype(object)
    whole_texts = (
        len(units) == len(texts) and not are_tokens and units.first.size and (units.first == tokens.bounds[:-1]).all()
    )
    if whole_texts:
        status[count == 0] = "empty"
    surfaces = [
        texts[t][s:e] for t, s, e in zip(units.text.tolist(), units.starts.tolist(), units.ends.tolist(), strict=True)
    ]
    extra = {}
    if are_tokens:
        ids = tokens.ids[units.first]
        kinds, of_token = np.unique(ids, return_inverse=True)
        names = pa.array([tokenizer.piece(int(kind)) for kind in kinds], pa.string()).take(pa.array(of_token))
        extra = {"token": names, "token_id": ids}
        for place in np.flatnonzero(units.special).tolist():
            surfaces[place] = names[place].as_py()
    columns = {
        "text_id": units.text,
        "surface": surfaces,
        "start": units.starts,
        "end": units.ends,
        "special": units.special,
        "n_tokens": count,
        "n_windows": np.bincount(segments.unit, minlength=len(units)),
        "status": status,
        **extra,
    }
    fields = UNIT_FIELDS | (TOKEN_FIELDS if are_tokens else {})
    arrays = [pa.array(columns[name]).cast(kind) for name, kind in fields.items()]
    return pa.Table.from_arrays(arrays, names=list(fields))


def _with_columns(table: pa.Table, columns: pa.Table, row_text: Int64) -> pa.Table:
    if not columns.num_columns:
        return table
    spread = (
        columns if len(row_text) == columns.num_rows and table.num_rows == columns.num_rows else columns.take(row_text)
    )
    for old, new in travelled_names(columns.column_names).items():
        table = table.append_column(new, spread.column(old))
    return table


def _slice(rows: Rows, low: int, high: int) -> Rows:
    if low == 0 and high == len(rows.texts):
        return rows
    return Rows(rows.texts[low:high], rows.columns.slice(low, high - low))


def _joined(parts: list[Rows]) -> Rows:
    parts = [part for part in parts if part.texts]
    if len(parts) == 1:
        return parts[0]
    return Rows([text for part in parts for text in part.texts], pa.concat_tables([part.columns for part in parts]))
