"""`lamina relations`: names in texts as a graph of those that are alike and those that stand together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    command_line,
    facts_of,
    is_dataset,
    model_facts,
    print_json,
    print_table,
    result_file,
    result_options,
)
from lamina.cli.options import quiet_option, source_options
from lamina.cli.trained import Run, encoder_options, leave, readable, whole_texts

if TYPE_CHECKING:
    from lamina.apps.mix import Data, Mix
    from lamina.apps.relations import Edge, Entities, Gathering, Mention
    from lamina.apps.tag.tagger import Tagger
    from lamina.extraction.extractor import Extractor
    from lamina.extraction.head import Head
    from lamina.spec import Spec

SHOWN = 10  # edges of a kind in what is printed
WRITTEN = (".graphml", ".jsonl")


@click.command("relations")
@click.argument("data")
@click.option("--tagger", metavar="FOLDER", help="What finds the names: what `lamina tag train` wrote.")
@click.option("--head", is_flag=True, help="Or the model's own token-classification head.")
@click.option("--tags", metavar="COLUMN", help="Or this column, a list of BIO or BIOES tags for the words of a text.")
@click.option("--spans", metavar="COLUMN", help="Or this column, a list of [start, end, type] in characters.")
@click.option("--layers", multiple=True, default=("-1",), show_default=True, help="4, all, 0,3,6, mean:-4..-1; many.")
@click.option("--k", type=click.IntRange(1), default=5, show_default=True, help="Nearest others of each name.")
@click.option("--threshold", type=click.FloatRange(-1, 1), default=0.5, show_default=True, help="Cosine, at least.")
@click.option("--centre", is_flag=True, help="Cosines without what all names have in common.")
@click.option("--min-count", type=click.IntRange(1), default=1, show_default=True, help="Mentions of a name, at least.")
@click.option(
    "--min-together", type=click.IntRange(1), default=1, show_default=True, help="Sentences of a pair, at least."
)
@click.option("-o", "--out", metavar="FILE", callback=result_file,
              help="Write the graph: .graphml, or .jsonl for a list of edges.")  # fmt: skip
@result_options
@source_options
@quiet_option
@encoder_options
def command(
    data: str, tagger: str | None, head: bool, tags: str | None, spans: str | None, layers: tuple[str, ...], k: int,
    threshold: float, centre: bool, min_count: int, min_together: int, out: str | None, as_json: bool,
    report: str | None, chart: str | None, **how: Any,
) -> None:  # fmt: skip
    """Link the names in DATA, a file of texts or a dataset of words: each with those nearest to it by their vectors in
    their sentences, and with those in one sentence with it.

    \b
    lamina relations news.jsonl --tagger tagger/ -o news.graphml
    lamina relations news.jsonl --model my-ner-model/ --head -o news.graphml
    lamina relations test.conll --tags tags --layers all
    lamina relations tagged.jsonl --spans spans --centre --threshold 0.4 -o edges.jsonl

    Exit code 3: some rows could not be read.
    """
    from lamina.apps.relations import neighbours, together, write_graphml, write_jsonl

    ways = [name for name, way in (("--tagger", tagger), ("--head", head), ("--tags", tags), ("--spans", spans)) if way]
    if len(ways) != 1:
        given = f"not {' and '.join(ways)}" if ways else "and none is given"
        raise click.UsageError(f"say what finds the names: one of --tagger, --head, --tags and --spans, {given}")
    if out and Path(out).suffix not in WRITTEN:
        raise click.UsageError(f"a graph is written as {' or '.join(WRITTEN)}, not {out!r}")
    run = Run(**how)
    finder = _Finder.of(run, tagger, head, tags, spans)
    if not is_dataset(data):
        finder = finder.loaded(run)
    found, words, n_unreadable = _gathered(data, run, finder, layers, min_count)
    similar = {word: neighbours(found, word, k=k, threshold=threshold, centre=centre) for word in words}
    beside = together(found, min_count=min_together)
    edges = [edge for of_layer in similar.values() for edge in of_layer] + beside
    rows = [_figures(found, word, of_layer, centre) for word, of_layer in similar.items()]
    if out:
        (write_graphml if out.endswith(".graphml") else write_jsonl)(out, found, edges)
    if chart or report:
        drawn: Any = _chart(rows)
        if chart:
            from lamina.apps.charts import save

            save(drawn, chart)
        if report:
            _report(data, found, rows, edges, drawn, _facts(data, finder)).save(report)
    if as_json:
        _print_json(found, rows, edges)
    else:
        _print(found, rows, similar[words[-1]], beside)
    leave(n_unreadable)


@dataclass(frozen=True, slots=True)
class _Finder:
    """What finds the names: a tagger, a model's own head, or a column of tags or of spans; and the model."""

    extractor: Extractor | None
    tagger: Tagger | None = None
    head: Head | None = None
    tags: str | None = None
    spans: str | None = None

    @classmethod
    def of(cls, run: Run, tagger: str | None, head: bool, tags: str | None, spans: str | None) -> _Finder:
        """The model is loaded late, where DATA is texts: a dataset needs none."""
        if tagger is not None:
            from lamina.apps.tag.tagger import read_tagger

            return cls(None, tagger=read_tagger(tagger))
        if head:
            extractor = replace(run, model=run.model or "minilm").load(None)
            return cls(extractor, head=extractor.head("token_classification"))
        return cls(None, tags=tags, spans=spans)

    def loaded(self, run: Run) -> _Finder:
        """The same with its model."""
        if self.extractor is not None:
            return self
        encoder = self.tagger.place.encoder if self.tagger else None
        named = run if self.tagger else replace(run, model=run.model or "minilm")
        return replace(self, extractor=named.load(encoder))

    def views(self, layers: Sequence[str]) -> dict[str, Spec]:
        """What is extracted: the words for the graph, their sentences, and what the tagger looks at."""
        from lamina.spec import Spec

        plain = len(layers) == 1 and ":" not in layers[0]
        own = {"words": Spec(layers=layers[0] if plain else "all", unit="word")}
        if self.tagger is not None:
            own["seen"] = self.tagger.place.spec
        if self.head is not None:
            own["seen"] = Spec(layers="-1", unit="word", pool="first")
        return {**own, "sentences": Spec(layers="0", unit="sentence")}

    def mentions(self, words: Data, seen: Data | None) -> list[Mention]:
        """The names in some words, whose vectors as the tagger wants them are `seen`."""
        from lamina.apps.labels import word_labels
        from lamina.apps.relations import given_mentions, tagged_mentions
        from lamina.apps.tag.tagger import Tagging

        if self.tagger is not None:
            return tagged_mentions(words.units, self.tagger.predict(words if seen is None else seen).tags)
        if self.head is not None:
            logits = self.head.of_states(seen)  # type: ignore[arg-type]
            return tagged_mentions(words.units, Tagging.of_logits(logits.units, logits.values, logits.labels).tags)
        if self.tags is not None:
            return tagged_mentions(words.units, word_labels(words.units, self.tags))
        return given_mentions(words.units, self.spans or "")


