"""Stored indexes: `indexes/NAME` in a dataset's folder, described in docs/format.md.

One is a cache that can be made again: bound to the dataset's shards and the transform, so that it is told when they
changed; its header is replaced last, so that it exists whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from lamina.apps.mix import Layer, Mix, usable
from lamina.apps.search.exact import Float32, Int64, Metric, check_metric, longest, prepared
from lamina.apps.search.graph import Graph, usearch_version
from lamina.apps.search.index import METHODS, Bool, Index, Method
from lamina.apps.transformed import transformed
from lamina.dataset.durable import make_folder, remove, write_bytes, write_whole
from lamina.dataset.lock import LOCK, locked
from lamina.dataset.manifest import INDEXES
from lamina.dataset.reader import Dataset
from lamina.dataset.sealed import checksum, sealed
from lamina.dataset.stored_transforms import shards_sha256
from lamina.embeddings import COMBINED, Embeddings, layer_column
from lamina.errors import DatasetError, MissingExtraError, SpecError
from lamina.spec import Dtype

FORMAT, VERSION = "lamina-index", 1
FILE = "index.json"
RECALL = 0.99  # of the 10 nearest, that approximate search finds at least


@dataclass(frozen=True, slots=True)
class File:
    """One file of a stored index."""

    name: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Header:
    """What a stored index holds, and of what: `index.json`.

    made_of  layer, transform and its sha256, metric, dtype, the shards' sha256: with any other, it is another index.
    graph    the usearch file's `File`, the library's version, and what `Measured` says; None where there is none.
    """

    made_of: dict[str, Any]
    n_rows: int
    n_vectors: int
    width: int
    longest: float
    vectors: File
    rows: File | None = None
    graph: dict[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return sealed(FORMAT, VERSION, asdict(self))


@dataclass(frozen=True, slots=True)
class StoredIndex:
    """An index in a dataset's folder."""

    folder: Path
    header: Header

    def open(self, method: Method | None = None) -> Index:
        """The index, memory-mapped; for `exact` without its graph. Raises DatasetError for a missing or cut file."""
        header, made_of = self.header, self.header.made_of
        vectors = self._mapped(header.vectors, made_of["dtype"]).reshape(header.n_vectors, header.width)
        rows = None if header.rows is None else self._mapped(header.rows, "<i8")
        return Index(vectors, made_of["metric"], header.longest, rows, None if method == "exact" else self._graph())

    def _mapped(self, file: File, dtype: str) -> Any:
        path = self._checked(file)
        return np.memmap(path, np.dtype(dtype).newbyteorder("<"), mode="r") if file.n_bytes else np.empty(0, dtype)

    def _graph(self) -> Graph | None:
        if self.header.graph is None:
            return None
        path = self._checked(File(**self.header.graph["file"]))
        try:
            return Graph.view(str(path), width=self.header.graph["width"])
        except ValueError as error:
            raise DatasetError(f"{path} is damaged ({error}): index the dataset again") from None

    def _checked(self, file: File) -> Path:
        path = self.folder / file.name
        if not path.is_file() or path.stat().st_size != file.n_bytes:
            raise DatasetError(f"{path} is missing or not of its {file.n_bytes:,} bytes: index the dataset again")
        return path


