"""Writing a dataset: embeddings in, shards and a manifest out, in bounded memory.

Where a shard ends follows from the rows alone, not from the pieces they come in: after the text that fills it. A text
that alone would make a shard of more than twice the size is cut at that size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lamina.dataset.durable import write_whole
from lamina.dataset.folder import home
from lamina.dataset.idf_file import write_idf
from lamina.dataset.manifest import SHARDS, Manifest, Place, Shard, write_manifest
from lamina.dataset.shards import FORMATS, opened, shard_name
from lamina.embeddings import (
    PAIR_FIELDS,
    TOKEN_FIELDS,
    UNIT_FIELDS,
    Embeddings,
    Vectors,
    end_to_end,
    vector_columns,
    vector_field,
)
from lamina.errors import DatasetError

SHARD_BYTES = 128 << 20  # of vectors, about, in one shard
SHARD_TOKENS = 2_000_000  # of its texts, about: what an interruption may cost (minutes), and bounds the texts held
TOKEN_BYTES = 64  # of a row's strings that count as much as a token: what travels along is held, too
PIECE = 1 << 17  # numbers looked at together
WHOLE = ("text", "pair")  # units of which every text has a row

Int64 = npt.NDArray[np.int64]


class DatasetWriter:
    """Writes the rows of one dataset in a folder that `lamina.dataset.folder` made ready, then is spent. Used as a
    context: leaving it by an error leaves an unfinished dataset, which the same job continues."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        shard_bytes: int = SHARD_BYTES,
        shard_tokens: int = SHARD_TOKENS,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """`manifest` says what is made and what of it is on disk; `before_commit` may stop a commit by raising."""
        self.manifest = manifest
        self._folder, self._shard_tokens, self._before_commit = folder, shard_tokens, before_commit
        row_bytes = manifest.width * np.dtype(manifest.dtype).itemsize * len(manifest.vector_columns)
        self._full = max(1, shard_bytes // row_bytes)  # rows
        self._held: list[pa.Table] = []
        self._n_rows = self._n_tokens = 0  # held; with long strings counted as tokens
        self._n_texts = manifest.n_texts  # that have ended, on disk or held
        self._open = 0  # the text of the last row held
        self._schema: pa.Schema | None = None  # of the shards on disk
        self._statuses = Counter(manifest.statuses)

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end_input()
            if not self.manifest.shards:
                self._write(last=True)
            self._commit(replace(self.manifest, complete=True))

    @property
    def place(self) -> Place:
        """Where the rows that are not on disk begin, as long as none is held."""
        return self.manifest.places[-1]

    def add(self, part: Embeddings) -> None:
        """Append the next rows; shards that they fill are on disk afterwards. Raises DatasetError."""
        table = part.table(self.manifest.dtype)
        self._check_texts(table, part.n_texts)
        self._check_numbers(table)
        self._n_texts += part.n_texts
        while (end := self._end(table)) is not None:
            self._hold(table.slice(0, end))
            table = table.slice(end)
            follows = table.num_rows > 0 and table.column("text_id")[0].as_py() == self._open
            self._write(is_open=follows or self._open >= self._n_texts)
        self._hold(table)

    def end_input(self) -> None:
        """Write what is held: no shard holds texts of two inputs."""
        if self._n_rows or self._n_texts > self.manifest.n_texts:
            self._write(last=True)

    def keep_idf(self, n_texts: int, counts: npt.NDArray[np.int64]) -> None:
        """Store what `pool="idf"` was fitted on: the number of texts, and in how many of them each token occurs."""
        if self.manifest.idf is None:
            self.manifest = replace(self.manifest, idf=write_idf(self._folder, n_texts, counts))

    def _hold(self, table: pa.Table) -> None:
        self._held.append(table)
        if table.num_rows:
            self._n_rows += table.num_rows
            self._n_tokens += int(_costs(table).sum())
            self._open = table.column("text_id")[-1].as_py()

    def _end(self, table: pa.Table) -> int | None:
        """Where in a table the shard ends that is being filled; None where it does not."""
        ids = _text_ids(table)
        tokens = self._n_tokens + np.cumsum(_costs(table))
        if self._n_rows >= self._full or self._n_tokens >= self._shard_tokens:
            text = self._open  # what is held fills it: it ends with that text
        else:
            filled = min(self._full - self._n_rows - 1, int(np.searchsorted(tokens, self._shard_tokens)))
            if filled >= ids.size:
                return None
            text = int(ids[filled])
        end = 2 * self._full - self._n_rows
        if text < self._n_texts:
            end = min(end, int(np.searchsorted(ids, text, side="right")))
        return end if end <= ids.size else None

    def _write(self, *, is_open: bool = False, last: bool = False) -> None:
        """Write what is held as one shard, then say so in the manifest.

        is_open  more rows of its last text are to come.
        last     it is the last one of its input: the texts after it that have no row count as its own.
        """
        before = self.manifest
        table = end_to_end(self._held) if self._held else _no_rows(before)
        self._check_schema(table.schema)
        ids = _text_ids(table)
        n_texts = self._n_texts if last or not ids.size else int(ids[-1]) + (not is_open)
        suffix = f".{before.store}"
        name = shard_name(len(before.shards), before.fingerprint(before.input_of(before.n_texts)), suffix)
        written = write_whole(self._folder / SHARDS / name, lambda file: FORMATS[suffix].write(table, file))
        n_open = int(ids.size - np.searchsorted(ids, ids[-1])) if is_open else 0
        shard = Shard(name, table.num_rows, written.n_bytes, written.sha256, n_texts - before.n_texts, n_open)
        self._statuses.update(_counts(table))
        self._commit(
            replace(
                before,
                travelled=_travelled(table.column_names),
                n_texts=n_texts,
                n_rows=before.n_rows + table.num_rows,
                n_tokens=before.n_tokens + (pc.sum(table.column("n_tokens")).as_py() or 0),
                statuses=dict(sorted(self._statuses.items())),
                shards=(*before.shards, shard),
            )
        )
        self._held, self._n_rows, self._n_tokens = [], 0, 0

    def _commit(self, manifest: Manifest) -> None:
        self._before_commit()
        write_manifest(self._folder, manifest)
        self.manifest = manifest

    def _check_texts(self, table: pa.Table, n_texts: int) -> None:
        """Refuse rows that are not those of the next texts: one lost or doubled would be found here."""
        ids, low = _text_ids(table), self._n_texts
        high = low + n_texts  # the text that may be open at the end
        in_order = not ids.size or (low <= ids[0] and ids[-1] <= high and bool((np.diff(ids) >= 0).all()))
        if in_order and self.manifest.parsed_spec.unit in WHOLE:
            in_order = np.array_equal(np.unique(ids), np.arange(low, high))
        if not in_order:
            raise DatasetError(
                f"{self._folder}: rows of texts {ids.min(initial=low):,} to {ids.max(initial=low):,} came where texts "
                f"{low:,} to {high - 1:,} were due; nothing of them is written (a bug in Lamina)"
            )

    def _check_numbers(self, table: pa.Table) -> None:
        """Refuse what the stored type cannot hold."""
        for name in vector_columns(table.column_names):
            for chunk in table.column(name).chunks:
                if _any_infinite(chunk.flatten().to_numpy(zero_copy_only=False)):
                    raise DatasetError(
                        f"{name} holds a number beyond {self.manifest.dtype}'s range"
                        + (" (65,504): store it as float32" if self.manifest.dtype == "float16" else "")
                    )

    def _check_schema(self, schema: pa.Schema) -> None:
        """Refuse columns that are not those of the shards on disk, as those of an appended file may be."""
        if not self.manifest.shards or not self.manifest.n_texts:
            return
        if self._schema is None:
            self._schema = self._stored_schema()
        mine, theirs = ({field.name: _kind(field.type) for field in one} for one in (self._schema, schema))
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name) and name not in PAIR_FIELDS:
                raise DatasetError(
                    f"column {name!r} is {mine.get(name, 'not there')} in {self._folder} and "
                    f"{theirs.get(name, 'not there')} in what comes to it: name the columns to keep, or give one kind"
                )

    def _stored_schema(self) -> pa.Schema:
        shard = self.manifest.shards[0]
        with opened(home(self._folder, shard), shard) as file:
            return file.schema