def _gathered(
    data: str, run: Run, finder: _Finder, layers: tuple[str, ...], min_count: int
) -> tuple[Entities, list[str], int]:
    """What is named in DATA, the layers' words, and how many rows could not be read."""
    from lamina.apps.mix import mixes_of
    from lamina.apps.relations import Gathering
    from lamina.errors import SourceError

    gathering: Gathering | None = None
    mixes: list[Mix] = []
    n_unreadable = 0
    for part in _parts(data, run, finder, layers):
        n_unreadable += part.pop("unreadable", 0)
        words: Data = part["words"]
        if gathering is None:
            mixes = [mix.numbered(words.layers) for mix in mixes_of(words, layers)]
            gathering = Gathering(mixes)
        sentences = part["sentences"].units if "sentences" in part else None
        gathering.add(words, finder.mentions(words, part.get("seen")), sentences=sentences)
    if gathering is None:
        raise SourceError(f"{data} holds no text")
    return gathering.entities(min_count=min_count), [str(mix) for mix in mixes], n_unreadable


def _parts(data: str, run: Run, finder: _Finder, layers: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Words with all that goes with them, whole texts at a time."""
    from lamina.errors import SpecError

    if not is_dataset(data):
        assert finder.extractor is not None
        for part in whole_texts(run.parts(data, finder.extractor, finder.views(layers))):
            kept = {name: readable(one) for name, one in part.items()}
            yield {**kept, "unreadable": len(part["words"]) - len(kept["words"])}
        return
    from lamina.dataset.reader import open_dataset

    dataset = open_dataset(data)
    if finder.head is not None:
        raise SpecError("--head computes on texts: give the file of texts, not a dataset")
    if dataset.spec.unit != "word" or dataset.spec.pool != "mean":
        raise SpecError(f"{data} holds units of {dataset.spec.unit!r}: extract with --unit word --pool mean")
    if finder.tagger is not None:
        finder.tagger.place.check(dataset)
    yield {"words": dataset}


def _figures(found: Entities, layer: str, similar: Sequence[Edge], centre: bool) -> dict[str, Any]:
    """What a layer's vectors say, in a row."""
    from lamina.apps.relations.edges import same_kind

    share, chance = same_kind(found, layer, centre=centre)
    mean = sum(edge.weight for edge in similar) / len(similar) if similar else None
    return {"layer": layer, "similar": len(similar), "mean_cosine": mean, "same_kind": share, "chance": chance}


def _print_json(found: Entities, rows: list[dict[str, Any]], edges: Sequence[Edge]) -> None:
    from dataclasses import asdict

    print_json(
        {
            "n_sentences": found.n_sentences, "n_crowded": found.n_crowded, "rows": rows,
            "entities": [asdict(one) for one in found.entities],
            "edges": [{name: value for name, value in asdict(edge).items() if value is not None} for edge in edges],
        }
    )  # fmt: skip


def _print(found: Entities, rows: list[dict[str, Any]], similar: Sequence[Edge], beside: Sequence[Edge]) -> None:
    """Figures by layer, and the strongest edges of each kind."""
    mentions = sum(one.count for one in found.entities)
    click.echo(
        f"{len(found):,} names in {mentions:,} mentions; {found.n_sentences:,} sentences; "
        f"{len(beside):,} pairs stand together"
    )
    if found.n_crowded:
        click.echo(f"{found.n_crowded:,} sentences with more than 100 names: their pairs are not counted")
    click.echo()
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    for title, edges in ((f"most alike at layer {rows[-1]['layer']}", similar), ("most often together", beside)):
        if edges:
            click.echo(f"\n{title}")
            print_table(["weight", "sentences", "one", "other"], _strongest(found, edges))


def _strongest(found: Entities, edges: Sequence[Edge]) -> list[list[Any]]:
    best = sorted(edges, key=lambda edge: (-(edge.count or 0), -edge.weight))[:SHOWN]
    return [[edge.weight, edge.count, *(_named(found, end) for end in (edge.source, edge.target))] for edge in best]


def _named(found: Entities, number: int) -> str:
    one = found.entities[number]
    return f"{one.name} ({one.kind})" if one.kind else one.name


def _chart(rows: list[dict[str, Any]]) -> Any:
    from lamina.apps.charts import by_layer

    value = rows[0]["chance"]
    chance = {"chance": value} if value == value else {}
    drawn = [{"layer": row["layer"], "same type": row["same_kind"]} for row in rows]
    title = "Names whose nearest other name is of their type"
    return by_layer(drawn, score="same type", title=title, baselines=chance, percent=True)


def _facts(data: str, finder: _Finder) -> dict[str, str]:
    """What the names and vectors came from."""
    if finder.extractor is not None:
        return {"command": command_line(), "data": data, **model_facts(finder.extractor)}
    from lamina.dataset.reader import open_dataset

    return {"command": command_line(), **facts_of(open_dataset(data))}


def _report(
    data: str, found: Entities, rows: list[dict[str, Any]], edges: Sequence[Edge], drawn: Any, facts: dict[str, str]
) -> Any:
    from lamina.apps.report import Chart, Heading, Part, Report, Table

    parts: list[Part] = [Chart(drawn), Table(list(rows[0]), [list(row.values()) for row in rows])]
    for kind, title in (("similar", f"Most alike at layer {rows[-1]['layer']}"), ("together", "Most often together")):
        held = [edge for edge in edges if edge.kind == kind and edge.layer in (None, rows[-1]["layer"])]
        if held:
            parts += [Heading(title), Table(["weight", "sentences", "one", "other"], _strongest(found, held))]
    summary = f"{len(found):,} names, {len(edges):,} edges, {found.n_sentences:,} sentences."
    return Report(f"Names in {data}", parts, summary, facts)
