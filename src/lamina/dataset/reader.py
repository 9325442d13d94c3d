"""Reading a dataset: units and vectors, one column at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lamina.dataset.manifest import Manifest, Shard, read_manifest
from lamina.dataset.shards import OpenShard, opened
from lamina.dataset.stored_transforms import check_new, read_transform, transform_names, write_transforms
from lamina.dataset.transform import BLOCK_ROWS, Options, Transform, fit_columns
from lamina.embeddings import (
    COMBINED,
    Explaining,
    Vectors,
    held_layer,
    layer_column,
    vector_columns,
    vector_field,
    vector_matrix,
)
from lamina.errors import DatasetError, SpecError
from lamina.spec import Spec


@dataclass(frozen=True, slots=True)
class Dataset(Explaining):
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

    def layer(self, number: int, *, transform: str | None = None) -> Vectors:
        """One layer as an array [U, D], row i for row i of `units`. No other layer is read.

        -1 is the last layer held; `transform` as in `vectors`. Raises SpecError where the dataset does not hold the
        layer.
        """
        wanted = held_layer(number, self.layers, f"layer {number} is not in {self.folder}: it holds")
        return self.vectors(layer_column(wanted), transform=transform)

    @property
    def combined(self) -> Vectors:
        """The combined layers as an array [U, D]."""
        if self.layers:
            raise SpecError(f"{self.folder} holds each layer by itself, not combined: use .layer(k)")
        return self.vectors(COMBINED)

    def vectors(self, column: str, *, transform: str | None = None) -> Vectors:
        """A vector column (`layer_4`, `combined`) as an array [U, D] of the stored type; or, after the stored
        `transform` of that name, float32 [U, d].

        Raises SpecError for a column or transform that is not held, DatasetError for one that cannot be used.
        """
        blocks = self.blocks(column)  # refuses a column that is not held
        fitted = None if transform is None else self.transform(transform, column)
        width, dtype = (self.manifest.width, self.manifest.dtype) if fitted is None else (fitted.width, "float32")
        try:
            result: Vectors = np.empty((len(self), width), dtype)
        except (MemoryError, ValueError):  # ValueError: more than an address can say
            raise DatasetError(
                f"{self.folder}: {len(self):,} × {width:,} numbers of {column} do not fit in memory; read `blocks`"
            ) from None
        row = 0
        for block in blocks:
            result[row : row + len(block)] = block if fitted is None else fitted.apply(block)
            row += len(block)
        return result

    def blocks(self, column: str, *, first_row: int = 0) -> Iterator[Vectors]:
        """A vector column in pieces [N, D] of the stored type, in the order of the rows; memory is a shard's at most.

        Where the pieces are cut may change; their rows laid end to end are those of `vectors`, from `first_row` on.
        """
        self._check_held(column)
        return self._blocks(column, first_row)

    @property
    def units(self) -> pa.Table:
        """The units table, [U] rows, with the columns that travelled along."""
        parts = []
        for shard in self.manifest.shards:
            with opened(self.folder, shard) as file:
                parts.append(file.read(_unit_columns(file)))
        return pa.concat_tables(parts, promote_options="permissive")

    def units_at(self, rows: Sequence[int]) -> pa.Table:
        """Some rows of `units`, by their numbers in ascending order; memory is a shard's at most."""
        wanted, first = np.asarray(rows, np.int64), 0
        parts: list[pa.Table] = []
        for shard in self.manifest.shards:
            low, high = np.searchsorted(wanted, (first, first + shard.n_rows))
            with opened(self.folder, shard) as file:
                if low < high or not parts:
                    table = file.read(_unit_columns(file))
                    parts.append(table.take(pa.array(wanted[low:high] - first)))
            first += shard.n_rows
        return pa.concat_tables(parts, promote_options="permissive")

    @property
    def transforms(self) -> tuple[str, ...]:
        """The names of the transforms stored with the dataset."""
        return transform_names(self.folder)

    def transform(self, name: str, column: str) -> Transform:
        """The stored transform of a vector column, such as `layer_4`: `.apply` does the same to other vectors.

        Raises SpecError where there is none of the name, DatasetError where it is damaged or was fitted on other data.
        """
        self._check_held(column)
        return read_transform(self.folder, name, column, self.manifest.shards)

    def fit_transform(
        self,
        name: str,
        *,
        centre: bool = True,
        whiten: bool = False,
        remove: int = 0,
        dims: int | None = None,
        normalize: bool = False,
        overwrite: bool = False,
    ) -> dict[str, Transform]:
        """Fit a transform on each vector column, by its name, and store them all under `name` (a-z, 0-9 and -).

        The options are those of `lamina.dataset.transform.Options`; `overwrite` replaces one of that name. The columns
        are read one after the other, in bounded memory. Raises SpecError, DatasetError.
        """
        check_new(self.folder, name, overwrite=overwrite)
        options = Options(centre=centre, whiten=whiten, remove=remove, dims=dims, normalize=normalize)
        columns = {column: self.blocks(column) for column in self.manifest.vector_columns}
        fitted = fit_columns(columns, options, width=self.manifest.width)
        write_transforms(self.folder, name, fitted, self.manifest.shards)
        return fitted

    def _check_held(self, column: str) -> None:
        if column not in self.manifest.vector_columns:
            raise SpecError(f"{column!r} is not in {self.folder}: it holds {', '.join(self.manifest.vector_columns)}")

    def _blocks(self, column: str, first_row: int) -> Iterator[Vectors]:
        for shard in self.manifest.shards:
            if first_row < shard.n_rows:
                with opened(self.folder, shard) as file:
                    self._check_column(file, column, shard)
                    for chunk in file.read([column]).column(column).slice(first_row).chunks:
                        for start in range(0, len(chunk), BLOCK_ROWS):
                            yield vector_matrix(chunk.slice(start, BLOCK_ROWS))
            first_row = max(0, first_row - shard.n_rows)

    def _check_column(self, file: OpenShard, column: str, shard: Shard) -> None:
        where, schema = f"{self.folder}, shard {shard.name}", file.schema
        expected = vector_field(column, self.manifest.width, self.manifest.dtype).type
        if column not in schema.names:
            raise DatasetError(f"{where} has no column {column}; by the manifest it has")
        found = schema.field(column).type
        if not (
            pa.types.is_fixed_size_list(found)
            and (found.list_size, found.value_type) == (expected.list_size, expected.value_type)
        ):
            raise DatasetError(f"{where}: column {column} is {found}; by the manifest it is {expected}")


def open_dataset(folder: str | Path) -> Dataset:
    """Open a dataset. Raises DatasetError where there is none, or it is damaged or unfinished."""
    path = Path(folder)
    manifest = read_manifest(path)
    if not manifest.complete:
        raise DatasetError(
            f"{path} is unfinished: its extraction was interrupted after {manifest.n_rows:,} rows; "
            "run the same job again, and it goes on from there"
        )
    return Dataset(path, manifest)


def _unit_columns(file: OpenShard) -> list[str]:
    vectors = set(vector_columns(file.schema.names))
    return [name for name in file.schema.names if name not in vectors]
