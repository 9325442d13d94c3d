"""Shards as Arrow IPC files: written at the disk's speed, read by mapping the file into memory without a copy.

The units' columns and the vectors lie uncompressed, as they lie in memory. The format has no checksums: `lamina verify`
finds a damaged file, plain reading does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from lamina.embeddings import vector_columns


@dataclass(frozen=True, slots=True)
class OpenArrow:
    """A mapped file. Columns that are not asked for are not touched."""

    path: Path
    schema: pa.Schema
    n_rows: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        fields = [self.schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=sorted(fields))
        with pa.ipc.open_file(pa.memory_map(str(self.path)), options=options) as reader:
            return reader.read_all().select(list(columns))


class Arrow:
    """One record batch a shard. Vectors that come in several pieces are joined in the file, not in memory."""

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        joining = _Joining(file)
        vectors = set(vector_columns(table.column_names))
        columns = [
            joining.blank(column)
            if name in vectors and column.num_chunks > 1 and len(column)
            else column.combine_chunks()
            for name, column in zip(table.column_names, table.columns, strict=True)
        ]
        with pa.ipc.new_file(pa.PythonFile(joining, mode="w"), table.schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))
        joining.check()

    @contextmanager
    def opened(self, path: Path) -> Iterator[OpenArrow]:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
            n_rows = sum(reader.get_batch(k).num_rows for k in range(reader.num_record_batches))
            schema = reader.schema
        yield OpenArrow(path, schema, n_rows)


class _Joining:
    """A file in which, where a blank array's numbers would be written, those of several arrays are.

    The writer of the format wants an array in one piece. A blank one costs nothing: its memory is never touched.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: dict[int, list[memoryview]] = {}  # by the address of the blank array

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def blank(self, column: pa.ChunkedArray) -> pa.FixedSizeListArray:
        """An array of a vector column's length and type, to be written in its place."""
        kind = column.type.value_type
        size = len(column) * column.type.list_size
        buffer = pa.py_buffer(np.empty(size, kind.to_pandas_dtype()))
        self._pieces[buffer.address] = [memoryview(chunk.flatten().to_numpy()) for chunk in column.chunks if len(chunk)]
        values = pa.Array.from_buffers(kind, size, [None, buffer])
        return pa.FixedSizeListArray.from_arrays(values, type=column.type)

    def write(self, data: Any) -> int:
        buffer = pa.py_buffer(data)
        if (pieces := self._pieces.pop(buffer.address, None)) is None:
            return self._file.write(data)
        return sum(self._file.write(piece) for piece in pieces)

    def check(self) -> None:
        """Raise RuntimeError where a blank array was written as it is."""
        if self._pieces:
            raise RuntimeError("this version of pyarrow copies arrays before it writes them")
