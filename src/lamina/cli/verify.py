"""`lamina verify`: is a dataset whole?"""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("verify")
@click.argument("dataset")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(dataset: str, as_json: bool) -> None:
    """Read every byte of DATASET and compare it with its manifest. Exits with 1 where something is wrong."""
    from lamina.dataset.verify import verify

    findings = verify(dataset)
    if as_json:
        click.echo(
            json.dumps({"dataset": dataset, "whole": not findings, "findings": [asdict(one) for one in findings]})
        )
    else:
        for finding in findings:
            click.echo(str(finding))
        click.echo(f"{dataset}: " + (f"{len(findings)} findings" if findings else "whole"))
    if findings:
        raise click.exceptions.Exit(1)
