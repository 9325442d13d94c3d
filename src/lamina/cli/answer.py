"""`lamina answer`: a question in, the passages that fit and what in them answers it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lamina.cli.answer_reader import Reader, passages_of, reader_of
from lamina.cli.compose import Extraction, extraction_options, print_json, result_options

if TYPE_CHECKING:
    from lamina.dataset.reader import Dataset

WAYS = ("auto", "head", "sentence")


@click.command("answer")
@click.argument("data", metavar="PASSAGES")
@click.option("--question", "typed", multiple=True, metavar="TEXT", help="A question; many.")
@click.option("--questions", metavar="FILE", help="More of them, from a file; - is standard input, one a line.")
@click.option("--layers", multiple=True, help="4, all, 0,3,6, mean:-4..-1; many.  [default: -1; with --eval all]")
@click.option("--k", type=click.IntRange(1), default=3, show_default=True, help="Passages read for each question.")
@click.option("--by", default="auto", show_default=True, help="head, sentence, or auto: a head where there is one.")
@click.option("--eval", "evaluate", is_flag=True, help="Measure the answers to the questions in a SQuAD file.")
@click.option(
    "--language", default="en", show_default=True, help="How answers are compared: en, de, es, vi, hi, zh, ja."
)
@click.option("--pool", default="mean", show_default=True, help="Of a file: mean, max, cls, model, …")
@result_options
@extraction_options
def command(
    data: str,
    typed: tuple[str, ...],
    questions: str | None,
    layers: tuple[str, ...],
    k: int,
    by: str,
    evaluate: bool,
    language: str,
    pool: Any,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Find the passages that fit a question, at any layer, and what in them answers it.

    PASSAGES is a dataset of texts, a file of texts, or a file of SQuAD's kind (.json). The answer is a span by the
    model's own question-answering head where it has one, else the passage's sentence that is most similar to the
    question. The k passages that fit best are read, and the answers stand in the order of their own scores.

    \b
    lamina answer passages.txt --question "Who built the bridge?"
    lamina answer passages/ --questions questions.txt --layers 4 --layers 6 --json
    lamina answer xquad.en.json --eval --chart answers.svg
    """
    from lamina.apps.answer.squad import check_language, read_squad

    check_language(language)
    if by not in WAYS:
        raise click.UsageError(f"--by must be one of {', '.join(WAYS)}, not {by!r}")
    if evaluate == bool(typed or questions):
        raise click.UsageError("ask with --question TEXT or --questions FILE, or measure a SQuAD file with --eval")
    squad = read_squad(data) if data.lower().endswith(".json") else None
    how = Extraction(**extraction)
    if evaluate:
        if squad is None:
            raise click.UsageError("--eval needs a file of SQuAD's kind (.json), which says what the answers are")
        from lamina.cli.answer_eval import Task
        from lamina.cli.answer_eval import evaluate as measure

        task = Task(data, squad, by, k, language, pool)
        measure(task, how, layers or ("all",), as_json=as_json, report=report, chart=chart)
        return
    if report or chart:
        raise click.UsageError("--report and --chart show figures by layer: use them with --eval")
    asked = [*typed, *_texts_of(questions)]
    with passages_of(data, squad, how, pool) as (dataset, extractor):
        rows = _ask(dataset, reader_of(extractor, by, dataset.spec.pool), asked, layers or ("-1",), k)
    if as_json:
        print_json({"data": data, "rows": rows})
        return
    _print_answers(rows)


def _texts_of(path: str | None) -> list[str]:
    from lamina.errors import SourceError
    from lamina.text.source import Source
    from lamina.text.text import as_text

    if path is None:
        return []
    found = [as_text(text).text for rows in Source(path).rows() for text in rows.texts]
    if not found:
        raise SourceError(f"{path} holds no question")
    return found


def _ask(dataset: Dataset, reader: Reader, asked: list[str], layers: tuple[str, ...], k: int) -> list[dict[str, Any]]:
    """A row for each of the k passages of each question, the best answer first, layer by layer."""
    import numpy as np

    from lamina.apps.mix import mixes_of
    from lamina.apps.search.index import Index
    from lamina.cli.queries import query_vectors
    from lamina.text.text import as_text

    vectors = query_vectors(reader.extractor, dataset, [as_text(text) for text in asked])
    mixes = mixes_of(dataset, layers)
    results = [Index.of(dataset, str(mix)).search(mix.vectors(vectors), k=k) for mix in mixes]
    wanted = np.unique(np.concatenate([found.rows.ravel() for found in results]))
    wanted = wanted[wanted >= 0]
    texts = dataset.units_at(wanted.tolist()).column("surface").to_pylist() if wanted.size else []
    read = reader.prepare(asked, texts, ",".join(map(str, dataset.manifest.layers)))
    rows = []
    for mix, found in zip(mixes, results, strict=True):
        query, rank = np.nonzero(found.rows >= 0)
        place = np.searchsorted(wanted, found.rows[query, rank])
        answers = read(mix if dataset.layers else None, query, place)
        for n in np.lexsort((rank, np.array([-answer.score for answer in answers]), query)).tolist():
            q, answer = int(query[n]), answers[n]
            rows.append({
                "layer": str(mix), "question": asked[q], "by": reader.name,
                "answer": answer.text, "score": answer.score,
                "row": int(wanted[place[n]]), "start": answer.start, "end": answer.end, "rank": int(rank[n]) + 1,
                "similarity": float(found.scores[q, rank[n]]), "passage": texts[place[n]],
            })  # fmt: skip
    return rows


def _print_answers(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("nothing: no passage says anything")
    heading = None
    for row in rows:
        if heading != (row["layer"], row["question"]):
            click.echo(("" if heading is None else "\n") + f"{row['question']}  (layer {row['layer']}, by {row['by']})")
            heading = (row["layer"], row["question"])
        click.echo(f"  {row['score']:.4f}  {_flat(row['answer']) or '(nothing)'}  [row {row['row']}]")


def _flat(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 300 else f"{flat[:299]}…"
