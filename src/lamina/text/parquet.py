"""Parquet: some columns of a file as tables of bounded size, and their values, whatever the file claims of itself.

Comes in: an open file. Goes out: tables, Python values, and a `MisfitError` where a value is not what it should be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lamina.errors import SourceError
from lamina.text.columns import MisfitError
from lamina.text.lines import Errors, no_utf8

MAX_VALUES = 1 << 28  # of one column in one row group: one row may hold them all, as a list
MAX_BYTES = 1 << 28  # that the values of one batch may take because each of them repeats the largest one

VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}  # no row can be taken from these (pyarrow 26)


def tables(file: BinaryIO, columns: Sequence[str], *, rows: int, n_bytes: int) -> Iterator[pa.Table]:
    """The columns of a file, at most `rows` rows at once, or fewer so as to hold about `n_bytes`.

    Raises SourceError, with the reason alone, for a row group that claims too much, and what pyarrow raises.
    """
    parquet = pq.ParquetFile(file)
    for group in range(parquet.num_row_groups):
        held = min(rows, _batch_rows(file, parquet, group, columns, n_bytes))
        for batch in parquet.iter_batches(held, row_groups=[group], columns=list(columns)):
            table = pa.Table.from_batches([batch]).select(list(columns))
            for place, kind in enumerate(table.schema.types):
                if kind in VIEWS:
                    table = table.set_column(place, columns[place], table.column(place).cast(VIEWS[kind]))
            yield table


def column_names(file: BinaryIO) -> list[str]:
    """The columns of a file, from its footer."""
    return list(pq.ParquetFile(file).schema_arrow.names)


def values_of(column: pa.ChunkedArray, *, lists: bool, errors: Errors) -> list[Any]:
    """The strings of a column, or where it may hold `lists` those too; a `MisfitError` for what is neither."""
    if not _is_plain(column.type, lists=lists):
        return [MisfitError(f"is {str(column.type)[:80]}, not a {'list' if lists else 'string'}")] * len(column)
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_value(scalar, errors) for scalar in column]


def unicode_table(table: pa.Table, *, errors: Errors) -> tuple[pa.Table, dict[int, str]]:
    """The table with strings of UTF-8 alone, and which of its rows had others, and why: null stands there.

    Raises pyarrow's ArrowInvalid where a value is damaged that is no string.
    """
    misfits: dict[int, str] = {}
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            if not _is_plain(column.type, lists=False):
                raise
            values = [_value(scalar, errors) for scalar in column]
            found = {i: f"column {name!r} {value}" for i, value in enumerate(values) if isinstance(value, MisfitError)}
            misfits = found | misfits
            kept = [None if i in found else value for i, value in enumerate(values)]
            table = table.set_column(place, name, pa.array(kept, pa.string()).cast(column.type))
    return table, misfits


def _batch_rows(file: BinaryIO, parquet: pq.ParquetFile, group: int, columns: Sequence[str], n_bytes: int) -> int:
    """How many rows of a row group to read at once, from what its metadata claim and from its dictionaries."""
    metadata = parquet.metadata.row_group(group)
    leaves = [(place, parquet.schema.column(place)) for place in range(len(parquet.schema))]
    leaves = [(place, leaf) for place, leaf in leaves if {leaf.path, leaf.path.split(".")[0]} & {*columns}]
    strings = [leaf.path for _, leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    probed = pq.ParquetFile(file, read_dictionary=strings)
    first = next(probed.iter_batches(1, row_groups=[group], columns=list(columns)), None)
    if first is None:
        return 1
    # Only now: asked for metadata that contradict the schema, pyarrow 26 aborts the process, where reading raises.
    chunks = [metadata.column(place) for place, _ in leaves]
    for chunk in chunks:
        if chunk.num_values > MAX_VALUES:
            raise SourceError(
                f"column {chunk.path_in_schema!r} claims {chunk.num_values:,} values in one row group, more than "
                f"{MAX_VALUES:,}: write it in smaller ones"
            )
    n_rows: int = max(1, metadata.num_rows)
    size: int = sum(max(0, chunk.total_uncompressed_size) for chunk in chunks)
    values_a_row = max([1, *(chunk.num_values // n_rows for chunk in chunks)])
    largest: int = sum(map(_longest, first.columns)) * values_a_row  # where a row repeats each dictionary's largest
    return max(1, min(n_bytes * n_rows // max(size, n_bytes), MAX_BYTES // max(1, largest)))


def _longest(column: pa.Array) -> int:
    """The bytes of a dictionary's largest value, in lists too; 0 where there is no dictionary."""
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.values
    if not pa.types.is_dictionary(column.type):
        return 0
    return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)


def _is_plain(kind: pa.DataType, *, lists: bool) -> bool:
    """Whether a type is of strings or, with `lists`, of lists (of lists …) of strings and whole numbers."""
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        return True
    if not lists:
        return False
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_list_view(kind):
        return types.is_integer(kind.value_type) or _is_plain(kind.value_type, lists=True)
    return False


def _value(scalar: pa.Scalar, errors: Errors) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return _replaced(scalar) if errors == "replace" else MisfitError(f"holds a string of which {no_utf8(error)}")


def _replaced(scalar: pa.Scalar) -> Any:
    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    if isinstance(scalar, pa.ListScalar):
        return [_replaced(inner) for inner in scalar.values]
    if isinstance(scalar, pa.StringScalar) and scalar.is_valid:
        return scalar.as_buffer().to_pybytes().decode(errors="replace")
    return scalar.as_py()
