"""Writing a dataset: embeddings in, shards and a manifest out, in bounded memory."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lamina.dataset.durable import ASIDE, write_whole
from lamina.dataset.manifest import FILE, IDF, SHARDS, TRANSFORMS, Manifest, Shard, read_manifest, write_manifest
from lamina.embeddings import PAIR_FIELDS, TOKEN_FIELDS, UNIT_FIELDS, Embeddings, vector_columns, vector_field
from lamina.errors import DatasetError

LEFTOVERS = (SHARDS, IDF, TRANSFORMS)  # what an older dataset in the same folder may have left
SHARD_BYTES = 128 << 20  # of vectors, about, in one shard


class DatasetWriter:
    """Writes one dataset, then is spent. Used as a context: leaving it by an error leaves an unfinished dataset, which
    the same job continues."""

    def __init__(self, folder: Path, manifest: Manifest, *, overwrite: bool, shard_bytes: int = SHARD_BYTES) -> None:
        """Begin a dataset in a folder that is new, empty, or (with `overwrite`) a dataset already; or go on with one
        that the same job left unfinished.

        `manifest` says what is being made; its counts and shards are filled in here. Raises DatasetError.
        """
        self._folder, self._shard_bytes = folder, shard_bytes
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        unfinished = check_folder(folder, manifest, overwrite=overwrite)
        if unfinished is None:
            _begin(folder, manifest)
        else:
            _collect_orphans(folder, unfinished)
        self.manifest = unfinished or manifest
        self.n_texts_found = self.manifest.n_texts  # texts that are done already: add those after them
        self._statuses = Counter(self.manifest.statuses)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
            self.manifest = replace(self.manifest, complete=True)
            write_manifest(self._folder, self.manifest)

    @property
    def is_full(self) -> bool:
        """Whether what is held is enough for a shard."""
        return self._held_bytes >= self._shard_bytes

    def add(self, part: Embeddings) -> None:
        """Append the embeddings of the next texts; they are on disk after the next `flush`. Raises DatasetError."""
        table = part.table(self.manifest.dtype)
        self._check(table)
        self._held.append(table)
        self._held_bytes += sum(table.column(name).nbytes for name in self.manifest.vector_columns)
        self._statuses.update(_counts(part))
        self.manifest = replace(
            self.manifest,
            travelled=tuple(
                name for name in part.units.column_names if name not in UNIT_FIELDS | TOKEN_FIELDS | PAIR_FIELDS
            ),
            n_texts=self.manifest.n_texts + part.n_texts,
            n_tokens=self.manifest.n_tokens + (pc.sum(part.units.column("n_tokens")).as_py() or 0),
            statuses=dict(sorted(self._statuses.items())),
        )

    def keep_idf(self, n_texts: int, counts: npt.NDArray[np.int64]) -> None:
        """Store what `pool="idf"` was fitted on: the number of texts, and in how many of them each token occurs."""
        written = write_whole(
            self._folder / IDF, lambda file: np.lib.format.write_array(file, counts, allow_pickle=False)
        )
        self.manifest = replace(self.manifest, idf={"n_texts": n_texts, "sha256": written.sha256})

    def _check(self, table: pa.Table) -> None:
        """Refuse what the stored type cannot hold."""
        for name in vector_columns(table.column_names):
            for chunk in table.column(name).chunks:
                if np.isinf(chunk.flatten().to_numpy(zero_copy_only=False)).any():
                    raise DatasetError(
                        f"{name} holds a number beyond {self.manifest.dtype}'s range"
                        + (" (65,504): store it as float32" if self.manifest.dtype == "float16" else "")
                    )

    def flush(self) -> None:
        """Write what is held as one shard, then say so in the manifest."""
        if not self._held and self.manifest.shards:
            return
        table = pa.concat_tables(self._held, promote_options="default") if self._held else _no_rows(self.manifest)
        name = f"part-{len(self.manifest.shards):05d}.parquet"
        written = write_whole(self._folder / SHARDS / name, lambda file: _write_parquet(table, file))
        self._held, self._held_bytes = [], 0
        shard = Shard(name, table.num_rows, written.n_bytes, written.sha256)
        self.manifest = replace(
            self.manifest, shards=(*self.manifest.shards, shard), n_rows=self.manifest.n_rows + table.num_rows
        )
        write_manifest(self._folder, self.manifest)


def _counts(part: Embeddings) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(part.units.column("status")).to_pylist()}


def _write_parquet(table: pa.Table, file: BinaryIO) -> None:
    """Vectors plain and uncompressed (dictionary encoding made them several times slower to write), the rest small."""
    vectors = set(vector_columns(table.column_names))
    others = [name for name in table.column_names if name not in vectors]
    pq.write_table(
        table,
        file,
        compression={name: "NONE" if name in vectors else "ZSTD" for name in table.column_names},
        use_dictionary=[name for name in others if not pa.types.is_nested(table.schema.field(name).type)],
        write_statistics=others,
        write_page_checksum=True,
    )


def _no_rows(manifest: Manifest) -> pa.Table:
    """A shard without rows, so that a dataset without texts opens like any other."""
    fields = [pa.field(name, kind) for name, kind in UNIT_FIELDS.items()]
    fields += [vector_field(name, manifest.width, manifest.dtype) for name in manifest.vector_columns]
    return pa.schema(fields).empty_table()


def check_folder(folder: Path, manifest: Manifest, *, overwrite: bool) -> Manifest | None:
    """The manifest of an unfinished dataset in `folder` that `manifest` goes on with; None where it begins anew.

    Touches nothing. Raises DatasetError where a dataset may not be written into the folder, or what was left
    unfinished there was another job, with the differences.
    """
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder} is a file; a dataset is a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    if not (folder / FILE).is_file():
        raise DatasetError(f"{folder} holds other files and no dataset: give a folder that is new or empty")
    found = read_manifest(folder)
    if overwrite or not found.shards:
        return None
    if found.complete:
        raise DatasetError(f"{folder} is a dataset already: give another folder, or ask to overwrite it")
    if differences := found.differences(manifest):
        raise DatasetError(
            f"{folder} holds {found.n_texts:,} texts of an unfinished job that was another one "
            f"({'; '.join(differences)}): give another folder, or ask to overwrite it"
        )
    if found.source is None:
        raise DatasetError(
            f"{folder} is unfinished, and its input was no file that could be read again: ask to overwrite it"
        )
    for shard in found.shards:
        path = folder / SHARDS / shard.name
        if not path.is_file() or path.stat().st_size != shard.n_bytes:
            raise DatasetError(f"{path} is missing or cut short: the unfinished dataset cannot be gone on with")
    return found


def _collect_orphans(folder: Path, manifest: Manifest) -> None:
    """Remove what an interruption left beside the shards that count."""
    named = {shard.name for shard in manifest.shards}
    for path in (folder / SHARDS).iterdir():
        if path.name not in named:
            _remove(path)
    (folder / f".{FILE}{ASIDE}").unlink(missing_ok=True)


def _begin(folder: Path, manifest: Manifest) -> None:
    """Make the folder a dataset that is being written. The manifest first: from then on nothing of an older dataset
    counts, so an interruption leaves one that is unfinished and can be begun again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(folder, manifest)
        for name in LEFTOVERS:
            _remove(folder / name)
        (folder / SHARDS).mkdir()
    except OSError as error:
        raise DatasetError(f"{folder} cannot be made: {error.strerror}") from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)  # of a link, the link
