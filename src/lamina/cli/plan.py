"""`lamina plan`: what an extraction will take, before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.asked import Asked, asked_options

if TYPE_CHECKING:
    from lamina.jobs.estimate import Estimate


@click.command("plan")
@asked_options
@click.option("-o", "--out", default=".", metavar="FOLDER", help="Where it would be written: is there room?")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(out: str, as_json: bool, **values: Any) -> None:
    """Say what lamina extract with the same options will take: rows, tokens, bytes on disk, memory, minutes.

    Reads FILE once, tokenizes a sample of it, and computes for some seconds.

    \b
    lamina plan reviews.csv --text review --unit token
    lamina plan reviews.csv --recipe "texts: pool=cls" --recipe "words: unit=word layers=-4..-1"
    """
    say_plan(Asked.of(values), out, as_json=as_json)


def say_plan(asked: Asked, out: str, *, as_json: bool) -> None:
    """Estimate, and print."""
    from lamina.jobs.estimate import estimate, warning
    from lamina.jobs.inputs import rows_in
    from lamina.jobs.survey import survey

    found = survey(rows_in(asked.source, on_error=asked.on_error))
    made = estimate(found, asked.load(), asked.specs)
    said = warning(made, Path(out))
    if as_json:
        click.echo(json.dumps({**made.json(), "warning": said}))
        return
    _say(made)
    if said:
        click.echo(f"lamina: {said}", err=True)


def _say(made: Estimate) -> None:
    from lamina.cli.compose import print_table

    click.echo(f"{made.n_texts:,} texts, {made.n_characters:,} characters, the longest {made.longest:,}")
    click.echo(f"about {made.n_tokens:,} tokens (from a sample of {made.n_sampled:,} texts)")
    click.echo()
    several = len(made.tables) > 1
    rows = [
        [*([table.name] if several else []), table.spec.unit, table.n_rows, table.n_columns,
         *map(size, (table.bytes_a_column, table.bytes_units, table.n_bytes))]
        for table in made.tables
    ]  # fmt: skip
    heads = [*(["table"] if several else []), "unit", "rows", "columns", "a column", "units table", "on disk"]
    print_table(heads, rows)
    others = {unit: n for unit, n in made.rows_a_unit.items() if unit not in {table.spec.unit for table in made.tables}}
    click.echo()
    click.echo("rows of other units: " + ", ".join(f"{unit} {n:,}" for unit, n in others.items()))
    click.echo(f"memory: about {size(made.memory)}")
    if made.seconds is not None:
        click.echo(f"time: about {duration(made.seconds)} on this machine as it is now")


def size(n_bytes: float) -> str:
    """Bytes for people."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.1f} {unit}"
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:,.2f} MB"


def duration(seconds: float) -> str:
    """Seconds for people."""
    for unit, factor in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:,.1f} {unit}"
    return f"{seconds:,.0f} seconds"
