"""The job: a source of texts in, a dataset (or several, from one pass) out, on this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lamina.dataset.manifest import Made, Manifest
from lamina.dataset.reader import Dataset, open_dataset
from lamina.dataset.writer import SHARD_BYTES, DatasetWriter, check_folder
from lamina.embeddings import Embeddings
from lamina.errors import DatasetError, SourceError, SpecError
from lamina.extraction.batches import BATCH_TOKENS
from lamina.extraction.extractor import Done, Extractor, load
from lamina.extraction.idf import Idf, fit_idf
from lamina.extraction.plan import View
from lamina.extraction.regroup import skipped
from lamina.spec import Combine, Dtype, Layers, Long, Overlap, Pool, Spec, Special, Unit
from lamina.text.source import STDIN, Rows, Source, rows_of
from lamina.text.text import Text

LIBRARIES = ("lamina", "openvino", "tokenizers", "icu4py", "numpy", "pyarrow")  # whose versions a dataset records


def extract(
    source: str | Path | Source | Iterable[str | Text],
    out: str | Path,
    *,
    model: str | Path | Extractor = "minilm",
    text: str | None = None,
    format: str | None = None,
    columns: tuple[str, ...] | None = None,
    keep: tuple[str, ...] | None = None,
    layers: Layers = "all",
    unit: Unit = "text",
    pool: Pool = "mean",
    combine: Combine = "none",
    special: Special = "include",
    long: Long = "window",
    max_tokens: int | None = None,
    stride: int | None = None,
    overlap: Overlap = "centre",
    dims: int | None = None,
    normalize: bool = False,
    prompt: str | None = None,
    dtype: Dtype = "float16",
    batch_tokens: int = BATCH_TOKENS,
    overwrite: bool = False,
) -> Dataset:
    """Extract embeddings of a file (or an iterable) of texts into a dataset, in bounded memory.

    source   a path (`.txt .csv .tsv .jsonl .parquet`, `-` for standard input), a `Source`, or an iterable of strings.
    out      the dataset's folder: new or empty, or with `overwrite` a dataset.
    model    a name, a folder, or what `lamina.load` gave.
    text, format, columns, keep   how to read the file: see `lamina.text.source.Source`.

    The other options are those of `Spec`. Raises SourceError, TextError, SpecError, CheckpointError, DatasetError.
    """
    spec = Spec.of(
        layers=layers, unit=unit, pool=pool, combine=combine, special=special, long=long, max_tokens=max_tokens,
        stride=stride, overlap=overlap, dims=dims, normalize=normalize, prompt=prompt, dtype=dtype,
    )  # fmt: skip
    if isinstance(source, str | Path):
        source = Source(str(source), format, text, columns=columns, keep=keep)
    elif any(given is not None for given in (text, format, columns, keep)):
        raise SpecError("text, format, columns and keep say how to read a path; this source is none")
    extractor = model if isinstance(model, Extractor) else load(model)
    return run(source, Path(out), extractor, {"": spec}, batch_tokens=batch_tokens, overwrite=overwrite)[""]


def extract_views(
    source: str | Path | Source | Iterable[str | Text],
    out: str | Path,
    specs: Mapping[str, Spec],
    *,
    model: str | Path | Extractor = "minilm",
    batch_tokens: int = BATCH_TOKENS,
    overwrite: bool = False,
) -> dict[str, Dataset]:
    """Several datasets from one pass, `out / name` for each: `{"words": Spec(unit="word"), "texts": Spec(pool="cls")}`.

    The Specs must agree on `long`, `max_tokens`, `stride` and `overlap`. A file's columns are said by a `Source`.
    Raises what `extract` raises.
    """
    if isinstance(source, str | Path):
        source = Source(str(source))
    extractor = model if isinstance(model, Extractor) else load(model)
    return run(source, Path(out), extractor, specs, batch_tokens=batch_tokens, overwrite=overwrite)


def run(
    source: Source | Iterable[str | Text],
    out: Path,
    extractor: Extractor,
    specs: Mapping[str, Spec],
    *,
    batch_tokens: int = BATCH_TOKENS,
    overwrite: bool = False,
    on_batch: Callable[[Done], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Dataset]:
    """Run the job: one pass, a dataset for each Spec, in the folder `out / name` (the name "" is `out` itself).

    A job that was interrupted goes on where it was: what is on disk already is not computed again, and the result is
    that of a job never interrupted, byte for byte. `on_batch` hears of each batch that is done.
    """
    plan = extractor.plan(specs)  # what contradicts the model is found before a folder is touched
    _check_apart(source, out)
    fingerprint = _fingerprint(source)
    made = _made(extractor)
    manifests = {name: _manifest(made, view, fingerprint) for name, view in plan.views.items()}
    for name, manifest in manifests.items():
        check_folder(out / name, manifest, overwrite=overwrite)
    rows, idf = _rows(source, extractor, specs)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(DatasetWriter(out / name, manifest, overwrite=overwrite, shard_bytes=shard_bytes))
            for name, manifest in manifests.items()
        }
        for name, writer in writers.items():
            if idf is not None and specs[name].pool == "idf":
                writer.keep_idf(idf.n_texts, idf.counts)
        position = min(writer.n_texts_found for writer in writers.values())
        parts = extractor.stream_rows(
            skipped(rows, position),
            specs,
            batch_tokens=batch_tokens,
            idf=idf,
            on_batch=on_batch,
            even_if_empty=position == 0,
            first_row=position,
        )
        for part in parts:
            _add(part, writers, position)
            position += next(iter(part.values())).n_texts
    return {name: open_dataset(out / name) for name in specs}


def _add(part: Mapping[str, Embeddings], writers: Mapping[str, DatasetWriter], position: int) -> None:
    """Give each writer its table. All write a shard where one is full, so an interruption finds them (almost) even;
    one that was ahead of the others has this part already."""
    for name, embeddings in part.items():
        if writers[name].n_texts_found <= position:
            writers[name].add(embeddings)
    if any(writer.is_full for writer in writers.values()):
        for writer in writers.values():
            writer.flush()


def _fingerprint(source: Source | Iterable[str | Text]) -> dict[str, Any] | None:
    """Which file a job reads: its name, size and sha256. None for what cannot be read again."""
    if not isinstance(source, Source) or not source.can_be_read_twice:
        return None
    path = Path(source.path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None  # who reads it will say why it cannot be read
    how = {name: getattr(source, name) for name in ("text", "pair", "words", "spans", "columns", "keep")}
    return {"name": path.name, "n_bytes": path.stat().st_size, "sha256": digest, "read_as": json.loads(json.dumps(how))}


def _check_apart(source: Source | Iterable[str | Text], out: Path) -> None:
    if (
        isinstance(source, Source)
        and source.path != STDIN
        and Path(source.path).resolve().is_relative_to(out.resolve())
    ):
        raise DatasetError(f"{source.path} lies in {out}, which would be overwritten: give another folder")


def _rows(
    source: Source | Iterable[str | Text], extractor: Extractor, specs: Mapping[str, Spec]
) -> tuple[Iterable[Rows], Idf | None]:
    """The rows of a source, and how rare its tokens are where a Spec needs to know, for which it is read twice."""
    needs_idf = any(spec.pool == "idf" for spec in specs.values())
    if isinstance(source, Source):
        if needs_idf and not source.can_be_read_twice:
            raise SpecError(f"pool 'idf' reads the input twice, which {source.path} cannot give: put it in a file")
        rows: Iterable[Rows] = source.rows()
        if source.can_be_read_twice:  # what cannot be read at all leaves an older dataset as it is
            rows = chain(list(islice(rows, 1)), rows)
        return rows, fit_idf(source.rows(), extractor.tokenizer) if needs_idf else None
    if not needs_idf:
        return rows_of(source), None
    if isinstance(source, str):
        raise SourceError("texts must be an iterable of strings, not one string: put it in a list")
    held = list(source)
    return rows_of(held), fit_idf(rows_of(held), extractor.tokenizer)


def _made(extractor: Extractor) -> Made:
    """What all datasets of one pass are made with; it reads the weights' files once, for their hash."""
    return Made(
        model=extractor.checkpoint.name,
        revision=extractor.checkpoint.revision,
        family=extractor.architecture.family,
        weights_sha256=extractor.checkpoint.weights_sha256(),
        tokenizer_sha256=extractor.tokenizer.sha256,
        engine=extractor.engine.name,
        precision=extractor.engine.precision,
        versions={name: version(name) for name in LIBRARIES},
    )


def _manifest(made: Made, view: View, source: dict[str, Any] | None) -> Manifest:
    made = replace(made, recipe_sha256=view.recipe.sha256 if view.recipe else None)
    return Manifest(spec=str(view.spec), layers=view.layers, width=view.width, made=made, source=source)
