"""The job: a source of texts in, a dataset (or several, from one pass) out, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import get_args

from lamina.dataset.manifest import Input, Made, Manifest, Store
from lamina.dataset.reader import Dataset, open_dataset
from lamina.dataset.writer import SHARD_BYTES
from lamina.errors import DatasetError, SpecError
from lamina.extraction.extractor import Done, Extractor
from lamina.extraction.loading import load
from lamina.extraction.plan import View
from lamina.jobs.inputs import Given, Texts, check_apart, found_again, given, rows_in, twice
from lamina.jobs.made import made_by
from lamina.jobs.one_pass import idf_for, write_all
from lamina.jobs.target import How, Target, check_target, open_target
from lamina.spec import Combine, Dtype, Layers, Long, Overlap, Pool, Spec, Special, Unit, check_word
from lamina.text.lines import Errors
from lamina.text.source import Source
from lamina.text.text import OnError, Text


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
    store: Store = "parquet",
    batch_tokens: int | None = None,
    overwrite: bool = False,
    append: bool = False,
    add: bool = False,
    errors: Errors = "strict",
    longest: int | None = None,
    on_error: OnError = "stop",
) -> Dataset:
    """Extract embeddings of a file (or an iterable) of texts into a dataset, in bounded memory.

    source   a path (`.txt .csv .tsv .jsonl .parquet .conll .conllu`, `-` for standard input), a `Source`, or an
             iterable of strings.
    out      the dataset's folder: new or empty, or with `overwrite`, `append` or `add` a dataset.
    model    a name, a folder, or what `lamina.load` gave.
    text, format, columns, keep, errors, longest   how to read the file: see `lamina.text.source.Source`.
    store    how the shards are stored: `parquet` (any tool reads it), `arrow` (written and mapped at the disk's speed)
             or `lance` (single rows read by themselves; an extra).
    on_error   a row that cannot be read or tokenized: `stop` raises, `mark` keeps it with the status `error`, the
               reason in the column `error`, and NaN.
    append   the texts come to those that a finished dataset holds; all else must be as it was made.
    add      the layers come to those that a finished dataset holds of the same texts, and alone are computed.

    A job that was interrupted goes on when it is called again, with the same result; one that is finished is left as it
    is. The other options are those of `Spec`. Raises SourceError, TextError, SpecError, CheckpointError, DatasetError.
    """
    spec = Spec.of(
        layers=layers, unit=unit, pool=pool, combine=combine, special=special, long=long, max_tokens=max_tokens,
        stride=stride, overlap=overlap, dims=dims, normalize=normalize, prompt=prompt, dtype=dtype,
    )  # fmt: skip
    if isinstance(source, str | Path):
        source = Source(str(source), format, text, columns=columns, keep=keep, errors=errors, longest=longest)
    elif errors != "strict" or any(given is not None for given in (text, format, columns, keep, longest)):
        raise SpecError("text, format, columns, keep, errors and longest say how to read a path; this source is none")
    extractor = model if isinstance(model, Extractor) else load(model)
    return run(
        source, Path(out), extractor, {"": spec}, store=store,
        batch_tokens=batch_tokens, overwrite=overwrite, append=append, add=add, on_error=on_error,
    )[""]  # fmt: skip


def extract_views(
    source: str | Path | Source | Iterable[str | Text],
    out: str | Path,
    specs: Mapping[str, Spec],
    *,
    model: str | Path | Extractor = "minilm",
    store: Store = "parquet",
    batch_tokens: int | None = None,
    overwrite: bool = False,
    append: bool = False,
    add: bool = False,
    on_error: OnError = "stop",
) -> dict[str, Dataset]:
    """Several datasets from one pass, `out / name` for each: `{"words": Spec(unit="word"), "texts": Spec(pool="cls")}`.

    The Specs must agree on `long`, `max_tokens`, `stride` and `overlap`. A file's columns are said by a `Source`.
    The other options are those of `extract`. A table that is finished is left as it is: one more name in `specs`, and
    only that table is made. Raises what `extract` raises.
    """
    if isinstance(source, str | Path):
        source = Source(str(source))
    extractor = model if isinstance(model, Extractor) else load(model)
    return run(
        source, Path(out), extractor, specs, store=store,
        batch_tokens=batch_tokens, overwrite=overwrite, append=append, add=add, on_error=on_error,
    )  # fmt: skip


def run(
    source: Texts,
    out: Path,
    extractor: Extractor,
    specs: Mapping[str, Spec],
    *,
    store: Store = "parquet",
    batch_tokens: int | None = None,
    overwrite: bool = False,
    append: bool = False,
    add: bool = False,
    on_error: OnError = "stop",
    on_batch: Callable[[Done], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Dataset]:
    """Run the job: one pass, a dataset for each Spec, in the folder `out / name` (the name "" is `out` itself).

    A job that was interrupted goes on where it was: what is on disk already is not computed again, and the result is
    that of a job never interrupted, byte for byte; of one that is finished, nothing is computed. `overwrite`, `append`
    and `add` are those of `extract`. `on_batch` hears of each batch that is done.
    """
    how = _how(overwrite=overwrite, append=append, add=add)
    plan = extractor.plan(specs)  # what contradicts the model is found before a folder is touched
    check_apart(source, out)
    read = given(twice(source) if any(spec.pool == "idf" for spec in specs.values()) else source)
    made = made_by(extractor)
    check_word("store", store, get_args(Store))
    wanted = {name: _manifest(made, view, read.described, store) for name, view in plan.views.items()}
    held = {out / name: check_target(out / name, manifest, how) for name, manifest in wanted.items()}
    idf = idf_for(read, specs.values(), extractor, held, on_error=on_error)
    rows = rows_in(read.texts, on_error=on_error)
    with ExitStack() as stack:
        targets: dict[str, Target] = {}
        for name, manifest in wanted.items():
            target = stack.enter_context(open_target(out / name, manifest, how, shard_bytes=shard_bytes))
            if target is not None:
                targets[name] = target
        if targets:
            inputs = _inputs(read, [target.writer.manifest for target in targets.values()], how, out)
            begun = [(one, rows_in(one.texts, on_error=on_error) if how == "add" else rows) for one in inputs]
            write_all(
                begun, targets, extractor, idf=idf, batch_tokens=batch_tokens, on_batch=on_batch, on_error=on_error
            )
    return {name: open_dataset(out / name) for name in specs}


def _how(*, overwrite: bool, append: bool, add: bool) -> How:
    ways: dict[How, bool] = {"overwrite": overwrite, "append": append, "add": add}
    chosen = [way for way, is_chosen in ways.items() if is_chosen]
    if len(chosen) > 1:
        raise SpecError(f"{' and '.join(chosen)} exclude each other: say one of them")
    return chosen[0] if chosen else "new"


def _inputs(read: Given, manifests: Sequence[Manifest], how: How, out: Path) -> list[Given]:
    """What is read for tables that hold the same texts, with the texts' numbers in them."""
    first = manifests[0]
    if any(manifest.inputs != first.inputs for manifest in manifests):
        raise DatasetError(f"the tables in {out} hold different texts: change them one by one")
    if how == "add":
        return [found_again(one, [read], folder=out) for one in first.inputs]
    return [replace(read, described=first.inputs[-1])]


def _manifest(made: Made, view: View, read: Input, store: Store) -> Manifest:
    made = replace(made, recipe_sha256=view.recipe.sha256 if view.recipe else None)
    return Manifest(spec=str(view.spec), layers=view.layers, width=view.width, made=made, store=store, inputs=(read,))
