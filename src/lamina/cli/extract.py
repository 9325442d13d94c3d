"""`lamina extract`: texts in, a dataset out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.asked import Asked, asked_options
from lamina.cli.options import quiet_option

if TYPE_CHECKING:
    from lamina.dataset.reader import Dataset
    from lamina.extraction.extractor import Extractor
    from lamina.jobs.survey import Survey

MARKED = 3  # the exit code where all is done but some rows, which are marked


@click.command("extract")
@asked_options
@click.option("-o", "--out", required=True, metavar="FOLDER", help="The dataset's folder: new or empty.")
@click.option("--store", default="parquet", show_default=True, help="How shards are stored: parquet, arrow or lance.")
@click.option(
    "--batch-tokens", type=click.IntRange(1), help="Tokens computed at once.  [default: what suits the engine]"
)
@click.option("--overwrite", is_flag=True, help="Replace a dataset that is there already.")
@click.option("--append", is_flag=True, help="Let the texts of FILE come to those that a finished dataset holds.")
@click.option("--add", is_flag=True, help="Let --layers come to those that a finished dataset of FILE holds.")
@click.option("--dry-run", is_flag=True, help="Only say what it will take, as lamina plan does.")
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a sentence.")
def command(
    out: str,
    store: Any,
    batch_tokens: int | None,
    overwrite: bool,
    append: bool,
    add: bool,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Extract embeddings of the texts in FILE into a dataset.

    FILE is a .txt (a text a line), .csv, .tsv, .jsonl, .parquet, .conll or .conllu file, or - for standard input. Every
    other column travels along. Layer 0 is the embedding layer's output, 1 to n the encoder layers, -1 the last one.

    An interrupted job goes on where it was when the same command is given again; a finished one is left as it is.

    \b
    lamina extract reviews.csv -o reviews/ --text review
    lamina extract reviews.csv -o words/ --text review --unit word --layers -4..-1 --combine mean
    cat lines.txt | lamina extract - -o lines/
    lamina extract reviews.csv -o both/ --recipe "texts: pool=cls" --recipe "words: unit=word layers=-4..-1"
    lamina extract more.csv -o reviews/ --text review --append
    lamina extract reviews.csv -o some/ --text review --layers 3 --add
    """
    from lamina.cli.plan import say_plan
    from lamina.cli.progress import progress
    from lamina.jobs.local import run

    asked = Asked.of(values)
    if dry_run:
        say_plan(asked, out, as_json=as_json)
        return
    watched = not quiet and sys.stderr.isatty()
    # Finds every broken row before the work begins, and how much there is; a job that goes on has done so.
    goes_on = _is_begun(out, asked) and not (overwrite or append)
    found = _surveyed(asked) if watched or not goes_on else None
    extractor = asked.load()
    if not quiet:
        _say_engine(asked.engine, extractor)
        _warn(asked, found, extractor, out)
    with progress(found.n_characters if found else None, quiet=quiet) as seen:
        datasets = run(
            asked.source, Path(out), extractor, asked.specs, store=store,
            batch_tokens=batch_tokens, overwrite=overwrite, append=append, add=add, on_error=asked.on_error,
            on_batch=seen,
        )  # fmt: skip
    if as_json:
        made = [{"folder": str(one.folder), "manifest": one.manifest.json()} for one in datasets.values()]
        rates = {"seconds": seen.seconds, "tokens_per_second": seen.n_tokens / seen.seconds}
        click.echo(json.dumps({"datasets": made, **rates}))
    else:
        for dataset in datasets.values():
            _say(dataset)
        if seen.n_tokens == 0 and any(len(dataset) for dataset in datasets.values()):
            click.echo("all of it was there already")
            seen.n_texts = 0
        click.echo(f"{seen.seconds:.1f} s on {extractor.engine.name} {extractor.engine.precision}: {seen.rate()}")
    if n_marked := max(dataset.manifest.statuses.get("error", 0) for dataset in datasets.values()):
        said = "one text" if n_marked == 1 else f"{n_marked:,} texts"
        click.echo(f"lamina: {said} could not be read: status error, and the column error says why", err=True)
        click.get_current_context().exit(MARKED)


def _say_engine(asked: str, extractor: Extractor) -> None:
    """What a user may not expect of the engine, on stderr."""
    engine = extractor.engine
    if asked == "transformers":
        click.echo("the bridge to transformers is slower than Lamina's own engines", err=True)
    if asked == "auto" and engine.name.startswith("torch"):
        click.echo(f"a GPU is there: computing on {engine.name}", err=True)
    if engine.faster and sys.stderr.isatty():
        click.echo(f"this machine computes {engine.faster} natively: --precision auto is faster", err=True)


def _surveyed(asked: Asked) -> Survey | None:
    """How much there is; None where it comes once."""
    from lamina.jobs.inputs import rows_in
    from lamina.jobs.survey import survey

    return survey(rows_in(asked.source, on_error=asked.on_error)) if asked.source.can_be_read_twice else None


def _is_begun(out: str, asked: Asked) -> bool:
    from lamina.dataset.manifest import FILE

    return all((Path(out) / name / FILE).is_file() for name in asked.specs)


def _warn(asked: Asked, found: Survey | None, extractor: Extractor, out: str) -> None:
    """Say it where the disk will be full, or nearly so large a dataset is not what was meant."""
    from lamina.jobs.estimate import estimate, may_be_large, warning

    if found is not None and may_be_large(found, extractor.plan(asked.specs)):
        said = warning(estimate(found, extractor, asked.specs, timed=False), Path(out))
        if said:
            click.echo(f"lamina: {said}", err=True)


def _say(dataset: Dataset) -> None:
    spec, manifest = dataset.spec, dataset.manifest
    n_bytes = sum(shard.n_bytes for shard in manifest.shards)
    what = f"{manifest.n_texts:,} texts" + ("" if spec.unit == "text" else f", {manifest.n_rows:,} {spec.unit}s")
    shown = f"layers {', '.join(map(str, manifest.layers))}" + ("" if dataset.layers else f" combined ({spec.combine})")
    click.echo(f"{dataset.folder}: {what}; {shown}, each × {manifest.width} {spec.dtype}; {n_bytes / 1e6:,.1f} MB")
    others = {status: n for status, n in manifest.statuses.items() if status != "ok"}
    if others:
        click.echo("  of the rows: " + ", ".join(f"{n:,} {status}" for status, n in others.items()))
