"""Targets: where the tables of a job go. A folder that is new, one that the same job left unfinished, or a finished
dataset to which texts or layers come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from lamina.dataset.durable import make_folder
from lamina.dataset.folder import NEXT, begin, check_folder, clear_next, commit_next, open_next, tidy
from lamina.dataset.lock import Lock, locked
from lamina.dataset.manifest import Manifest, read_manifest
from lamina.dataset.reader import Dataset
from lamina.dataset.writer import DatasetWriter
from lamina.embeddings import Embeddings, Vectors
from lamina.errors import DatasetError, SpecError
from lamina.spec import Spec, layers_text

How = Literal["new", "overwrite", "append", "add"]


@dataclass(frozen=True, slots=True)
class Target:
    """A table that is being written.

    spec    what is computed for it; of a dataset to which layers come, those alone.
    stored  the columns that it has already; None where all are computed.
    """

    spec: Spec
    writer: DatasetWriter
    stored: StoredColumns | None = None

    def add(self, part: Embeddings) -> None:
        """Write the next rows."""
        self.writer.add(part if self.stored is None else self.stored.joined(part, self.writer.manifest.vector_columns))


class StoredColumns:
    """The vectors that a dataset holds, row after row."""

    def __init__(self, dataset: Dataset, *, first_row: int) -> None:
        columns = dataset.manifest.vector_columns
        self._none = np.empty((0, dataset.manifest.width), np.dtype(dataset.manifest.dtype))
        self._blocks = {name: dataset.blocks(name, first_row=first_row) for name in columns}
        self._left: dict[str, Vectors] = {}

    def joined(self, part: Embeddings, names: tuple[str, ...]) -> Embeddings:
        """The next rows with all their columns, in the order of `names`; those that `part` lacks are stored."""
        columns = {name: part.columns[name] if name in part.columns else self._next(name, len(part)) for name in names}
        return Embeddings(part.units, columns, part.n_texts)

    def _next(self, name: str, n_rows: int) -> Vectors:
        held: list[Vectors] = [self._left[name]] if name in self._left else []
        while sum(map(len, held)) < n_rows:
            if (block := next(self._blocks[name], None)) is None:
                raise DatasetError(
                    f"the dataset has fewer rows of {name} than its texts give: `lamina verify` says more"
                )
            held.append(block)
        rows: Vectors = np.concatenate(held) if held else self._none  # type: ignore[assignment]
        self._left[name] = rows[n_rows:]
        return rows[:n_rows]


def check_target(folder: Path, wanted: Manifest, how: How) -> Manifest | None:
    """The dataset that is there, as far as it counts for the job. Touches nothing, and raises what `open_target` raises
    where the folder says already that it will."""
    if how in ("new", "overwrite"):
        return check_folder(folder, wanted, overwrite=how == "overwrite")
    return _changed(folder, wanted, how)[0]


@contextmanager
def open_target(folder: Path, wanted: Manifest, how: How, *, shard_bytes: int) -> Iterator[Target | None]:
    """Hold the folder's lock and give the target; None where all that is wanted is there. Leaving it without an error
    makes the dataset complete. Raises DatasetError."""
    try:
        make_folder(folder)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be made: {error.strerror}") from None
    with locked(folder) as lock:
        opened = _fresh if how in ("new", "overwrite") else _next
        with opened(folder, wanted, how, lock, shard_bytes) as target:
            yield target


@contextmanager
def _fresh(folder: Path, wanted: Manifest, how: How, lock: Lock, shard_bytes: int) -> Iterator[Target | None]:
    found = check_folder(folder, wanted, overwrite=how == "overwrite")
    if found is not None and found.complete:
        clear_next(folder, found)
        yield None
        return
    if found is None:
        begin(folder, wanted)
    else:
        tidy(folder, found)
    with DatasetWriter(folder, found or wanted, shard_bytes=shard_bytes, before_commit=lock.check) as writer:
        yield Target(wanted.parsed_spec, writer)


@contextmanager
def _next(folder: Path, wanted: Manifest, how: How, lock: Lock, shard_bytes: int) -> Iterator[Target | None]:
    held, after = _changed(folder, wanted, how)
    if after is None:
        clear_next(folder, held)
        yield None
        return
    found = open_next(folder, after)
    if found.complete:
        yield None
    else:
        spec, stored = wanted.parsed_spec, None
        if how == "add":
            missing = [number for number in after.layers if number not in held.layers]
            spec = replace(spec, layers=layers_text(missing))
            stored = StoredColumns(Dataset(folder, held), first_row=found.n_rows)
        with DatasetWriter(folder / NEXT, found, shard_bytes=shard_bytes, before_commit=lock.check) as writer:
            yield Target(spec, writer, stored)
            if how == "add":
                _check_same_rows(folder, held, writer)
    lock.check()
    commit_next(folder)


def _changed(folder: Path, wanted: Manifest, how: How) -> tuple[Manifest, Manifest | None]:
    """The finished dataset as it is, and as it will be; None where it is so already."""
    held = read_manifest(folder)
    if not held.complete:
        raise DatasetError(f"{folder} is unfinished: give the command that makes it again, then change it")
    return held, (_appended if how == "append" else _with_layers)(folder, held, wanted)


def _appended(folder: Path, held: Manifest, wanted: Manifest) -> Manifest | None:
    """The dataset with the texts of one more input."""
    if differences := held.differences(wanted, inputs=False):
        raise DatasetError(f"{folder} cannot be appended to by another job ({'; '.join(differences)})")
    if wanted.parsed_spec.pool == "idf":
        raise SpecError(
            f"pool 'idf' weighs by the texts that {folder} holds, so none can come to them: extract all anew"
        )
    (added,) = wanted.inputs
    is_known = added.identity in [one.identity for one in held.inputs]
    if is_known and added.sha256 is not None:
        return None
    # The shard of a dataset without texts lacks the columns that travel along, so it goes (unless its successor's name
    # would be its own).
    shards = held.shards if held.n_texts or is_known else ()
    inputs = (*held.inputs, replace(added, first_text=held.n_texts))
    return replace(held, inputs=inputs, shards=shards, complete=False)


def _with_layers(folder: Path, held: Manifest, wanted: Manifest) -> Manifest | None:
    """The dataset with more layers, as if all had been asked for at once, by their numbers in ascending order."""
    spec = held.parsed_spec
    if spec.combine != "none":
        raise SpecError(f"{folder} holds its layers combined, so none can come to them: extract into another folder")
    layers = tuple(sorted({*held.layers, *wanted.layers}))
    as_held = replace(wanted, spec=str(replace(wanted.parsed_spec, layers=spec.layers)), layers=held.layers)
    if differences := held.differences(as_held, inputs=False):
        raise DatasetError(f"no layers can come to {folder} by another job ({'; '.join(differences)})")
    (read,) = wanted.inputs
    if read.sha256 is None or read.identity not in [one.identity for one in held.inputs]:
        raise DatasetError(f"{folder} was made of other texts ({held.input_names}): layers come to it from those alone")
    if set(wanted.layers) <= set(held.layers):
        return None
    return replace(
        held, spec=str(replace(spec, layers=layers_text(layers))), layers=layers, shards=(), n_texts=0, n_rows=0,
        n_tokens=0, statuses={}, complete=False,
    )  # fmt: skip


def _check_same_rows(folder: Path, held: Manifest, writer: DatasetWriter) -> None:
    """Nothing is committed unless every row came again."""
    writer.end_input()
    here = writer.manifest
    counts = [(one.n_texts, one.n_rows, one.n_tokens, one.statuses) for one in (held, here)]
    if counts[0] != counts[1]:
        raise DatasetError(f"{folder} has {held.n_rows:,} rows and its texts gave {here.n_rows:,}: it stays as it was")
