"""`lamina map`: a dataset as pictures of two dimensions, with a slider over the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    check_columns,
    command_line,
    extraction_options,
    facts_of,
    print_json,
    print_table,
    result_options,
)

if TYPE_CHECKING:
    from lamina.apps.map.pictures import Map
    from lamina.dataset.reader import Dataset


@click.command("map")
@click.argument("data", metavar="DATA")
@click.option("--layers", multiple=True, default=("all",), show_default=True, help="all, 0,3,6, or mean:-4..-1; many.")
@click.option("--method", default="pca", show_default=True, help="pca, tsne or umap.")
@click.option("--colour", metavar="COLUMN", help="The column that colours the points.  [default: the first fit for it]")
@click.option("--where", metavar="FILTER", help='Only some units: "surface==bank", "stars>=4 and lang==de".')
@click.option("--most", type=click.IntRange(3), default=50_000, show_default=True, help="More points are thinned.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the thinning, t-SNE and UMAP.")
@click.option("--normalize/--no-normalize", default=True, show_default=True, help="Vectors of unit length first.")
@click.option("--unit", default="text", show_default=True, help="Of a file: text, sentence, word or token.")
@click.option("--pool", default="mean", show_default=True, help="Of a file: mean, max, cls, model, …")
@click.option("--projector", metavar="FOLDER", help="Write vectors and texts for TensorBoard's projector.")
@click.option("--atlas", metavar="FILE.parquet", help="Write places and texts for embedding-atlas.")
@result_options
@extraction_options
def command(
    data: str,
    layers: tuple[str, ...],
    method: Any,
    colour: str | None,
    where: str | None,
    most: int,
    seed: int,
    normalize: bool,
    unit: Any,
    pool: Any,
    projector: str | None,
    atlas: str | None,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Draw the units of DATA, a dataset or a file of texts, in two dimensions: a picture for each layer.

    --report writes one HTML page with a slider over the layers: drag, zoom, hover, search; it needs no network. --chart
    writes the pictures side by side, or the one of --layers 4. What is printed says how much each picture keeps.

    \b
    lamina map examples/senses.csv --colour word --report map.html
    lamina map examples/senses.csv --unit word --where surface==bank --colour sense --chart bank.png
    lamina map reviews/ --method tsne --most 5000 --report map.html
    """
    import numpy as np

    from lamina.apps.map.pictures import make_map
    from lamina.apps.where import rows_where
    from lamina.embeddings import TOKEN_FIELDS, UNIT_FIELDS
    from lamina.spec import Spec

    how = Extraction(**extraction)
    if colour not in (UNIT_FIELDS | TOKEN_FIELDS):
        check_columns(how.source(data), colour)
    with how.dataset(data, Spec(unit=unit, pool=pool)) as dataset:
        rows = np.flatnonzero(rows_where(dataset.units, where)) if where else None
        found = make_map(dataset, layers=layers, method=method, normalize=normalize, rows=rows, most=most, seed=seed)
        title = f"Map of {_name(data)}"
        written = _write(found, dataset, colour, title, chart=chart, projector=projector, atlas=atlas)
        if report:
            written |= _page(found, dataset, colour, title, how.texts(data), report)
    if as_json:
        left_out = {"unusable": found.n_unusable, "thinned": found.n_thinned}
        print_json({"method": method, "points": len(found), **left_out, "rows": found.table(), "files": written})
        return
    print_table(
        ["layer", "variance", "neighbours", "moved"],
        [[row["layer"], row["variance"], row["neighbours"], row["moved"]] for row in found.table()],
    )
    for name, n_bytes in written.items():
        click.echo(f"{name}: {n_bytes / 1e6:,.1f} MB", err=True)


def _write(
    found: Map,
    dataset: Dataset,
    colour: str | None,
    title: str,
    *,
    chart: str | None,
    projector: str | None,
    atlas: str | None,
) -> dict[str, int]:
    """Write what was asked for; each file's name and bytes."""
    from pathlib import Path

    written = []
    if chart:
        from lamina.apps.charts import save
        from lamina.apps.map.chart import map_chart

        save(map_chart(found, dataset.units, colour=colour, title=title), chart)
        written.append(Path(chart))
    if projector:
        from lamina.apps.map.export import save_projector

        written += [Path(projector) / name for name in save_projector(found, dataset, projector)]
    if atlas:
        from lamina.apps.map.export import save_atlas

        save_atlas(found, dataset.units, atlas)
        written.append(Path(atlas))
    return {str(path): path.stat().st_size for path in written}


def _page(
    found: Map, dataset: Dataset, colour: str | None, title: str, texts: list[str] | None, report: str
) -> dict[str, int]:
    from pathlib import Path

    from lamina.apps.map.page import map_page

    inside = texts if dataset.spec.unit != "text" else None
    facts = {"command": command_line(), **facts_of(dataset)}
    map_page(found, dataset.units, colour=colour, texts=inside, title=title, facts=facts).save(report)
    return {report: Path(report).stat().st_size}


def _name(data: str) -> str:
    from pathlib import Path

    return Path(data).name or data
