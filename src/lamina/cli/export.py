"""`lamina export`: one layer of a dataset as a file."""

from __future__ import annotations

import click


@click.command("export")
@click.argument("dataset")
@click.option("-o", "--out", required=True, metavar="FILE", help="A name ending in .npy.")
@click.option("--layer", type=int, help="The layer, by its number; -1 is the last one held.")
@click.option("--transform", metavar="NAME", help="Transformed, as lamina fit stored it under this name.")
def command(dataset: str, out: str, layer: int | None, transform: str | None) -> None:
    """Write one layer of DATASET as a NumPy array [rows, width]: in the type it is stored in, or transformed and then
    in float32."""
    from lamina.dataset.export import export
    from lamina.dataset.reader import open_dataset

    n_rows, width = export(open_dataset(dataset), out, layer=layer, transform=transform)
    click.echo(f"{out}: {n_rows:,} × {width}")
