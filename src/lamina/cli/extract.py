"""`lamina extract`: texts in, a dataset out."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lamina.cli.options import Names, Recipe, model_options, spec_options

if TYPE_CHECKING:
    from lamina.dataset.reader import Dataset


@click.command("extract")
@click.argument("source", metavar="FILE")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="The dataset's folder: new or empty.")
@click.option("--text", metavar="COLUMN", help="The column that holds the text.  [default: text, or the only one]")
@click.option("--pair", metavar="COLUMN", help="The column that holds a second text, read together with the first.")
@click.option("--words", metavar="COLUMN", help="The column that holds ready-made words, a list, instead of --text.")
@click.option("--spans", metavar="COLUMN", help="The column that holds [[start, end], ...] for --unit span.")
@click.option("--format", "format_", help="txt, csv, tsv, jsonl or parquet.  [default: by the name; stdin: txt]")
@click.option("--columns", type=Names(), help="The columns' names, where a csv or tsv has no header line.")
@click.option("--keep", type=Names(), help="Which other columns travel along.  [default: all]")
@click.option(
    "--recipe", "recipes", multiple=True, type=Recipe(), help="NAME: OPTIONS, for several tables from one pass."
)
@spec_options
@model_options
@click.option(
    "--batch-tokens", type=click.IntRange(1), default=2048, show_default=True, help="Tokens computed at once."
)
@click.option("--overwrite", is_flag=True, help="Replace a dataset that is there already.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a sentence.")
def command(
    source: str,
    out: str,
    text: str | None,
    pair: str | None,
    words: str | None,
    spans: str | None,
    format_: str | None,
    columns: tuple[str, ...] | None,
    keep: tuple[str, ...] | None,
    recipes: tuple[tuple[str, str], ...],
    model: str,
    revision: str | None,
    engine: str,
    precision: Any,
    threads: int | None,
    batch_tokens: int,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **spec_values: Any,
) -> None:
    """Extract embeddings of the texts in FILE into a dataset.

    FILE is a .txt (a text a line), .csv, .tsv, .jsonl or .parquet file, or - for standard input. Every other
    column travels along. Layer 0 is the embedding layer's output, 1 to n the encoder layers, -1 the last one.

    \b
    lamina extract reviews.csv -o reviews/ --text review
    lamina extract reviews.csv -o words/ --text review --unit word --layers -4..-1 --combine mean
    cat lines.txt | lamina extract - -o lines/
    lamina extract reviews.csv -o both/ --recipe "texts: pool=cls" --recipe "words: unit=word layers=-4..-1"
    """
    from lamina.cli.progress import progress
    from lamina.extraction.extractor import load
    from lamina.jobs.local import run
    from lamina.spec import Spec
    from lamina.text.source import Source

    specs = {"": Spec.of(**spec_values)}
    if recipes:
        if any(
            _was_given(name) for name in ("layers", "unit", "pool", "combine", "special", "normalize", "dims", "prompt")
        ):
            raise click.UsageError("with --recipe, what to extract is said in each recipe")
        shared = {name: spec_values[name] for name in ("long", "max_tokens", "stride", "overlap", "dtype")}
        specs = {name: replace(Spec.parse(words), **shared) for name, words in recipes}
    described = Source(source, format_, text, pair, words, spans, columns, keep)
    # Finds every broken row before the work begins, and how much there is.
    n_characters = described.count_characters() if described.can_be_read_twice else None
    extractor = load(model, engine=engine, precision=precision, threads=threads, revision=revision)
    if extractor.engine.faster and not quiet and sys.stderr.isatty():
        click.echo(f"this machine computes {extractor.engine.faster} natively: --precision auto is faster", err=True)
    with progress(n_characters, quiet=quiet) as seen:
        datasets = run(
            described, Path(out), extractor, specs, batch_tokens=batch_tokens, overwrite=overwrite, on_batch=seen
        )
    if as_json:
        made = [{"folder": str(one.folder), "manifest": one.manifest.json()} for one in datasets.values()]
        rates = {"seconds": seen.seconds, "tokens_per_second": seen.n_tokens / seen.seconds}
        click.echo(json.dumps({"datasets": made, **rates}))
        return
    for dataset in datasets.values():
        _say(dataset)
    click.echo(f"{seen.seconds:.1f} s on {extractor.engine.name} {extractor.engine.precision}: {seen.rate()}")


def _was_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) == ParameterSource.COMMANDLINE


def _say(dataset: Dataset) -> None:
    spec, manifest = dataset.spec, dataset.manifest
    n_bytes = sum(shard.n_bytes for shard in manifest.shards)
    what = f"{manifest.n_texts:,} texts" + ("" if spec.unit == "text" else f", {manifest.n_rows:,} {spec.unit}s")
    shown = f"layers {', '.join(map(str, manifest.layers))}" + ("" if dataset.layers else f" combined ({spec.combine})")
    click.echo(f"{dataset.folder}: {what}; {shown}, each × {manifest.width} {spec.dtype}; {n_bytes / 1e6:,.1f} MB")
    others = {status: n for status, n in manifest.statuses.items() if status != "ok"}
    if others:
        click.echo("  of the rows: " + ", ".join(f"{n:,} {status}" for status, n in others.items()))
