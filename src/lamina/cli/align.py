"""`lamina align`: which word translates which, by layer; and with `--mine` which sentence translates which."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.align_mine import mine_files
from lamina.cli.align_texts import extracted, lines
from lamina.cli.compose import command_line, model_facts, print_json, print_table, result_options
from lamina.cli.given import names_file
from lamina.cli.options import model_options, quiet_option

if TYPE_CHECKING:
    import altair

    from lamina.apps.align.links import Aligned
    from lamina.apps.align.score import Gold
    from lamina.embeddings import Embeddings
    from lamina.extraction.extractor import Extractor

PARTED = "|||"  # between the two sentences of a line
BLOCK = 512  # pairs that are extracted at once: what is kept of them is their links


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences and their translations; `spaces`: their words are what stands between spaces."""

    source: list[str]
    target: list[str]
    spaces: bool

    def lengths(self) -> list[tuple[int, int]]:
        """How many words each pair has, where spaces part them."""
        return [(len(_split(s)), len(_split(t))) for s, t in zip(self.source, self.target, strict=True)]


@click.command("align")
@click.argument("pairs", metavar="FILE|SOURCE TARGET", nargs=-1, required=True)
@click.option("--method", multiple=True, help="intersection, itermax, softmax or match; many.  [default: intersection]")
@click.option("--threshold", type=float, default=0.001, show_default=True, help="Of softmax: the least probability.")
@click.option(
    "--layers", multiple=True, help="all, 0,3,6, or mean:-4..-1; many.  [default: all with figures, else one]"
)
@click.option("--gold", metavar="FILE", help="Links that people marked, a line a pair: 0-0 1p2. Gives AER by layer.")
@click.option(
    "--first", type=click.IntRange(0, 1), default=0, show_default=True, help="The first word's number in --gold."
)
@click.option("--links", metavar="FILE", help="Score the links in this file (0-0 1-2) against --gold, without a model.")
@click.option(
    "--split",
    type=click.Choice(["spaces", "unicode"]),
    help="Words: between spaces, or by Unicode's rules.  [default: spaces for ||| and --gold]",
)
@click.option("--pool", default="mean", show_default=True, help="How tokens become the vector of a word or sentence.")
@click.option("-o", "--output", metavar="FILE", help="Write the links as Pharaoh does, or with --mine the pairs.")
@click.option("--mine", is_flag=True, help="Find translations among the lines of two files.")
@click.option("--neighbours", type=click.IntRange(1), default=4, show_default=True, help="Of --mine: k, both ways.")
@click.option("--margin", type=float, help="Of --mine: only pairs with at least this margin.")
@click.option("--parallel", is_flag=True, help="Of --mine: line by line translations already; figures by layer.")
@quiet_option
@result_options
@model_options
def command(
    pairs: tuple[str, ...],
    method: tuple[Any, ...],
    threshold: float,
    layers: tuple[str, ...],
    gold: str | None,
    first: int,
    links: str | None,
    split: str | None,
    pool: Any,
    output: str | None,
    mine: bool,
    neighbours: int,
    margin: float | None,
    parallel: bool,
    quiet: bool,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **model: Any,
) -> None:
    """Link the words of sentences with those of their translations.

    FILE holds lines of "source ||| target"; or give two files, line by line, or two sentences in quotes. One layer
    prints a line of links for each pair (0-0 1-2, words from 0); several, or --gold, print a table by layer.

    \b
    lamina align "The red house ." "La maison rouge ." --method itermax
    lamina align pairs.txt --gold pairs.gold --first 1 --method intersection --method itermax --report align.html
    lamina align pairs.txt --links other.out --gold pairs.gold --first 1
    lamina align pairs.txt --layers 4 -o pairs.links
    lamina align --mine news.fr news.en --margin 1.05 -o mined.tsv
    """
    if mine:
        if gold or links or split or method:
            raise click.UsageError("--mine pairs sentences: --gold, --links, --split and --method are of words")
        mine_files(
            pairs, layers, neighbours=neighbours, margin=margin, parallel=parallel, pool=pool, output=output,
            quiet=quiet, as_json=as_json, report=report, chart=chart, model=model,
        )  # fmt: skip
        return
    if parallel or margin is not None:
        raise click.UsageError("--parallel and --margin are of --mine")
    if gold and split == "unicode":
        raise click.UsageError("gold counts words between spaces: leave out --split unicode")
    if links and (not gold or layers or method):
        raise click.UsageError("--links are scored against --gold, without a model: no --layers, no --method")
    held = sentences(pairs, split, spaces=bool(gold))
    marked = _gold(gold, held, first) if gold else None
    if links:
        found, words, facts = _given(links, held), _words_between_spaces(held), {}
    else:
        from lamina.extraction.loading import load

        extractor = load(model.pop("model"), **model)
        found, words = _aligned(extractor, held, layers, method, threshold, pool, quiet, scored=marked is not None)
        facts = model_facts(extractor)
    _give_out(found, words, marked, output=output, as_json=as_json, report=report, chart=chart, facts=facts)


