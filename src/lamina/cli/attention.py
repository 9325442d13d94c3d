"""`lamina attention`: who looks at whom, by layer and head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    command_line,
    model_facts,
    print_json,
    print_table,
    reading_options,
    result_options,
)
from lamina.cli.given import fitting, given_texts
from lamina.cli.options import Names

if TYPE_CHECKING:
    from lamina.extraction.attention import Attention
    from lamina.extraction.extractor import Extractor

AT_ONCE = 4  # texts whose weights are held at once: 600 MB of BERT-base's for 512 tokens each


@click.command("attention")
@click.argument("texts", metavar="TEXT...|FILE", nargs=-1)
@click.option("--layers", default="encoder", show_default=True, help="encoder, 4, -4..-1, 1,3,6.")
@click.option("--heads", type=Names(), help="Numbers from 0, as in 0,7.  [default: all]")
@click.option("--unit", default="word", show_default=True, help="word or token.")
@click.option("--show", type=click.IntRange(1), default=5, show_default=True, help="Texts of a file shown in the page.")
@result_options
@reading_options
def command(
    texts: tuple[str, ...],
    layers: str,
    heads: tuple[str, ...] | None,
    unit: Any,
    show: int,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Compute the attention weights inside texts: given in quotes, or those of a FILE.

    --report writes one HTML page: all heads at a glance, one of them as a heat map and as arcs over the text, with the
    weight under the pointer. What is printed, --chart draws: how widely, how far and at what the heads look.

    \b
    lamina attention "The river burst its bank." --report attention.html
    lamina attention essay.txt --unit token --layers 3,4 --heads 0,7 --report essay.html
    lamina attention examples/senses.csv --chart heads.png
    """
    from itertools import chain

    from lamina.apps.attention.figures import MEASURES, by_head, by_layer, head_figures

    how = Extraction(**extraction)
    given, from_file = given_texts(texts, how)
    model = how.load()
    used = fitting(given, model) if from_file else given
    numbers = None if heads is None else [_number(head) for head in heads]
    found = _attention(model, used, layers=layers, unit=unit, heads=numbers)
    first = [text for _, text in zip(range(show if from_file else len(used)), found, strict=False)]
    figures = head_figures(chain(first, found))
    if chart:
        from lamina.apps.attention.chart import attention_chart
        from lamina.apps.charts import save

        save(attention_chart(figures, title=f"Attention heads of {how.model}"), chart)
    if report:
        from lamina.apps.attention.page import attention_page

        said = f"{len(used):,} {'text' if len(used) == 1 else 'texts'}, {len(first):,} of them shown; units: {unit}s."
        facts = {"command": command_line(), **model_facts(model)}
        attention_page(first, figures, title="Attention", summary=said, facts=facts).save(report)
    rows = by_layer(figures)
    if as_json:
        print_json({"texts": len(used), "unit": unit, "rows": rows, "heads": by_head(figures)})
        return
    print_table(["layer", *MEASURES], [list(row.values()) for row in rows])


def _attention(
    model: Extractor, texts: list[Any], *, layers: str, unit: Any, heads: list[int] | None
) -> Iterator[Attention]:
    for low in range(0, len(texts), AT_ONCE):
        yield from model.attention(texts[low : low + AT_ONCE], layers=layers, unit=unit, heads=heads)


def _number(word: str) -> int:
    if not word.strip().isdecimal():
        raise click.UsageError(f"--heads takes numbers from 0 with commas between them, not {word!r}")
    return int(word)
