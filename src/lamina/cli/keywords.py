"""`lamina keywords`: the phrases that say what a text, or a group of texts, is about, by layer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    command_line,
    extraction_options,
    facts_of,
    is_dataset,
    model_facts,
    print_json,
    print_table,
    result_options,
)
from lamina.cli.given import names_file

if TYPE_CHECKING:
    from lamina.apps.keywords import Keyword, Phrases
    from lamina.apps.mix import Data, Mix
    from lamina.extraction.extractor import Extractor

SHOWN = 5  # documents in a table


@click.command("keywords")
@click.argument("data", metavar="DATA|TEXT...", nargs=-1)
@click.option("--layers", multiple=True, default=("-1",), show_default=True, help="4, all, 0,3,6, mean:-4..-1; many.")
@click.option("--k", type=click.IntRange(1), default=10, show_default=True, help="Phrases of each text.")
@click.option("--max-words", type=click.IntRange(1), default=3, show_default=True, help="Of a phrase, at most.")
@click.option(
    "--stop-words", multiple=True, default=("english",), show_default=True, metavar="WORD|FILE",
    help="What no phrase begins or ends with: english; common, words in a fifth of the texts; none; a file; many.",
)  # fmt: skip
@click.option(
    "--mmr-lambda", type=click.FloatRange(0, 1), default=0.7, show_default=True,
    help="1: the nearest phrases; less: phrases unlike one another, too.",
)  # fmt: skip
@click.option(
    "--phrase", type=click.Choice(["context", "alone"]), default="context", show_default=True,
    help="A phrase's vector: of its words where they stand, or of the phrase read by itself.",
)  # fmt: skip
@click.option("--centre", is_flag=True, help="Without what all documents have in common.")
@click.option("--by", metavar="COLUMN", help="The texts with one value of this column are one document.")
@click.option("--min-count", type=click.IntRange(1), default=1, show_default=True, help="Places of a phrase, at least.")
@click.option("--label", metavar="COLUMN", help="Known key phrases, one or a list: scores by layer.")
@click.option("--pool", default="mean", show_default=True, help="Of the texts: mean, cls, model, …")
@click.option("-o", "--out", metavar="FILE.jsonl", help="Write every document's phrases, a line each.")
@result_options
@extraction_options
def command(
    data: tuple[str, ...], layers: tuple[str, ...], k: int, max_words: int, stop_words: tuple[str, ...],
    mmr_lambda: float, phrase: str, centre: bool, by: str | None, min_count: int, label: str | None, pool: Any,
    out: str | None, as_json: bool, report: str | None, chart: str | None, **extraction: Any,
) -> None:  # fmt: skip
    """Find the key phrases of each text: those nearest to what the whole text says, and unlike one another.

    DATA is a file of texts or a dataset of words; or give the texts themselves. Phrases are runs of words that cross
    no punctuation and no sentence.

    \b
    lamina keywords "The ferry to the island is late because of fog." --layers 0,6
    lamina keywords articles.jsonl --k 5 -o keywords.jsonl
    lamina keywords questions.csv --by intent --centre --min-count 2
    lamina keywords artikel.txt --stop-words common --stop-words mine.txt
    lamina keywords papers.jsonl --label keyphrases --layers all --chart f1.svg
    """
    from lamina.apps.keywords import find_phrases, keywords
    from lamina.apps.mix import mixes_of

    if chart and not label:
        raise click.UsageError("--chart draws scores by layer: give --label as well")
    how = Extraction(**extraction)
    with _opened(data, how, pool) as (views, model, facts):
        words, stops = views["words"], _stop_words(stop_words, views["words"])
        sentences = views["sentences"].units if "sentences" in views else None
        phrases = find_phrases(
            words.units, max_words=max_words, stop_words=stops, sentences=sentences, by=by, min_count=min_count
        )
        mixes = mixes_of(words, layers)
        alone = _alone(phrases, mixes, model, words, how, pool) if phrase == "alone" else None
        found = {
            str(mix): keywords(
                words, phrases, layer=str(mix), texts=views.get("texts"), alone=alone, k=k, mmr_lambda=mmr_lambda,
                centre=centre,
            )
            for mix in mixes
        }  # fmt: skip
        scores = _scores(found, words, phrases, label, k, stops) if label else []
        facts = {"command": command_line(), **facts}
    rows = [{"layer": layer, **_row(one)} for layer, of_layer in found.items() for one in of_layer]
    if out:
        _write(out, rows)
    if chart or report:
        drawn: Any = _chart(scores) if scores else None
        if chart:
            from lamina.apps.charts import save

            save(drawn, chart)
        if report:
            _report(rows, scores, drawn, facts).save(report)
    if as_json:
        print_json({"k": k, "phrase": phrase, "mmr_lambda": mmr_lambda, "scores": scores, "rows": rows})
        return
    if scores:
        print_table(list(scores[0]), [list(row.values()) for row in scores])
        return
    _print(rows, phrases)


@contextmanager
def _opened(
    data: tuple[str, ...], how: Extraction, pool: Any
) -> Iterator[tuple[dict[str, Data], Extractor | None, dict[str, str]]]:
    """Words, and where texts are at hand, the vectors of these and their sentences; the model, and what made them."""
    from lamina.dataset.reader import open_dataset
    from lamina.errors import SpecError
    from lamina.spec import Spec

    if not data:
        raise click.UsageError("give a dataset, a file, or texts in quotes")
    if len(data) == 1 and is_dataset(data[0]):
        dataset = open_dataset(data[0])
        if dataset.spec.unit != "word" or dataset.spec.pool != "mean":
            raise SpecError(
                f"{data[0]} holds units of {dataset.spec.unit!r} by {dataset.spec.pool!r}, and phrases are made of "
                "words: extract with --unit word --pool mean"
            )
        yield {"words": dataset}, None, facts_of(dataset)
        return
    from_file = len(data) == 1 and names_file(data[0])
    specs = {"words": Spec(unit="word"), "texts": Spec(pool=pool), "sentences": Spec(unit="sentence", layers="0")}
    model = how.load()
    if from_file:
        with how.datasets(data[0], specs, extractor=model) as made:
            yield dict(made), model, facts_of(made["words"])
        return
    yield dict(model.extract_views(data, specs)), model, model_facts(model)


def _stop_words(given: Sequence[str], words: Data) -> frozenset[str]:
    """The words of all lists that are named."""
    from lamina.apps.keywords.phrases import common_words
    from lamina.apps.keywords.stop_words import ENGLISH
    from lamina.errors import SourceError

    found: set[str] = set()
    for name in given:
        if name == "english":
            found |= ENGLISH
        elif name == "common":
            found |= common_words(words.units)
        elif name != "none":
            try:
                found.update(Path(name).read_text(encoding="utf-8").casefold().split())
            except (OSError, UnicodeDecodeError) as error:
                raise SourceError(
                    f"stop words are english, common, none or a file of them in UTF-8; {name} cannot be read ({error})"
                ) from None
    return frozenset(found)


def _alone(
    phrases: Phrases, mixes: Sequence[Mix], model: Extractor | None, words: Data, how: Extraction, pool: Any
) -> Data:
    """The phrases, each read by itself by the model that made the words, at the layers that are asked for."""
    from lamina.cli.queries import made_by
    from lamina.dataset.reader import Dataset

    if model is None:
        assert isinstance(words, Dataset)
        model = made_by(words, how)
    numbers = sorted({number for mix in mixes for number in mix.numbers(words.layers)})
    return model.extract(sorted(set(phrases.names)), layers=numbers, pool=pool)


def _scores(
    found: dict[str, list[Keyword]], words: Data, phrases: Phrases, label: str, k: int, stops: frozenset[str]
) -> list[dict[str, Any]]:
    """Agreement with what is known: a row a layer, then what counting alone gives."""
    from lamina.apps.keywords.scores import agreement, baselines, known_phrases, names_of

    known = known_phrases(words.units, label, phrases)
    names = {layer: names_of(of_layer) for layer, of_layer in found.items()}
    return [
        {"layer": layer, **agreement(of_layer, known, stop_words=stops)}
        for layer, of_layer in {**names, **baselines(phrases, k)}.items()
    ]


def _row(one: Keyword) -> dict[str, Any]:
    places = [{"text_id": text, "start": start, "end": end} for text, start, end in one.places]
    return {"document": one.document, "rank": one.rank, "phrase": one.phrase, "score": one.score, "places": places}


def _write(path: str, rows: list[dict[str, Any]]) -> None:
    """A line for each layer and document."""
    lines: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for row in rows:
        shown = {name: value for name, value in row.items() if name not in ("layer", "document", "rank")}
        lines.setdefault((row["layer"], row["document"]), []).append(shown)
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for (layer, document), phrases in lines.items():
            line = {"layer": layer, "document": document, "keywords": phrases}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _print(rows: list[dict[str, Any]], phrases: Phrases) -> None:
    """The first documents, a column a layer."""
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    documents = list(dict.fromkeys(row["document"] for row in rows))
    for number, document in enumerate(documents[:SHOWN]):
        mine = [[row for row in rows if (row["document"], row["layer"]) == (document, layer)] for layer in layers]
        if len(documents) > 1:
            click.echo(f"{chr(10) if number else ''}{document if isinstance(document, str) else f'text {document}'}")
        if len(layers) == 1:
            print_table(["score", "places", "phrase"],
                        [[row["score"], len(row["places"]), row["phrase"]] for row in mine[0]])  # fmt: skip
            continue
        depth = max(map(len, mine))
        cells = [[of[k]["phrase"] if k < len(of) else "" for of in mine] for k in range(depth)]
        print_table([f"layer {layer}" for layer in layers], cells)
    if not rows:
        click.echo("no phrase: is every word a stop word?")
    if (more := len(phrases.documents) - SHOWN) > 0:
        click.echo(f"\nand {more:,} more; -o FILE.jsonl or --json gives all")


def _chart(scores: list[dict[str, Any]]) -> Any:
    from lamina.apps.charts import by_layer

    counted = {row["layer"]: row["f1"] for row in scores if row["layer"] in ("first", "tf-idf")}
    rows = [{**row, "F1": row["f1"]} for row in scores if row["layer"] not in ("first", "tf-idf", "all")]
    return by_layer(rows, score="F1", title="Key phrases against those that are known", baselines=counted)


def _report(rows: list[dict[str, Any]], scores: list[dict[str, Any]], drawn: Any, facts: dict[str, str]) -> Any:
    from lamina.apps.report import Chart, Heading, Part, Report, Table

    layers = list(dict.fromkeys(row["layer"] for row in rows))
    cells: dict[Any, dict[str, list[str]]] = {}
    for row in rows:
        cells.setdefault(row["document"], {}).setdefault(row["layer"], []).append(row["phrase"])
    table = Table(
        ["document", *(f"layer {layer}" for layer in layers)],
        [[str(document), *("; ".join(of.get(layer, ())) for layer in layers)] for document, of in cells.items()],
    )
    parts: list[Part] = [table]
    if scores:
        parts = [
            Chart(drawn),
            Table(list(scores[0]), [list(row.values()) for row in scores]),
            Heading("Phrases"),
            table,
        ]
    return Report("Key phrases", parts, f"{len(cells):,} documents.", facts)
