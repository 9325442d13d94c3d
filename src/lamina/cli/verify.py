"""`lamina verify`: is a dataset whole, and if not, what of it is made again?"""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("verify")
@click.argument("dataset")
@click.option("--repair", is_flag=True, help="Compute the damaged shards again, from the input and with the model.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="FILE",
    help="For --repair: where an input lies.  [default: here or beside DATASET, by its name]",
)
@click.option("--model", help="For --repair: where the model lies.  [default: by its name]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(dataset: str, repair: bool, sources: tuple[str, ...], model: str | None, as_json: bool) -> None:
    """Read every byte of DATASET and compare it with its manifest. Exits with 1 where something is wrong.

    --repair computes the damaged shards again, and only those. What it puts in place is equal to what was there, to
    the bit; where the input or the model is another one, or this machine gives other bits, it puts nothing in place.

    \b
    lamina verify reviews/
    lamina verify reviews/ --repair --source /data/reviews.csv
    """
    from lamina.dataset.verify import verify
    from lamina.jobs.repair import repair as repaired

    if not repair and (sources or model):
        raise click.UsageError("--source and --model go with --repair")
    found = verify(dataset)
    left = repaired(dataset, sources=sources, model=model) if repair and found else found
    if as_json:
        said = {"dataset": dataset, "whole": not left, "findings": [asdict(one) for one in found]}
        click.echo(json.dumps({**said, "repaired": [asdict(one) for one in found if one not in left]}))
    else:
        for finding in found:
            click.echo(str(finding) + ("" if finding in left else "; repaired"))
        click.echo(f"{dataset}: " + (f"{len(left)} finding{'s' * (len(left) > 1)}" if left else "whole"))
    if left:
        raise click.exceptions.Exit(1)
