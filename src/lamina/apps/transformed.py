"""Data seen through a dataset's stored transform: the dataset's own vectors, or others such as those of queries."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lamina.apps.mix import Data
from lamina.dataset.reader import Dataset
from lamina.embeddings import COMBINED, Vectors, held_layer, layer_column


@dataclass(frozen=True, slots=True)
class Transformed:
    """`Data` whose layers are those of `data` after the transform `name` of `dataset`."""

    data: Data
    dataset: Dataset
    name: str

    def __len__(self) -> int:
        return len(self.data)

    @property
    def units(self) -> pa.Table:
        """The units table."""
        return self.data.units

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the layers."""
        return self.data.layers

    @property
    def combined(self) -> Vectors:
        """The combined layers [U, d], transformed."""
        return self.dataset.transform(self.name, COMBINED).apply(self.data.combined)

    def layer(self, number: int) -> Vectors:
        """A layer [U, d], transformed."""
        wanted = held_layer(number, self.layers, f"layer {number} is not here: there are")
        return self.dataset.transform(self.name, layer_column(wanted)).apply(self.data.layer(wanted))


def transformed(data: Data, dataset: Dataset, name: str | None) -> Data:
    """The data through a stored transform; as they are where `name` is None. Raises SpecError, DatasetError."""
    return data if name is None else Transformed(data, dataset, name)
