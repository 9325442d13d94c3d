"""What `classify`, `tag` and `relations` share: where to look, by a layer or a probe's winner; a trained thing's own
encoder; and whole texts out of a stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import click

from lamina.cli.compose import Extraction, is_dataset
from lamina.cli.options import together

if TYPE_CHECKING:
    import pyarrow as pa

    from lamina.apps.trained import Encoder, Place
    from lamina.dataset.reader import Dataset
    from lamina.embeddings import Embeddings
    from lamina.extraction.extractor import Extractor
    from lamina.spec import Spec, Unit
    from lamina.text.source import Source


# Where to look: `layer`, `winner` and `pool`.
layer_options = together(
    click.option("--layer", metavar="WORD", help="4, -1, mean:-4..-1, concat:3,5, or weights: 0.2,0.8:3,4."),
    click.option("--winner", metavar="FILE", help="What `lamina probe --save` wrote, instead of --layer."),
    click.option("--pool", help="mean, max, first, last, cls, ...  [default: mean]"),
)


@contextmanager
def training_data(
    data: str, how: Extraction, *, unit: Unit, layer: str | None, winner: str | None, pool: str | None
) -> Iterator[tuple[Dataset, str]]:
    """The vectors to learn from, and which layer or mix of them: of a dataset, or of a file that is extracted first,
    only the layers that are needed. Raises SpecError, UsageError."""
    from lamina.apps.mix import Mix
    from lamina.spec import Spec

    if winner is not None:
        if layer is not None or pool is not None:
            raise click.UsageError("--winner says the layer and the pool itself")
        with _won(data, how, winner, unit) as found:
            yield found
        return
    if is_dataset(data):
        if pool is not None:
            raise click.UsageError("--pool is for files: a dataset has its own")
        with how.dataset(data, Spec()) as dataset:
            if layer is None and len(dataset.manifest.vector_columns) > 1:
                raise click.UsageError(_WHICH)
            yield dataset, layer or "-1"
        return
    if layer is None:
        raise click.UsageError(_WHICH)
    with how.dataset(data, _spec(layer, unit, pool or "mean", "include")) as dataset:
        yield dataset, str(Mix(",".join(map(str, dataset.layers)), Mix.parse(layer).combine))


@contextmanager
def _won(data: str, how: Extraction, path: str, unit: Unit) -> Iterator[tuple[Dataset, str]]:
    """Training data where a probe's winner says to look."""
    from dataclasses import replace

    from lamina.apps.winner import read_winner
    from lamina.errors import CheckpointError, SpecError

    winner = read_winner(path)
    if winner.unit != unit:
        raise SpecError(f"{path} is the winner of a probe of each {winner.unit}; this needs one of each {unit}")
    if not _was_given("model"):
        how = replace(how, model=winner.model, revision=winner.revision)
    with how.dataset(data, _spec(winner.layer, unit, winner.pool, winner.special)) as dataset:
        made, spec = dataset.manifest.made, dataset.spec
        if winner.weights_sha256 not in (None, made.weights_sha256):
            raise CheckpointError(
                f"{path} was found on {winner.model}, and the vectors are of {made.model}: other weights"
            )
        for name in ("unit", "pool", "special"):
            if getattr(winner, name) != getattr(spec, name):
                raise SpecError(
                    f"{path} was found with {name} {getattr(winner, name)!r}, {data} has {getattr(spec, name)!r}"
                )
        yield dataset, winner.layer


_WHICH = "say which layer to look at, --layer or --winner: `lamina probe` finds out which one is best"


def _spec(layer: str, unit: Unit, pool: Any, special: Any) -> Spec:
    """Extracts just the layers of a mix, each by itself."""
    from lamina.apps.mix import Mix
    from lamina.errors import SpecError
    from lamina.spec import Spec

    if not (layers := Mix.parse(layer).layers):
        raise SpecError(f"{layer!r} is for a dataset whose layers were combined; of a file, say which layers")
    return Spec(layers=layers, unit=unit, pool=pool, special=special, dtype="float32")


