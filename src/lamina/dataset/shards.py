"""Shards as files: how a table of rows becomes one, and how it is opened again. A format is a row in `FORMATS`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from lamina.dataset.arrow_shards import Arrow
from lamina.dataset.lance_shards import Lance
from lamina.dataset.manifest import SHARDS, Shard
from lamina.embeddings import vector_columns
from lamina.errors import DatasetError


class OpenShard(Protocol):
    """A shard's file, open: only the columns asked for are read."""

    @property
    def n_rows(self) -> int: ...

    @property
    def schema(self) -> pa.Schema: ...

    def read(self, columns: Sequence[str]) -> pa.Table: ...


class ShardFormat(Protocol):
    """How a table is laid in a file. The same rows give the same bytes, in whatever pieces the table holds them."""

    def write(self, table: pa.Table, file: BinaryIO) -> None: ...

    def opened(self, path: Path) -> AbstractContextManager[OpenShard]: ...


@dataclass(frozen=True, slots=True)
class _OpenParquet:
    file: pq.ParquetFile

    @property
    def n_rows(self) -> int:
        return int(self.file.metadata.num_rows)

    @property
    def schema(self) -> pa.Schema:
        return self.file.schema_arrow

    def read(self, columns: Sequence[str]) -> pa.Table:
        return self.file.read(columns=list(columns))


GROUP_VALUES = 1 << 23  # of one column in a row group: a whole shard at once took half a gigabyte and twice as long


class Parquet:
    """Vectors plain and uncompressed (dictionary encoding made them several times slower to write), the rest small."""

    def write(self, table: pa.Table, file: BinaryIO) -> None:
        table = table.combine_chunks()
        vectors = set(vector_columns(table.column_names))
        others = [name for name in table.column_names if name not in vectors]
        width = max((table.schema.field(name).type.list_size for name in vectors), default=1)
        pq.write_table(
            table,
            file,
            row_group_size=max(1, GROUP_VALUES // width),
            compression={name: "NONE" if name in vectors else "ZSTD" for name in table.column_names},
            use_dictionary=[name for name in others if not pa.types.is_nested(table.schema.field(name).type)],
            write_statistics=others,
            write_page_checksum=True,
        )

    @contextmanager
    def opened(self, path: Path) -> Iterator[OpenShard]:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield _OpenParquet(file)


FORMATS: dict[str, ShardFormat] = {".parquet": Parquet(), ".arrow": Arrow(), ".lance": Lance()}  # by a name's suffix


def shard_name(number: int, fingerprint: str, suffix: str) -> str:
    """The name of a job's shard. In the order of their names, shards are in the order of the input."""
    return f"part-{number:05d}-{fingerprint}{suffix}"


@contextmanager
def opened(folder: Path, shard: Shard) -> Iterator[OpenShard]:
    """A dataset's shard; whatever is found damaged while it is read is a DatasetError that names it."""
    path = folder / SHARDS / shard.name
    try:
        with FORMATS[path.suffix].opened(path) as file:
            if file.n_rows != shard.n_rows:
                raise DatasetError(f"{path} has {file.n_rows} rows; the manifest says {shard.n_rows}")
            yield file
    except FileNotFoundError:
        raise DatasetError(
            f"{path} is missing: the dataset is not whole, or was changed since it was opened; open it again, or look "
            "with `lamina verify`"
        ) from None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is damaged: {error}") from None
