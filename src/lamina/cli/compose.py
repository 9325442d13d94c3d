"""What the apps' verbs share: DATA is a dataset already, or a file of texts that is extracted first.

The extraction of a file goes into `--keep FOLDER` (and is found there the next time), or into a folder that is removed
at the end.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from errno import ENAMETOOLONG
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.options import (
    columns_option,
    errors_option,
    format_option,
    model_options,
    quiet_option,
    text_option,
    together,
    words_option,
)

if TYPE_CHECKING:
    from lamina.dataset.reader import Dataset
    from lamina.extraction.extractor import Extractor
    from lamina.spec import Spec
    from lamina.text.source import Source


@dataclass(frozen=True, slots=True)
class Extraction:
    """How a file of texts becomes datasets: the values of `extraction_options`."""

    text: str | None
    words: str | None
    format: str | None
    columns: tuple[str, ...] | None
    model: str
    revision: str | None
    engine: str
    device: str
    precision: Any
    threads: int | None
    quiet: bool
    keep: str | None = None
    errors: Any = "strict"
    pair: str | None = None

    def load(self) -> Extractor:
        """The model."""
        from lamina.extraction.loading import load

        return load(
            self.model,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            revision=self.revision,
        )

    def source(self, data: str) -> Source:
        """The file `data`, described."""
        from lamina.text.source import Source

        return Source(data, self.format, self.text, self.pair, self.words, None, self.columns, None, self.errors)

    def texts(self, data: str) -> list[str] | None:
        """Every text of the file `data`, for showing words where they stand; None of a dataset, which keeps none."""
        from lamina.text.text import as_text

        if is_dataset(data) or not self.source(data).can_be_read_twice:
            return None
        return [as_text(text).text for rows in self.source(data).rows() for text in rows.texts]

    @contextmanager
    def datasets(
        self, data: str, specs: Mapping[str, Spec], *, extractor: Extractor | None = None
    ) -> Iterator[dict[str, Dataset]]:
        """A dataset for each Spec, by its name, made by one pass over the file `data`."""
        from lamina.cli.progress import progress
        from lamina.jobs.local import run

        source = self.source(data)
        n_characters = source.count_characters() if source.can_be_read_twice else None
        with TemporaryDirectory(prefix="lamina-") as temporary:
            out = Path(self.keep or temporary)
            with progress(n_characters, quiet=self.quiet) as seen:
                yield run(source, out, extractor or self.load(), specs, on_batch=seen)

    @contextmanager
    def dataset(self, data: str, spec: Spec, *, extractor: Extractor | None = None) -> Iterator[Dataset]:
        """The dataset in the folder `data` as it is, or one made of the file `data` as `spec` says."""
        if is_dataset(data):
            from lamina.dataset.reader import open_dataset

            yield open_dataset(data)
            return
        with self.datasets(data, {"": spec}, extractor=extractor) as made:
            yield made[""]


def is_dataset(data: str) -> bool:
    """Whether DATA is a folder, which only a dataset can be."""
    return _names(data, Path.is_dir)


def is_file(data: str) -> bool:
    """Whether DATA is a file rather than a text in quotes."""
    return _names(data, Path.is_file)


def _names(data: str, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(Path(data))
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        return False  # a text longer than a name can be


# How a file is read, and by which model: keyword arguments of the command, for `Extraction`.
reading_options = together(
    model_options, text_option, words_option, format_option, columns_option, errors_option, quiet_option
)

# The same for DATA, which is extracted where it is a file.
extraction_options = together(
    reading_options,
    click.option("--keep", metavar="FOLDER", help="Keep the extraction here; found there, it is used again."),
)


def result_file(_: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """A file for a result, found good before anything is computed."""
    from lamina.apps.charts import kind_of
    from lamina.apps.looks import altair_module
    from lamina.errors import SpecError

    if path is None:
        return None
    if parameter.name == "chart":
        kind_of(path)
        altair_module()  # an extra
    if Path(path).is_dir():
        raise SpecError(f"{parameter.opts[0]} {path} is a folder: name a file in it")
    if not (folder := Path(path).parent).is_dir():
        raise SpecError(f"{parameter.opts[0]} {path} cannot be written: there is no folder {str(folder)!r}")
    return path


# How a result is given out: a table, one JSON document, a page, a chart.
result_options = together(
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    click.option("--report", metavar="FILE.html", callback=result_file, help="Write one self-contained page."),
    click.option(
        "--chart",
        metavar="FILE",
        callback=result_file,
        help="Write the chart: .svg, .png, .html, or .json for Vega.",
    ),
)


def check_columns(source: Source, *names: str | None) -> None:
    """That a file has these columns beside its text, before it is extracted. A pipe, which can be read only once, is
    not looked into. Raises SpecError."""
    from lamina.errors import SpecError
    from lamina.text.columns import listed

    if is_dataset(source.path) or not source.can_be_read_twice:
        return
    rows = next(source.rows(on_error="mark"), None)
    if rows is None:
        raise SpecError(f"{source.name} holds no text")
    there = rows.columns.column_names
    for name in names:
        if name is not None and name not in there:
            beside = f"beside the text it has {listed(there)}" if there else "it has nothing beside the text"
            raise SpecError(f"there is no column {name!r} in {source.name}; {beside}")


def command_line() -> str:
    """The command as it was typed, for a report."""
    return shlex.join(["lamina", *sys.argv[1:]])


def facts_of(dataset: Dataset) -> dict[str, str]:
    """What made a dataset, for a report."""
    made = dataset.manifest.made
    return {
        "data": "; ".join(map(str, dataset.manifest.inputs)),
        "spec": dataset.manifest.spec,
        "model": f"{made.model} {made.revision or ''}".strip(),
        "weights": f"sha256 {made.weights_sha256}",
        "engine": f"{made.engine} {made.precision}",
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
    }


def model_facts(model: Extractor) -> dict[str, str]:
    """What a model is, for a report without a dataset."""
    return {
        "model": f"{model.checkpoint.name} {model.checkpoint.revision or ''}".strip(),
        "weights": f"sha256 {model.checkpoint.weights_sha256()}",
        "engine": f"{model.engine.name} {model.engine.precision}",
    }


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout; what is not a number is null."""
    click.echo(json.dumps(_finite(document), ensure_ascii=False))


def print_table(columns: list[str], rows: list[list[Any]]) -> None:
    """A table for people on stdout, numbers to the right; None is empty."""
    texts = [[_shown(value) for value in row] for row in rows]
    widths = [max(len(column), *(len(row[k]) for row in texts), 0) for k, column in enumerate(columns)]
    numeric = [all(not isinstance(row[k], str) for row in rows) for k in range(len(columns))]
    for row in (columns, *texts):
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a NumPy number
        value = value.item()
    return None if isinstance(value, float) and value - value != 0 else value