# The encoder of a trained thing, where it is not found under the name it was trained with; how it is run.
encoder_options = together(
    click.option("--model", help="The encoder, where it has another name here.  [default: as trained]"),
    click.option("--revision", help="A hub model's branch, tag or commit.  [default: as trained]"),
    click.option("--engine", default="auto", show_default=True, help="auto, openvino, torch, reference, ..."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
    click.option("--precision", help="float32, bfloat16 or auto.  [default: as trained]"),
    click.option("--threads", type=click.IntRange(1), help="Default: all that this process may use."),
)


@dataclass(frozen=True, slots=True)
class Run:
    """An encoder and texts for it: the values of `encoder_options` and `source_options`."""

    model: str | None
    revision: str | None
    engine: str
    device: str
    precision: Any
    threads: int | None
    text: str | None
    pair: str | None
    words: str | None
    format: str | None
    columns: tuple[str, ...] | None
    errors: Any
    quiet: bool

    def load(self, encoder: Encoder | None) -> Extractor:
        """The encoder that something was trained on, its hashes checked. Raises CheckpointError for another."""
        from lamina.errors import SpecError
        from lamina.extraction.loading import load

        name = self.model or (encoder.model if encoder else None)
        if name is None:
            raise SpecError("this was trained on vectors of unknown origin: name the encoder with --model")
        revision = self.revision if self.model or self.revision else encoder.revision if encoder else None
        precision: Any = self.precision or (encoder.precision if encoder else "float32")
        extractor = load(
            name,
            engine=self.engine,
            device=self.device,
            precision=precision,
            threads=self.threads,
            revision=revision,
        )
        if encoder is not None:
            encoder.check(encoder_of(extractor, with_recipe=encoder.recipe_sha256 is not None))
        return extractor

    def source(self, path: str) -> Source:
        """The texts, described."""
        from lamina.text.source import Source

        return Source(path, self.format, self.text, self.pair, self.words, None, self.columns, None, self.errors)

    def parts(self, path: str, extractor: Extractor, specs: Mapping[str, Spec]) -> Iterator[dict[str, Embeddings]]:
        """The embeddings of a source for each Spec, part by part. A row that cannot be read keeps its place, with the
        status `error`."""
        from lamina.cli.progress import progress

        source = self.source(path)
        is_watched = sys.stderr.isatty() and not self.quiet and source.can_be_read_twice
        n_characters = source.count_characters(on_error="mark") if is_watched else None
        with progress(n_characters, quiet=self.quiet) as seen:
            rows = source.rows(on_error="mark")
            yield from extractor.stream_rows(rows, specs, on_batch=seen, on_error="mark")


def whole_texts(parts: Iterator[dict[str, Embeddings]]) -> Iterator[dict[str, Embeddings]]:
    """The same rows, but no text in two parts: one longer than a part comes in several."""
    from lamina.embeddings import concatenate

    held: dict[str, Embeddings] | None = None
    for part in parts:
        joined = part if held is None else {name: concatenate((held[name], part[name])) for name in part}
        last = max(_last_text(one) for one in joined.values())
        cuts = {name: _rows_before(one, last) for name, one in joined.items()}
        if any(cuts.values()):
            yield {name: _rows(one, 0, cuts[name]) for name, one in joined.items()}
        held = {name: _rows(one, cuts[name], len(one)) for name, one in joined.items()}
    if held is not None:
        yield held


def _last_text(part: Embeddings) -> int:
    return int(part.units["text_id"][-1].as_py()) if len(part) else -1


def _rows_before(part: Embeddings, text: int) -> int:
    return int(part.units["text_id"].to_numpy().searchsorted(text))


def _rows(part: Embeddings, low: int, high: int) -> Embeddings:
    from lamina.embeddings import Embeddings

    return Embeddings(part.units.slice(low, high - low), {k: v[low:high] for k, v in part.columns.items()}, n_texts=0)


def readable(part: Embeddings) -> Embeddings:
    """The same without the rows that stand for texts that could not be read."""
    import numpy as np

    from lamina.embeddings import Embeddings

    keep = np.asarray(part.units["status"].to_pylist(), object) != "error"
    if keep.all():
        return part
    return Embeddings(part.units.filter(keep), {k: v[keep] for k, v in part.columns.items()}, n_texts=part.n_texts)


def encoder_of(extractor: Extractor, *, with_recipe: bool = False) -> Encoder:
    """Who an extractor is. It reads the weights' files, for their hash."""
    from lamina.apps.trained import Encoder

    return Encoder(
        extractor.checkpoint.name,
        extractor.checkpoint.revision,
        extractor.architecture.family,
        extractor.checkpoint.weights_sha256(),
        extractor.tokenizer.sha256,
        extractor.engine.precision,
        extractor.sentence_recipe().sha256 if with_recipe else None,
    )


def facts(place: Place, data: str) -> dict[str, str]:
    """What made a trained thing's answers on DATA, for a report."""
    import hashlib
    from pathlib import Path

    from lamina import __version__
    from lamina.cli.compose import command_line

    found = {"command": command_line(), "data": data, "layer": place.layer, "spec": str(place.spec)}
    if Path(data).is_file():
        with Path(data).open("rb") as file:
            found["data"] = f"{data} sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    if (encoder := place.encoder) is not None:
        found["model"] = f"{encoder.model} {encoder.revision or ''}".strip()
        found |= {"weights": f"sha256 {encoder.weights_sha256}", "tokenizer": f"sha256 {encoder.tokenizer_sha256}"}
    return {**found, "versions": f"lamina {__version__}"}


@contextmanager
def opened_out(path: str | None) -> Iterator[IO[str]]:
    """A file to write lines to, or stdout."""
    if path is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with open(path, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - `-` is no path
        yield file


def leave(n_unreadable: int) -> None:
    """Say how many rows could not be read, and leave with 3 where any could not, as `lamina extract` does."""
    from lamina.cli.extract import MARKED

    if n_unreadable:
        click.echo(f"{n_unreadable:,} rows could not be read: their status is `error`", err=True)
        click.get_current_context().exit(MARKED)


def travelled(units: pa.Table) -> list[str]:
    """The columns of a units table that came along from the input."""
    from lamina.embeddings import PAIR_FIELDS, TOKEN_FIELDS, UNIT_FIELDS

    return [name for name in units.column_names if name not in UNIT_FIELDS | TOKEN_FIELDS | PAIR_FIELDS]


def _was_given(name: str) -> bool:
    from click.core import ParameterSource

    return click.get_current_context().get_parameter_source(name) == ParameterSource.COMMANDLINE
