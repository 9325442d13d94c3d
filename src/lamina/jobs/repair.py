"""Repair: the damaged shards of a dataset computed again from its inputs, equal to the bit, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pyarrow as pa

from lamina.dataset.durable import Written, write_whole
from lamina.dataset.folder import tidy
from lamina.dataset.idf_file import read_idf, write_idf
from lamina.dataset.lock import locked
from lamina.dataset.manifest import IDF, SHARDS, Manifest, Shard, read_manifest
from lamina.dataset.shards import FORMATS
from lamina.dataset.verify import Finding, damaged, verify
from lamina.embeddings import end_to_end
from lamina.engine.batch import Precision
from lamina.errors import DatasetError
from lamina.extraction.extractor import Extractor
from lamina.extraction.idf import Idf, fit_idf
from lamina.extraction.loading import load
from lamina.jobs.inputs import Given, found_again, given, rows_in
from lamina.jobs.made import made_by
from lamina.jobs.one_pass import after
from lamina.text.source import Source


def repair(
    folder: str | Path, *, sources: Sequence[str | Path] = (), model: str | Path | Extractor | None = None
) -> list[Finding]:
    """Make the damaged files of a dataset again, and give the findings that are left, such as files of somebody else.

    sources  where the files lie that it was made of; those are found that lie here, or beside it, by their names.
    model    None: the one that made it, by its name.

    Raises DatasetError where an input or the model is not the same any more, or gives other bits on this machine; then
    the damaged file stays as it was.
    """
    path = Path(folder)
    with locked(path) as lock:
        manifest = read_manifest(path)
        tidy(path, manifest)
        if names := {finding.name for finding in damaged(path, manifest)}:
            extractor = _model(path, manifest, model)
            known = [given(Source(str(source))) for source in sources]
            idf = _idf(path, manifest, known, extractor)
            for number, shard in enumerate(manifest.shards):
                if shard.name in names:
                    which = manifest.input_of(manifest.places[number].text)
                    read = found_again(manifest.inputs[which], known, folder=path)
                    table = _computed(manifest, number, read, extractor, idf)
                    lock.check()
                    _put(path / SHARDS / shard.name, shard, table)
        return verify(path)


def _model(folder: Path, manifest: Manifest, model: str | Path | Extractor | None) -> Extractor:
    made = manifest.made
    if not isinstance(model, Extractor):
        engine, precision = made.engine.split()[0], cast(Precision, made.precision)  # `load` refuses others
        model = load(model or made.model, engine=engine, precision=precision, revision=made.revision)
    here = replace(made_by(model), recipe_sha256=made.recipe_sha256)
    if manifest.parsed_spec.pool == "model":
        here = replace(here, recipe_sha256=model.sentence_recipe().sha256)
    if differences := made.differences(here):
        raise DatasetError(f"{folder} cannot be repaired by what would give other numbers ({'; '.join(differences)})")
    return model


def _idf(folder: Path, manifest: Manifest, known: Sequence[Given], extractor: Extractor) -> Idf | None:
    """How rare tokens are, as it is stored; counted again, and stored, where that is damaged."""
    if manifest.idf is None:
        return None
    if (kept := read_idf(folder, manifest)) is not None:
        return Idf(*kept)
    read = found_again(manifest.inputs[0], known, folder=folder)
    counted = fit_idf(rows_in(read.texts, on_error="mark"), extractor.tokenizer, on_error="mark")
    if write_idf(folder, counted.n_texts, counted.counts) != manifest.idf:
        raise DatasetError(f"{folder / IDF} cannot be made again: its texts count otherwise here")
    return counted


def _computed(manifest: Manifest, number: int, one: Given, extractor: Extractor, idf: Idf | None) -> pa.Table:
    """The rows of one shard."""
    place, shard = manifest.places[number], manifest.shards[number]
    rows = after(rows_in(one.texts, on_error="mark"), place.text - one.described.first_text)
    parts = extractor.stream_rows(
        rows, {"": manifest.parsed_spec}, idf=idf, first_row=place.text, starts={"": place}, even_if_empty=True,
        stored=True, on_error="mark",
    )  # fmt: skip
    held, n_rows = [], 0
    for part in parts:
        held.append(part[""].table(manifest.dtype).slice(0, shard.n_rows - n_rows))
        n_rows += len(part[""])
        if n_rows >= shard.n_rows:
            break
    parts.close()
    return end_to_end(held)


def _put(path: Path, shard: Shard, table: pa.Table) -> None:
    def accept(written: Written) -> None:
        if written.sha256 != shard.sha256:
            raise DatasetError(
                f"{path} cannot be made again: the same job gives other bits on this machine (sha256 "
                f"{written.sha256[:12]}…, not {shard.sha256[:12]}…); it stays as it was"
            )

    write_whole(path, lambda file: FORMATS[path.suffix].write(table, file), accept=accept)