def sentences(pairs: tuple[str, ...], split: str | None, *, spaces: bool) -> Sentences:
    """The pairs that are asked for. Raises SourceError for files that do not fit, UsageError for what are no pairs."""
    from lamina.errors import SourceError

    files = [names_file(one) for one in pairs]
    if len(pairs) > 2 or len(set(files)) > 1:
        missing = next((one for one, from_file in zip(pairs, files, strict=True) if not from_file), "")
        raise click.UsageError(f"give one file, two files, or two sentences in quotes ({missing!r} is no file)")
    if len(pairs) == 2:
        source, target = (lines(one) if from_file else [one] for one, from_file in zip(pairs, files, strict=True))
        if len(source) != len(target):
            raise SourceError(f"{pairs[0]} has {len(source):,} lines and {pairs[1]} {len(target):,}: they are no pairs")
        return Sentences(source, target, spaces if split is None else split == "spaces")
    if not files[0] and PARTED not in pairs[0]:
        raise click.UsageError(
            f'{pairs[0]!r} is no file; a pair is two sentences in quotes, or "source {PARTED} target"'
        )
    both = [line.split(PARTED) for line in (lines(pairs[0]) if files[0] else [pairs[0]])]
    for number, sides in enumerate(both, 1):
        if len(sides) != 2:
            raise SourceError(f"{pairs[0]}, line {number}: expected source {PARTED} target, found {len(sides)} sides")
    return Sentences([one for one, _ in both], [two for _, two in both], split != "unicode")


def _split(line: str) -> list[str]:
    """Words between spaces or tabs; a no-break space is part of a word, as in `10 000`."""
    return [word for word in re.split(r"[ \t]+", line) if word]


def _words_between_spaces(held: Sentences) -> list[tuple[list[str], list[str]]]:
    return [(_split(s), _split(t)) for s, t in zip(held.source, held.target, strict=True)]


def _gold(path: str, held: Sentences, first: int) -> list[Gold]:
    from lamina.apps.align.score import read_gold
    from lamina.errors import SourceError

    given = lines(path)
    try:
        return read_gold(given, first=first, lengths=held.lengths())
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def _given(path: str, held: Sentences) -> list[Aligned]:
    from lamina.apps.align.links import Aligned

    given = _gold(path, held, 0)
    return [Aligned("given", Path(path).name, tuple(tuple(sorted(marked.possible)) for marked in given))]


def _aligned(
    extractor: Extractor, held: Sentences, layers: tuple[str, ...], method: tuple[Any, ...], threshold: float,
    pool: Any, quiet: bool, *, scored: bool,
) -> tuple[list[Aligned], list[tuple[list[str], list[str]]]]:  # fmt: skip
    """The links by layer and method, and the words of each pair; block by block, in bounded memory but for these."""
    from lamina.apps.align.links import align, joined
    from lamina.apps.mix import mixes_of
    from lamina.cli.progress import progress
    from lamina.cli.queries import layers_of
    from lamina.spec import Spec
    from lamina.text.text import Text

    data = layers_of(extractor)
    default = ("all",) if scored else (str(round(extractor.architecture.n_layers * 2 / 3)),)
    mixes = [mix.numbered(data.layers) for mix in mixes_of(data, layers or default)]
    wanted = sorted({number for mix in mixes for number in mix.numbers(data.layers)})
    spec = Spec(layers=",".join(map(str, wanted)), unit="word", pool=pool)
    parts, words = [], []
    with progress(sum(map(len, (*held.source, *held.target))), quiet=quiet) as seen:
        for low in range(0, max(len(held.source), 1), BLOCK):
            sides = []
            for side in (held.source, held.target):
                some = side[low : low + BLOCK]
                texts = [Text.of_words(_split(line)) for line in some] if held.spaces else some
                sides.append(extracted(extractor, texts, spec, seen))
            parts.append(
                align(*sides, layers=[str(mix) for mix in mixes], methods=method or "intersection", threshold=threshold)
            )
            words += list(zip(*map(_surfaces, sides), strict=True))
    return joined(parts), words


def _surfaces(side: Embeddings) -> list[list[str]]:
    """The words of each text."""
    found: list[list[str]] = [[] for _ in range(side.n_texts)]
    columns = (side.units.column(name).to_pylist() for name in ("text_id", "surface"))
    for text, surface in zip(*columns, strict=True):
        found[text].append(surface)
    return found


def _give_out(
    found: list[Aligned], words: list[tuple[list[str], list[str]]], marked: list[Gold] | None, *, output: str | None,
    as_json: bool, report: str | None, chart: str | None, facts: dict[str, str],
) -> None:  # fmt: skip
    from lamina.apps.align.page import align_page, align_rows
    from lamina.apps.align.score import pharaoh
    from lamina.errors import SpecError

    rows = align_rows(found, words, marked)
    best = min(range(len(rows)), key=lambda k: _worst(rows[k].get("aer"))) if marked is not None else 0
    chosen = found[best] if marked is not None or len(found) == 1 else None
    if output:
        if chosen is None:
            raise SpecError(f"{len(found)} layers and methods were asked for: say one to write, or give --gold")
        Path(output).write_text("".join(pharaoh(links) + "\n" for links in chosen.links), encoding="utf-8")
    if report:
        align_page(found, words, marked, facts={"command": command_line(), **facts}).save(report)
    if chart:
        from lamina.apps.charts import save

        save(_chart(rows, marked is not None), chart)
    if as_json:
        print_json({"pairs": len(words), "rows": rows, "each": _each(chosen, words)})
    elif chosen is None or marked is not None:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    elif not output:
        for links in chosen.links:
            click.echo(pharaoh(links))


def _worst(aer: float | None) -> float:
    return float("inf") if aer is None else aer


def _chart(rows: Iterable[dict[str, Any]], scored: bool) -> altair.LayerChart:
    from lamina.apps.align.page import align_chart

    return align_chart(list(rows), scored=scored)


def _each(chosen: Aligned | None, words: list[tuple[list[str], list[str]]]) -> list[dict[str, Any]]:
    """Each pair with its links, where one layer and method is chosen."""
    if chosen is None:
        return []
    return [
        {"source": source, "target": target, "links": [list(link) for link in links]}
        for (source, target), links in zip(words, chosen.links, strict=True)
    ]
