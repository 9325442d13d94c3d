"""The job: a source of texts in, a dataset out, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from lamina.dataset.manifest import Made, Manifest
from lamina.dataset.reader import Dataset, open_dataset
from lamina.dataset.writer import DatasetWriter
from lamina.extraction.batches import BATCH_TOKENS
from lamina.extraction.extractor import Done, Extractor, load
from lamina.extraction.plan import Plan
from lamina.spec import Combine, Dtype, Layers, Long, Pool, Spec, Special, Unit
from lamina.text.source import Rows, Source, rows_of

LIBRARIES = ("lamina", "openvino", "tokenizers", "icu4py", "numpy", "pyarrow")  # whose versions a dataset records


def extract(
    source: str | Path | Iterable[str],
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
    normalize: bool = False,
    dtype: Dtype = "float16",
    batch_tokens: int = BATCH_TOKENS,
    overwrite: bool = False,
) -> Dataset:
    """Extract embeddings of a file (or an iterable) of texts into a dataset, in bounded memory.

    source   a path (`.txt .csv .tsv .jsonl .parquet`, `-` for standard input) or an iterable of strings.
    out      the dataset's folder: new or empty, or with `overwrite` a dataset.
    model    a name, a folder, or what `lamina.load` gave.
    text, format, columns, keep   how to read the file: see `lamina.text.source.Source`.

    The other options are those of `Spec`. Raises SourceError, TextError, SpecError, CheckpointError, DatasetError.
    """
    spec = Spec.of(
        layers=layers, unit=unit, pool=pool, combine=combine, special=special, long=long,
        max_tokens=max_tokens, stride=stride, normalize=normalize, dtype=dtype,
    )  # fmt: skip
    extractor = model if isinstance(model, Extractor) else load(model)
    if isinstance(source, str | Path):
        rows: Iterable[Rows] = Source(str(source), format, text, columns, keep).rows()
    else:
        rows = rows_of(source)
    return run(rows, Path(out), extractor, spec, batch_tokens=batch_tokens, overwrite=overwrite)


def run(
    rows: Iterable[Rows],
    out: Path,
    extractor: Extractor,
    spec: Spec,
    *,
    batch_tokens: int = BATCH_TOKENS,
    overwrite: bool = False,
    on_batch: Callable[[Done], None] | None = None,
) -> Dataset:
    """Run the job over `Rows`; `on_batch` hears of each batch that is done."""
    plan = extractor.plan(spec)  # what contradicts the model is found before the folder is touched
    parts = extractor.stream_rows(rows, spec, batch_tokens=batch_tokens, on_batch=on_batch, even_if_empty=True)
    with DatasetWriter(out, _manifest(extractor, plan), overwrite=overwrite) as writer:
        for part in parts:
            writer.add(part)
    return open_dataset(out)


def _manifest(extractor: Extractor, plan: Plan) -> Manifest:
    checkpoint = extractor.checkpoint
    made = Made(
        model=checkpoint.name,
        revision=checkpoint.revision,
        family=extractor.architecture.family,
        weights_sha256=checkpoint.weights_sha256(),
        tokenizer_sha256=extractor.tokenizer.sha256,
        engine=extractor.engine.name,
        precision=extractor.engine.precision,
        versions={name: version(name) for name in LIBRARIES},
    )
    return Manifest(spec=str(plan.spec), layers=plan.layers, width=plan.width, made=made)
