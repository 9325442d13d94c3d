"""Shards as Lance files: single rows are read without the others. The extra `lance`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pyarrow as pa

from lamina.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class OpenLance:
    """A file whose columns and rows are read as they are asked for."""

    path: Path
    schema: pa.Schema
    n_rows: int

    def read(self, columns: Sequence[str]) -> pa.Table:
        reader = lance_file().LanceFileReader(str(self.path), columns=list(columns))
        return reader.read_all().to_table().select(list(columns))


class Lance:
    """A file by Lance's own writer, which wants a path: it is made aside and then copied to where it belongs."""

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        with TemporaryDirectory(prefix="lamina-") as folder:
            path = Path(folder) / "shard.lance"
            writer = lance_file().LanceFileWriter(str(path), table.schema)
            writer.write_batch(table.combine_chunks())
            writer.close()
            with path.open("rb") as made:
                copyfileobj(made, file, 1 << 22)

    @contextmanager
    def opened(self, path: Path) -> Iterator[OpenLance]:
        if not path.is_file():
            raise FileNotFoundError(path)
        metadata = lance_file().LanceFileReader(str(path)).metadata()
        yield OpenLance(path, metadata.schema, metadata.num_rows)


def lance_file() -> Any:
    """Lance's module of single files. Raises MissingExtraError where it is not installed."""
    try:
        from lance import file
    except ImportError:
        raise MissingExtraError("Lance shards need an extra: pip install 'lamina[lance]'") from None
    return file
