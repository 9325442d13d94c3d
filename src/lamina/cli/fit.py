"""`lamina fit`: a transform of a dataset's vectors, fitted on them and stored with them."""

from __future__ import annotations

import click


@click.command("fit")
@click.argument("dataset")
@click.option("--name", required=True, help="What to call it: a-z, 0-9 and -.")
@click.option("--centre/--no-centre", default=True, show_default=True, help="Subtract the mean.")
@click.option("--remove", type=click.IntRange(0), default=0, show_default=True, help="Strongest components taken out.")
@click.option("--whiten", is_flag=True, help="Unit variance in every principal direction.")
@click.option(
    "--dims",
    type=click.IntRange(1),
    help="Numbers to keep: of the strongest directions, else the first.  [default: all]",
)
@click.option("--normalize", is_flag=True, help="Scale each vector to unit length, after all else.")
@click.option("--overwrite", is_flag=True, help="Replace a transform of that name.")
def command(
    dataset: str, name: str, centre: bool, remove: int, whiten: bool, dims: int | None, normalize: bool, overwrite: bool
) -> None:
    """Fit a transform on every vector column of DATASET and store it there; the vectors stay as they are.

    With --whiten or --remove, --dims keeps the strongest principal directions that are left; without them the first
    numbers of each vector, for models trained for it (Matryoshka).

    \b
    lamina fit reviews/ --name white --whiten --dims 128
    lamina fit reviews/ --name all-but-the-top --remove 2
    lamina export reviews/ --layer 4 --transform white -o x.npy
    """
    from lamina.dataset.reader import open_dataset

    opened = open_dataset(dataset)
    fitted = opened.fit_transform(
        name, centre=centre, whiten=whiten, remove=remove, dims=dims, normalize=normalize, overwrite=overwrite
    )
    one = next(iter(fitted.values()))
    left_out = len(opened) - one.n_rows
    click.echo(
        f"{name}: {', '.join(fitted)}; {opened.manifest.width} → {one.width}; fitted on {one.n_rows:,} rows"
        + (f" ({left_out:,} without a vector left out)" if left_out else "")
    )
