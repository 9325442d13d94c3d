"""`lamina cluster`: groups of texts or words, what each is about, and how well they agree with labels, by layer."""

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
    from lamina.apps.cluster import Cluster
    from lamina.apps.report import Report


@click.command("cluster")
@click.argument("data")
@click.option("--layer", default="-1", show_default=True, help="The layer or mix whose clusters are shown.")
@click.option("--layers", multiple=True, help="By layer, too: all, 0,3,6, or mean:-4..-1; many.")
@click.option("-k", "--k", type=click.IntRange(1), help="How many clusters.  [default: as many as labels, or the best]")
@click.option("--method", default="kmeans", show_default=True, help="kmeans or density.")
@click.option("--label", metavar="COLUMN", help="Labels to compare the clusters with.")
@click.option("--unit", default="text", show_default=True, help="Of a file: text, sentence, word.")
@click.option("--pool", default="mean", show_default=True, help="Of a file: how tokens become one vector.")
@click.option("--starts", type=click.IntRange(1), default=10, show_default=True, help="Of k-means.")
@click.option("--min-size", type=click.IntRange(2), default=5, show_default=True, help="Of density: a cluster's least.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of k-means and samples.")
@click.option("-o", "--out", metavar="FILE.jsonl", help="Write the cluster of each row.")
@result_options
@extraction_options
def command(
    data: str,
    layer: str,
    layers: tuple[str, ...],
    k: int | None,
    method: Any,
    label: str | None,
    unit: Any,
    pool: Any,
    starts: int,
    min_size: int,
    seed: int,
    out: str | None,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Group the units of DATA, a dataset or a file of texts, and say what each group is about.

    \b
    lamina cluster questions.csv -k 20 --report questions.html
    lamina cluster questions.csv --label intent --layers all --chart layers.svg
    lamina cluster dataset/ --method density --layer mean:-4..-1 -o clusters.jsonl
    """
    from lamina.apps.cluster import agreement, by_layer, cluster, described
    from lamina.apps.labels import row_labels
    from lamina.spec import Spec
    from lamina.text.breaks import word_ranges

    if chart and not layers:
        raise click.UsageError("--chart draws scores by layer: give --layers as well")
    options: dict[str, Any] = {"method": method, "starts": starts, "min_size": min_size, "seed": seed}
    how = Extraction(**extraction)
    if label:
        check_columns(how.source(data), label)
    with how.dataset(data, Spec(unit=unit, pool=pool)) as dataset:
        labels = row_labels(dataset.units, label) if label else None
        if labels is not None and k is None and method == "kmeans":
            k = len({one for one in labels if one is not None})
        found = cluster(dataset, layer=layer, k=k, **options)
        clusters = described(
            found,
            dataset,
            split=lambda text: [text[low:high] for low, high in word_ranges(text) if text[low].isalnum()],
        )
        rows = by_layer(dataset, labels, layers=layers, k=k, **options) if layers else []
        scores = agreement(found.assigned, labels) if labels is not None else {}
        facts = {"command": command_line(), **facts_of(dataset)}
        if out:
            _write(out, dataset.units, found.assigned.tolist())
    score = "v_measure" if label else "silhouette"
    if chart or report:
        drawn: Any = _chart(rows, score) if rows else None
        if chart:
            from lamina.apps.charts import save

            save(drawn, chart)
        if report:
            _report(data, clusters, rows, scores, drawn, found.layer, facts).save(report)
    if as_json:
        print_json(
            {
                "layer": found.layer, "silhouette": found.silhouette, "rows": rows, **scores,
                "clusters": [
                    {"cluster": one.number, "size": one.size, "words": one.words, "central": one.central}
                    for one in clusters
                ],
            }
        )  # fmt: skip
        return
    print_table(["cluster", "size", "words"], [[one.number, one.size, ", ".join(one.words)] for one in clusters])
    if alone := int((found.assigned < 0).sum()):
        click.echo(f"{alone:,} in no cluster")
    if scores:
        click.echo("\n" + ", ".join(f"{name.replace('_', '-')} {value:.4f}" for name, value in scores.items()))
    if rows:
        click.echo()
        print_table(list(rows[0]), [list(row.values()) for row in rows])


def _write(path: str, units: Any, assigned: list[int]) -> None:
    import json
    from pathlib import Path

    with Path(path).open("w", encoding="utf-8") as file:
        columns = ("text_id", "start", "end")
        for number, row in zip(assigned, units.select(columns).to_pylist(), strict=True):
            file.write(json.dumps({**row, "cluster": None if number < 0 else number}) + "\n")


def _chart(rows: list[dict[str, Any]], score: str) -> Any:
    from lamina.apps.charts import by_layer

    title = "Agreement of clusters with labels" if score == "v_measure" else "How well clusters stand apart"
    drawn = [
        row | {"V-measure": row["v_measure"]} if score == "v_measure" else row for row in rows if row[score] is not None
    ]
    return by_layer(drawn, score="V-measure" if score == "v_measure" else score, title=title)


def _report(
    data: str,
    clusters: list[Cluster],
    rows: list[dict[str, Any]],
    scores: dict[str, float],
    drawn: Any,
    layer: str,
    facts: dict[str, str],
) -> Report:
    from lamina.apps.report import Chart, Heading, Part, Report, Table

    parts: list[Part] = [
        Table(
            ["cluster", "size", "words", "most central"],
            [[one.number, one.size, ", ".join(one.words), "\n".join(one.central)] for one in clusters],
        )
    ]
    if rows:
        parts += [Heading("By layer"), Chart(drawn), Table(list(rows[0]), [list(row.values()) for row in rows])]
    agreed = "; ".join(f"{name.replace('_', '-')} {value:.3f}" for name, value in scores.items())
    summary = f"{len(clusters)} clusters at layer {layer}." + (f" Against the labels: {agreed}." if agreed else "")
    return Report(f"Clusters of {data}", parts, summary, facts)
