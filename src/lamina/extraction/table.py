"""The units table: what each row of a result stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.arrow import numbers, strings
from lamina.embeddings import COMBINED, LAYER_PREFIX, PAIR_FIELDS, TOKEN_FIELDS, UNIT_FIELDS
from lamina.extraction.weighting import is_each_once
from lamina.spec import Unit
from lamina.text.text import Text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Int64, Tokens
from lamina.text.units import WHOLE, Units, n_ordinary
from lamina.text.windows import Segments


def units_table(
    unit: Unit, texts: list[Text], tokens: Tokens, units: Units, segments: Segments, tokenizer: Tokenizer
) -> pa.Table:
    """One row a unit [U]; columns as in `lamina.embeddings.UNIT_FIELDS`."""
    count = n_ordinary(units, tokens)
    nothing = "empty" if unit in WHOLE else "dropped"
    status = np.where(units.cut, 2, np.where(count > 0, 0, 1)).tolist()
    # Character offsets are into the string that the unit stands in: the second one of a pair begins anew.
    of_pair = tokens.is_pair[units.text]
    second = of_pair & (units.starts > tokens.lengths[units.text])
    origin = np.where(second, tokens.lengths[units.text] + 1, 0)
    starts, ends = units.starts - origin, units.ends - origin
    columns: dict[str, Any] = {
        "text_id": units.text,
        "surface": _surfaces(unit, texts, units.text, second, starts, ends),
        "start": starts,
        "end": ends,
        "special": units.special,
        "n_tokens": count,
        "n_windows": np.bincount(segments.unit, minlength=len(units)),
        "status": [("ok", nothing, "cut")[which] for which in status],
        "error": pa.nulls(len(units), pa.string()),
    }
    fields = dict(UNIT_FIELDS)
    if unit == "token":
        columns |= _token_columns(units, tokens, tokenizer, columns["surface"])
        fields |= TOKEN_FIELDS
    if of_pair.any() and unit != "pair":
        columns["side"] = pa.array(second.astype(np.int32), mask=~of_pair)
        fields |= PAIR_FIELDS
    arrays = [_array(columns[name], kind) for name, kind in fields.items()]
    return pa.Table.from_arrays(arrays, names=list(fields))


def with_errors(table: pa.Table, row_text: Int64, faults: Mapping[int, str]) -> pa.Table:
    """The units table where some texts could not be read: `faults` says which and why, `row_text` [U'] of which text
    each row is."""
    if not faults:
        return table
    import pyarrow.compute as pc

    reasons = np.full(int(row_text.max()) + 1, None, np.object_)
    reasons[list(faults)] = list(faults.values())
    error = pa.array(reasons[row_text], pa.string())
    is_error = error.is_valid()
    surface = pc.if_else(is_error, "", table.column("surface"))
    status = pc.if_else(is_error, "error", table.column("status"))
    for name, column in (("surface", surface), ("status", status), ("error", error)):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


def with_columns(table: pa.Table, columns: pa.Table, row_text: Int64) -> pa.Table:
    """The units table with the columns that travel along; `row_text` [U'] says which row of them each unit takes."""
    if not columns.num_columns:
        return table
    unchanged = is_each_once(row_text, columns.num_rows)
    spread = columns if unchanged else columns.take(pa.array(row_text))
    for old, new in travelled_names(columns.column_names).items():
        table = table.append_column(new, spread.column(old))
    return table


def travelled_names(names: Sequence[str]) -> dict[str, str]:
    """What each travelling column is called in the units table: `input_` is put before a name that is taken."""
    taken = {*UNIT_FIELDS, *TOKEN_FIELDS, *PAIR_FIELDS, COMBINED}
    found: dict[str, str] = {}
    for name in names:
        new = name
        while new in taken or new.startswith(LAYER_PREFIX) or (new != name and new in names):
            new = f"input_{new}"
        found[name] = new
        taken.add(new)
    return found


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, list):
        return strings(values)
    return values if isinstance(values, pa.Array) else numbers(values, kind)


def _surfaces(unit: Unit, texts: list[Text], text: Int64, second: Any, starts: Int64, ends: Int64) -> list[str]:
    if unit == "pair":
        return [one.text if one.pair is None else f"{one.text}\t{one.pair}" for one in texts]
    strings = [one.text for one in texts]
    others = [one.pair or "" for one in texts] if second.any() else strings
    places = zip(text.tolist(), second.tolist(), starts.tolist(), ends.tolist(), strict=True)
    return [(others if is_second else strings)[t][start:end] for t, is_second, start, end in places]


def _token_columns(units: Units, tokens: Tokens, tokenizer: Tokenizer, surfaces: list[str]) -> dict[str, Any]:
    """Each token's own name and number; a special token's name is its surface too."""
    ids = tokens.ids[units.first[units.first < units.last]]
    of_unit = np.full(len(units), -1)
    of_unit[units.first < units.last] = ids
    kinds, place = np.unique(of_unit, return_inverse=True)
    names = [tokenizer.piece(int(kind)) if kind >= 0 else "" for kind in kinds]
    token = [names[kind] for kind in place.tolist()]
    for row in np.flatnonzero(units.special).tolist():
        surfaces[row] = names[place[row]]
    return {"token": token, "token_id": of_unit}