def build_index(
    dataset: Dataset,
    layer: Layer = -1,
    *,
    transform: str | None = None,
    metric: Metric = "cosine",
    dtype: Dtype = "float32",
    method: Method = "exact",
    recall: float = RECALL,
) -> StoredIndex:
    """Store an index of a dataset's layer or mix in its folder, in bounded memory; one that is there already and of the
    same vectors is kept, and given a graph where `method` asks for one.

    transform  the name of a stored transform that the vectors go through first.
    method     `usearch`: with a graph, which finds at least the share `recall` of the 10 nearest.

    Raises SpecError, DatasetError; MissingExtraError without usearch.
    """
    if method not in METHODS or not 0 < recall <= 1 or dtype not in ("float32", "float16"):
        raise SpecError(
            f"method must be exact or usearch, dtype float32 or float16, recall above 0 and at most 1, not {method!r}, "
            f"{dtype!r} and {recall!r}"
        )
    mix = Mix.parse(layer)
    made_of = {**_made_of(dataset, mix, transform, metric), "dtype": dtype}
    folder = _folder(dataset, mix, transform, metric)
    try:
        make_folder(folder)
        with locked(folder):
            header = _kept(dataset, layer, transform, metric, made_of)
            if header is None:
                header = _write_vectors(dataset, mix, transform, made_of, folder)
                _write_header(folder, header)
            if method == "usearch" and (header.graph is None or header.graph["recall"] < recall):
                header = _write_graph(folder, header, recall)
                _write_header(folder, header)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written: {error.strerror}") from None
    return StoredIndex(folder, header)


def find_index(
    dataset: Dataset, layer: Layer = -1, *, transform: str | None = None, metric: Metric = "cosine"
) -> StoredIndex | None:
    """The stored index of a layer or mix; None where there is none. Raises DatasetError for a damaged or newer one."""
    folder = _folder(dataset, Mix.parse(layer), transform, metric)
    path = folder / FILE
    try:
        found = json.loads(path.read_bytes())
        if found.get("format") != FORMAT:
            raise ValueError(f"it is no index of Lamina but {found.get('format')!r}")
        if found["format_version"] != VERSION:
            raise DatasetError(
                f"{path} has format version {found['format_version']!r}: use a newer Lamina, or index the dataset again"
            )
        if found.pop("checksum") != checksum(found):
            raise ValueError("its checksum is not that of its content")
        values = {name: found[name] for name in Header.__dataclass_fields__}
        files = {name: File(**values[name]) if values[name] else None for name in ("vectors", "rows")}
        return StoredIndex(folder, Header(**{**values, **files}))
    except FileNotFoundError:
        return None
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path} is damaged ({error}): index the dataset again") from None


def _kept(
    dataset: Dataset, layer: Layer, transform: str | None, metric: Metric, made_of: dict[str, Any]
) -> Header | None:
    """The header of the index that is there, if it is whole and of the same vectors; without a damaged graph."""
    try:
        found = find_index(dataset, layer, transform=transform, metric=metric)
        if found is None or found.header.made_of != made_of:
            return None
        found.open("exact")
    except DatasetError:
        return None
    try:
        found.open()
    except DatasetError:
        return replace(found.header, graph=None)
    except MissingExtraError:  # who can read it may have it
        pass
    return found.header


def is_current(index: StoredIndex, dataset: Dataset, layer: Layer = -1, *, transform: str | None = None) -> bool:
    """Whether an index is still one of what the dataset holds."""
    made_of = index.header.made_of
    return {**_made_of(dataset, Mix.parse(layer), transform, made_of["metric"]), "dtype": made_of["dtype"]} == made_of


def _made_of(dataset: Dataset, mix: Mix, transform: str | None, metric: str) -> dict[str, Any]:
    digest = hashlib.sha256()
    for column in _columns(dataset, mix) if transform else ():
        fitted = dataset.transform(transform or "", column)
        digest.update(json.dumps(asdict(fitted.options)).encode() + fitted.mean.tobytes())
        digest.update(b"" if fitted.basis is None else fitted.basis.tobytes())
    return {
        "layer": str(_numbered(dataset, mix)),
        "transform": transform,
        "transform_sha256": digest.hexdigest() if transform else None,
        "metric": metric,
        "shards_sha256": shards_sha256(dataset.manifest.shards),
    }


def _folder(dataset: Dataset, mix: Mix, transform: str | None, metric: str) -> Path:
    """Its name says what is in it, in characters that every file system takes."""
    check_metric(metric)
    layer = str(_numbered(dataset, mix)).replace(":", "-of-").replace(",", "+")
    return dataset.folder / INDEXES / ".".join([layer, *([transform] if transform else []), metric])


