"""`lamina search eval`: how well each layer finds what was judged relevant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import Extraction, extraction_options, facts_of, is_dataset, result_options
from lamina.cli.figures import Figures

if TYPE_CHECKING:
    from lamina.cli.queries import Queries
    from lamina.dataset.reader import Dataset

metric_option = click.option("--metric", default="cosine", show_default=True, help="cosine or dot.")
transform_option = click.option("--transform", metavar="NAME", help="A transform that lamina fit stored.")


@click.command("eval", short_help="Measure how well each layer finds what is relevant.")
@click.argument("data", metavar="DATA")
@click.option("--queries", required=True, metavar="FILE", help="The queries.")
@click.option("--query-text", metavar="COLUMN", help="The column of that file that holds them.")
@click.option("--query-id", metavar="COLUMN", help="The column of their ids.  [default: id, else their number from 0]")
@click.option("--id", "document_id", metavar="COLUMN", help="DATA's column of ids.  [default: id, else text_id]")
@click.option("--qrels", metavar="FILE", help="Judgements as TREC writes them: QUERY 0 DOCUMENT RELEVANCE.")
@click.option("--relevant", metavar="COLUMN", help="The queries' column with the id of the relevant document.")
@click.option("--layers", multiple=True, default=("all",), show_default=True, help="all, 0,3,6, or mean:-4..-1; many.")
@click.option("--at", type=click.IntRange(1), multiple=True, default=(10,), show_default=True, help="Cutoffs; many.")
@click.option("--depth", type=click.IntRange(1), default=100, show_default=True, help="Results looked at, for MRR.")
@click.option("--prompt", help="The queries' prompt, for --pool model.  [default: the dataset's]")
@click.option("--unit", default="text", show_default=True, help="Of a file: text, sentence, word or token.")
@click.option("--pool", default="mean", show_default=True, help="Of a file: mean, max, cls, model, …")
@transform_option
@metric_option
@result_options
@extraction_options
def evaluate(
    data: str,
    queries: str,
    query_text: str | None,
    query_id: str | None,
    document_id: str | None,
    qrels: str | None,
    relevant: str | None,
    layers: tuple[str, ...],
    at: tuple[int, ...],
    depth: int,
    prompt: str | None,
    unit: Any,
    pool: Any,
    transform: str | None,
    metric: Any,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Measure how well each layer finds what was judged relevant: MRR, nDCG and recall.

    Judgements come from a file of TREC's kind (--qrels), or from a column of the queries that holds the id of each
    one's document (--relevant). Search is exact.
    """
    from lamina.apps.charts import by_layer
    from lamina.apps.mix import mixes_of
    from lamina.apps.search.index import Index
    from lamina.apps.search.retrieval import retrieval
    from lamina.apps.transformed import transformed
    from lamina.cli.queries import made_by, queries_of_file, query_vectors
    from lamina.spec import Spec

    if (qrels is None) == (relevant is None):
        raise click.UsageError("say what is relevant: --qrels FILE or --relevant COLUMN")
    how = Extraction(**extraction)
    extractor = None if is_dataset(data) else how.load()
    with how.dataset(data, Spec(unit=unit, pool=pool), extractor=extractor) as dataset:
        asked = queries_of_file(queries, column=query_text, unit=dataset.spec.unit, word=None)
        judged = _judged(dataset, asked, qrels, relevant, query_id=query_id, document_id=document_id)
        extractor = extractor or made_by(dataset, how)
        vectors = transformed(query_vectors(extractor, dataset, asked.texts, prompt=prompt), dataset, transform)
        seen = transformed(dataset, dataset, transform)
        rows = []
        for mix in mixes_of(dataset, layers):
            found = Index.of(seen, str(mix), metric=metric).search(mix.vectors(vectors), k=max(depth, *at))
            figures = retrieval(found.rows, judged, cutoffs=sorted(set(at)))
            rows.append({"layer": str(mix), **figures.row()})
        facts = facts_of(dataset)
    depth = max(depth, *at)
    title = f"{figures.n_queries:,} queries, {len(dataset):,} documents: retrieval by layer"
    about = {"data": data, "queries": figures.n_queries, "documents": len(dataset), "depth": depth}
    Figures(
        rows, {**about, "metric": metric, "transform": transform}, title, "mrr",
        lambda best: f"Layer {best['layer']} has the best mean reciprocal rank, {best['mrr']:.4f}.",
        lambda: by_layer(rows, score="mrr", title=title),
    ).give_out(facts=facts, as_json=as_json, report=report, chart=chart)  # fmt: skip


def _judged(
    dataset: Dataset, asked: Queries, qrels: str | None, relevant: str | None, *, query_id: str | None,
    document_id: str | None,
) -> list[dict[int, int]]:  # fmt: skip
    from lamina.apps.labels import is_missing
    from lamina.apps.search.retrieval import Qrels
    from lamina.cli.queries import ids_of

    units = dataset.units
    columns = {name: units.column(name).to_pylist() for name in {document_id or "id"} & set(units.column_names)}
    documents = (
        list(map(str, units.column("text_id").to_pylist()))
        if document_id is None and not columns
        else ids_of(columns, document_id, len(dataset))
    )
    ids = asked.ids(query_id)
    if qrels is not None:
        return Qrels.parse(_lines(qrels), qrels).of_rows(ids, documents)
    values = ids_of(asked.columns, relevant, len(ids))
    missing = map(is_missing, asked.columns[relevant or ""])  # such a query has nothing to find
    pairs = [(query, value) for query, value, none in zip(ids, values, missing, strict=True) if not none]
    return Qrels.of_pairs(pairs).of_rows(ids, documents)


def _lines(path: str) -> list[str]:
    from pathlib import Path

    from lamina.errors import SourceError

    try:
        return Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from None
