"""Reading a dataset: units and vectors, one column at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamina.dataset.manifest import SHARDS, Manifest, Shard, read_manifest
from lamina.embeddings import COMBINED, Vectors, layer_column, vector_columns, vector_matrix
from lamina.errors import DatasetError, SpecError
from lamina.spec import Spec


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset on disk. Nothing is read before it is asked for, and then only the columns that it needs."""

    folder: Path
    manifest: Manifest

    def __len__(self) -> int:
        return self.manifest.n_rows

    def __repr__(self) -> str:
        columns = ", ".join(self.manifest.vector_columns)
        return f"Dataset({str(self.folder)!r}: {len(self):,} {self.spec.unit} rows × {self.manifest.width}; {columns})"

    @property
    def spec(self) -> Spec:
        """What was extracted."""
        return self.manifest.parsed_spec

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have a column each; empty where they were combined into one."""
        return self.manifest.layers if self.spec.combine == "none" else ()

    def layer(self, number: int) -> Vectors:
        """One layer as an array [U, D] of the stored type, row i for row i of `units`. No other layer is read.

        -1 is the last layer held. Raises SpecError where the dataset does not hold the layer.
        """
        wanted = self.layers[-1] if number == -1 and self.layers else number
        if wanted not in self.layers:
            held = f"layers {', '.join(map(str, self.layers))}" if self.layers else "combined layers (`.combined`)"
            raise SpecError(f"layer {number} is not in {self.folder}: it holds {held}")
        return self._vectors(layer_column(wanted))

    @property
    def combined(self) -> Vectors:
        """The combined layers as an array [U, D]."""
        if self.layers:
            raise SpecError(f"{self.folder} holds each layer by itself, not combined: use .layer(k)")
        return self._vectors(COMBINED)

    @property
    def units(self) -> pa.Table:
        """The units table, [U] rows, with the columns that travelled along."""
        parts = []
        for shard in self.manifest.shards:
            with self._opened(shard) as file:
                vectors = set(vector_columns(file.schema_arrow.names))
                parts.append(file.read(columns=[name for name in file.schema_arrow.names if name not in vectors]))
        return pa.concat_tables(parts, promote_options="permissive")

    def _vectors(self, name: str) -> Vectors:
        result = np.empty((len(self), self.manifest.width), self.manifest.dtype)
        row = 0
        for shard in self.manifest.shards:
            with self._opened(shard) as file:
                part = vector_matrix(file.read(columns=[name]).column(name))
            result[row : row + shard.n_rows] = part
            row += shard.n_rows
        return result

    def _opened(self, shard: Shard) -> pq.ParquetFile:
        path = self.folder / SHARDS / shard.name
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
        except FileNotFoundError:
            raise DatasetError(f"{path} is missing: the dataset is not whole") from None
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{path} is damaged: {error}") from None
        if file.metadata.num_rows != shard.n_rows:
            file.close()
            raise DatasetError(f"{path} has {file.metadata.num_rows} rows; the manifest says {shard.n_rows}")
        return file


def open_dataset(folder: str | Path) -> Dataset:
    """Open a dataset. Raises DatasetError where there is none, or it is damaged or unfinished."""
    path = Path(folder)
    manifest = read_manifest(path)
    if not manifest.complete:
        raise DatasetError(
            f"{path} is unfinished: its extraction was interrupted after {manifest.n_rows:,} rows; "
            "run it again and overwrite it"
        )
    return Dataset(path, manifest)
