"""`lamina search`: which units of a dataset are nearest to a query, at any layer."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    extraction_options,
    is_dataset,
    print_json,
    print_table,
)
from lamina.cli.search_eval import evaluate, metric_option, transform_option

if TYPE_CHECKING:
    from lamina.apps.mix import Mix
    from lamina.apps.search.exact import Found
    from lamina.apps.search.index import Index
    from lamina.apps.search.index_files import StoredIndex
    from lamina.cli.queries import Queries
    from lamina.dataset.reader import Dataset
    from lamina.extraction.extractor import Extractor

LARGE = 200_000  # rows beyond which an index is worth its disk


@click.group("search")
def command() -> None:
    """Find the units of a dataset that are nearest to a query: texts, sentences, or words used in the same way.

    \b
    lamina search query reviews.csv --query "it broke after a week"
    lamina search query words/ --query "We sat on the river [bank]." --layers 4
    lamina search index reviews/ --layer 6
    lamina search eval passages.jsonl --queries questions.jsonl --relevant passage
    """


@command.command("index", short_help="Store an index of a layer, so that queries need not read everything.")
@click.argument("dataset", metavar="DATASET")
@click.option("--layer", default="-1", show_default=True, help="A layer, or several as one: 4, mean:-4..-1.")
@transform_option
@metric_option
@click.option("--method", default="exact", show_default=True, help="exact, or usearch: approximate, for large ones.")
@click.option("--recall", default=0.99, show_default=True, help="Of the 10 nearest, what usearch finds at least.")
@click.option("--dtype", default="float32", show_default=True, help="As stored: float32 or float16.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def index(
    dataset: str,
    layer: str,
    transform: str | None,
    metric: Any,
    method: Any,
    recall: float,
    dtype: Any,
    as_json: bool,
) -> None:
    """Store an index of a layer in DATASET's folder, so that queries need not read all of it.

    An index belongs to the dataset as it was: when the dataset has changed, the next query makes it again.
    """
    from lamina.apps.search.index_files import build_index
    from lamina.dataset.reader import open_dataset

    opened = open_dataset(dataset)
    made = build_index(
        opened, layer, transform=transform, metric=metric, method=method, recall=recall, dtype=dtype
    )  # fmt: skip
    if as_json:
        print_json({"dataset": dataset, "index": str(made.folder), **made.header.json()})
        return
    _say(made)


@command.command("query", short_help="Find what is nearest to each query.")
@click.argument("data", metavar="DATA")
@click.option("--query", "typed", multiple=True, metavar="TEXT", help="What to search for; many. A word in [brackets].")
@click.option("--queries", metavar="FILE", help="More of them, from a file; - is standard input, one a line.")
@click.option("--query-text", metavar="COLUMN", help="The column of that file that holds them.")
@click.option("--word", metavar="WORD", help="The word that is meant in each query, instead of brackets.")
@click.option("--layers", multiple=True, default=("-1",), show_default=True, help="4, all, 0,3,6, mean:-4..-1; many.")
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Results for each query.")
@click.option("--where", metavar="FILTER", help='Only some units: "stars>=4 and lang==de".')
@click.option("--method", help="exact or usearch.  [default: as it was indexed]")
@click.option("--prompt", help="The queries' prompt, for --pool model.  [default: the dataset's]")
@click.option("--unit", default="text", show_default=True, help="Of a file: text, sentence, word or token.")
@click.option("--pool", default="mean", show_default=True, help="Of a file: mean, max, cls, model, …")
@transform_option
@metric_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@extraction_options
def query(
    data: str,
    typed: tuple[str, ...],
    queries: str | None,
    query_text: str | None,
    word: str | None,
    layers: tuple[str, ...],
    k: int,
    where: str | None,
    method: Any,
    prompt: str | None,
    unit: Any,
    pool: Any,
    transform: str | None,
    metric: Any,
    as_json: bool,
    **extraction: Any,
) -> None:
    """Find what is nearest to each query in DATA, a dataset or a file of texts.

    Query vectors are made as the dataset's were, by the same model. In a dataset of words the query is a word in its
    sentence, in [brackets]: where is it used like this?
    """
    from lamina.apps.mix import mixes_of
    from lamina.apps.transformed import transformed
    from lamina.apps.where import rows_where
    from lamina.cli.queries import query_vectors
    from lamina.spec import Spec

    if not typed and not queries:
        raise click.UsageError("say what to search for: --query TEXT or --queries FILE")
    how = Extraction(**extraction)
    extractor = None if is_dataset(data) else how.load()
    with how.dataset(data, Spec(unit=unit, pool=pool), extractor=extractor) as dataset:
        asked = _queries(typed, queries, query_text, word, dataset)
        extractor = extractor or _made_by(dataset, how)
        mixes = mixes_of(dataset, layers)
        allowed = rows_where(dataset.units, where) if where else None
        vectors = transformed(query_vectors(extractor, dataset, asked.texts, prompt=prompt), dataset, transform)
        results = []
        for mix in mixes:
            index = _index(dataset, mix, transform, metric, method)
            results.append((mix, index.search(mix.vectors(vectors), k=k, where=allowed, method=method)))
        rows = [row for mix, found in results for row in _result_rows(dataset, asked, mix, found)]
    if as_json:
        print_json({"data": data, "metric": metric, "transform": transform, "where": where, "rows": rows})
        return
    _print_results(rows, asked, results)


def _say(made: StoredIndex) -> None:
    header = made.header
    left_out = header.n_rows - header.n_vectors
    n_bytes = sum(path.stat().st_size for path in made.folder.iterdir())
    click.echo(
        f"{made.folder}: {header.n_vectors:,} vectors × {header.width} {header.made_of['dtype']}, "
        f"{header.made_of['metric']}; {n_bytes / 1e6:,.1f} MB"
        + (f"; {left_out:,} rows that say nothing left out" if left_out else "")
    )
    if header.graph:
        click.echo(
            f"  usearch {header.graph['usearch']}: recall@10 {header.graph['recall']:.4f} against exact search, over "
            f"{header.graph['sample']} vectors, looking at {header.graph['width']} candidates"
        )


def _queries(
    typed: tuple[str, ...], path: str | None, column: str | None, word: str | None, dataset: Dataset
) -> Queries:
    from lamina.cli.queries import Queries, queries_of_file, typed_queries

    found = typed_queries(typed, unit=dataset.spec.unit, word=word)
    if path is None:
        return found
    of_file = queries_of_file(path, column=column, unit=dataset.spec.unit, word=word)
    return of_file if not typed else Queries((*found.texts, *of_file.texts), {})


def _made_by(dataset: Dataset, how: Extraction) -> Extractor:
    from lamina.cli.queries import made_by

    return made_by(dataset, how)


def _index(dataset: Dataset, mix: Mix, transform: str | None, metric: Any, method: Any) -> Index:
    """The stored index, made again where the dataset has changed; else one in memory."""
    from lamina.apps.search.index import Index
    from lamina.apps.search.index_files import RECALL, build_index, find_index, is_current
    from lamina.apps.transformed import transformed
    from lamina.errors import DatasetError

    stored = find_index(dataset, str(mix), transform=transform, metric=metric)
    if stored is not None and not is_current(stored, dataset, str(mix), transform=transform):
        click.echo(f"{stored.folder} is of the dataset as it was: indexing it again", err=True)
        graph = stored.header.graph
        try:
            stored = build_index(
                dataset, str(mix), transform=transform, metric=metric, dtype=stored.header.made_of["dtype"],
                method="usearch" if graph else "exact", recall=min(RECALL, graph["recall"]) if graph else RECALL,
            )  # fmt: skip
        except DatasetError as error:  # somebody else is at it, or nobody may write here
            click.echo(f"{error}; searching without it", err=True)
            stored = None
    if stored is not None:
        return stored.open(method)
    if len(dataset) >= LARGE:
        click.echo(f"{len(dataset):,} rows are read: `lamina search index {dataset.folder}` makes it fast", err=True)
    return Index.of(transformed(dataset, dataset, transform), str(mix), metric=metric)


def _result_rows(dataset: Dataset, asked: Queries, mix: Mix, found: Found) -> list[dict[str, Any]]:
    """A row for each result, with its row of the units table."""
    import numpy as np

    from lamina.apps.context import contexts

    query, rank = np.nonzero(found.rows >= 0)
    rows = found.rows[query, rank]
    wanted, place = np.unique(rows, return_inverse=True)
    units = dataset.units_at(wanted.tolist()).to_pylist() if rows.size else []
    around = contexts(dataset, wanted)
    ids = asked.ids(None)
    return [
        {
            "layer": str(mix), "query_id": ids[q], "query": asked.shown(q), "rank": r + 1,
            "score": float(found.scores[q, r]), "row": int(row), "context": str(around[p]), "unit": units[p],
        }
        for q, r, row, p in zip(query.tolist(), rank.tolist(), rows.tolist(), place.tolist(), strict=True)
    ]  # fmt: skip


def _print_results(rows: list[dict[str, Any]], asked: Queries, results: list[tuple[Mix, Found]]) -> None:
    """The rows, which stand in order of layers and queries: ids need not be different."""
    left = iter(rows)
    for place, (mix, found) in enumerate(results):
        for number in range(len(asked.texts)):
            if len(results) > 1 or len(asked.texts) > 1:
                click.echo(f"{chr(10) if place or number else ''}layer {mix}: {asked.shown(number)}")
            mine = list(islice(left, int((found.rows[number] >= 0).sum())))
            if not mine:
                click.echo("nothing")
                continue
            print_table(["score", "row", "found"], [[row["score"], row["row"], _short(row["context"])] for row in mine])


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 140 else f"{flat[:139]}…"


command.add_command(evaluate)