def _numbered(dataset: Dataset, mix: Mix) -> Mix:
    """The mix with the numbers of its layers, so that -1 and 6 are one, and -1 and `combined`."""
    if not dataset.layers and str(mix) in ("-1", COMBINED):
        return Mix("")
    mix.numbers(dataset.layers)  # refuses a layer that is not held
    return mix.numbered(dataset.layers)


def _columns(dataset: Dataset, mix: Mix) -> list[str]:
    numbers = _numbered(dataset, mix)
    return [layer_column(number) for number in numbers.numbers(dataset.layers)] if numbers.layers else [COMBINED]


def _write_vectors(dataset: Dataset, mix: Mix, transform: str | None, made_of: dict[str, Any], folder: Path) -> Header:
    tag = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    kept: list[Int64] = []
    lengths, width = [0.0], 0

    def write(file: BinaryIO) -> None:
        nonlocal width
        for first, block, keep in _blocks(dataset, mix, transform):
            ready = prepared(block[keep], made_of["metric"]).astype(made_of["dtype"])
            kept.append(first + np.flatnonzero(keep))
            lengths.append(longest(ready))
            width = block.shape[1]
            file.write(ready.astype(ready.dtype.newbyteorder("<")).tobytes())

    written = write_whole(folder / f"vectors-{tag}", write)
    if not len(dataset):
        width = _numbered(dataset, mix).vectors(transformed(dataset, dataset, transform)).shape[1]
    rows = np.concatenate([*kept, np.empty(0, np.int64)])
    if made_of["dtype"] == "float16" and not np.isfinite(max(lengths)):
        raise DatasetError("a vector is beyond float16's range: use dtype='float32'")
    file = File(f"vectors-{tag}", written.n_bytes, written.sha256)
    named = None
    if rows.size < len(dataset):
        of_rows = write_bytes(folder / f"rows-{tag}", rows.astype("<i8").tobytes())
        named = File(f"rows-{tag}", of_rows.n_bytes, of_rows.sha256)
    return Header(made_of, len(dataset), rows.size, width, max(lengths), file, named)


def _blocks(dataset: Dataset, mix: Mix, transform: str | None) -> Iterator[tuple[int, Float32, Bool]]:
    """The vectors of a mix block by block, with the row of each block's first and which of its rows say anything."""
    status = dataset.units.column("status") if dataset.manifest.statuses.get("empty") else None
    columns, first, absolute = _columns(dataset, mix), 0, _numbered(dataset, mix)
    for blocks in zip(*(dataset.blocks(column) for column in columns), strict=True):
        n = len(blocks[0])
        said = pa.nulls(n, pa.string()) if status is None else status.slice(first, n)
        part = Embeddings(pa.table({"status": said}), dict(zip(columns, blocks, strict=True)), n_texts=0)
        vectors = absolute.vectors(transformed(part, dataset, transform))
        yield first, vectors, usable(part.units, vectors)
        first += n


def _write_graph(folder: Path, header: Header, recall: float) -> Header:
    opened = StoredIndex(folder, header).open("exact")
    graph = Graph.build(opened.vectors)
    measured = graph.measure(opened.vectors, bound=header.longest, recall=recall)
    name = header.vectors.name.replace("vectors", "graph")
    written = write_bytes(folder / name, graph.saved())
    about = {
        "file": asdict(File(name, written.n_bytes, written.sha256)),
        "usearch": usearch_version(),
        **asdict(measured),
    }
    return replace(header, graph=about)


def _write_header(folder: Path, header: Header) -> None:
    text = json.dumps(header.json(), indent=1) + "\n"
    write_bytes(folder / FILE, text.encode())
    graph = File(**header.graph["file"]) if header.graph else None
    named = {file.name for file in (header.vectors, header.rows, graph) if file is not None}
    for path in folder.iterdir():
        if path.name not in {*named, FILE, LOCK}:
            remove(path)
