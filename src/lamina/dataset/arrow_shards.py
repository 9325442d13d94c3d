"""Shards as Arrow IPC files: written at the disk's speed, read by mapping the file into memory without a copy.

The units' columns and the vectors lie uncompressed, as they lie in memory. The format has no checksums: `lamina verify`
finds a damaged file, plain reading does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa


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
    """One record batch a shard."""

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        table = table.combine_chunks()
        with pa.ipc.new_file(pa.PythonFile(file, mode="w"), table.schema) as writer:
            writer.write_table(table)

    @contextmanager
    def opened(self, path: Path) -> Iterator[OpenArrow]:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
            n_rows = sum(reader.get_batch(k).num_rows for k in range(reader.num_record_batches))
            schema = reader.schema
        yield OpenArrow(path, schema, n_rows)