def _any_infinite(numbers: Vectors) -> bool:
    """Whether there is an infinity among many numbers: looked for in pieces that stay in the processor's cache."""
    for low in range(0, numbers.size, PIECE):
        piece = numbers[low : low + PIECE]
        narrow = piece.dtype == np.float16  # by its bits, which is four times faster
        if (piece.view(np.uint16) & 0x7FFF == 0x7C00 if narrow else np.isinf(piece)).any():
            return True
    return False


def _costs(table: pa.Table) -> Int64:
    """What each row counts towards a shard's tokens, [N]: its tokens, or its strings where those are long."""
    n_bytes = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        if any(is_kind(column.type) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)):
            n_bytes += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    costs: Int64 = np.maximum(table.column("n_tokens").to_numpy(), n_bytes // TOKEN_BYTES)
    return costs


def _text_ids(table: pa.Table) -> Int64:
    ids: Int64 = table.column("text_id").to_numpy()
    return ids


def _kind(kind: pa.DataType) -> object:
    """A column's type; of vectors without the word that none of their numbers is null, which Lance does not keep."""
    return f"{kind.value_type}[{kind.list_size}]" if pa.types.is_fixed_size_list(kind) else kind


def _counts(table: pa.Table) -> dict[str, int]:
    return {item["values"]: item["counts"] for item in pc.value_counts(table.column("status")).to_pylist()}


def _travelled(names: list[str]) -> tuple[str, ...]:
    ours = UNIT_FIELDS | TOKEN_FIELDS | PAIR_FIELDS
    return tuple(name for name in names if name not in ours and name not in vector_columns(names))


def _no_rows(manifest: Manifest) -> pa.Table:
    """A shard without rows, so that a dataset without texts opens like any other."""
    fields = [pa.field(name, kind) for name, kind in UNIT_FIELDS.items()]
    fields += [vector_field(name, manifest.width, manifest.dtype) for name in manifest.vector_columns]
    return pa.schema(fields).empty_table()
