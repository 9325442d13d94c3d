"""`lamina trace`: words in several sentences, followed through the layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
    from lamina.apps.mix import Data


@click.command("trace")
@click.argument("data", metavar="DATA|TEXT...", nargs=-1)
@click.option("--word", multiple=True, help="A word to follow; many.")
@click.option("--word-from", metavar="COLUMN", help="Or the column that names the word of each text.")
@click.option("--groups", metavar="COLUMN", help="What the uses are told apart by, such as their sense.")
@click.option("--layers", multiple=True, default=("all",), show_default=True, help="all, 0,3,6, or mean:-4..-1; many.")
@click.option("--pool", default="mean", show_default=True, help="Of a file: how a word's pieces become one vector.")
@click.option("--most", type=click.IntRange(2), default=500, show_default=True, help="More uses of a word are thinned.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the thinning.")
@result_options
@extraction_options
def command(
    data: tuple[str, ...],
    word: tuple[str, ...],
    word_from: str | None,
    groups: str | None,
    layers: tuple[str, ...],
    pool: Any,
    most: int,
    seed: int,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **extraction: Any,
) -> None:
    """Follow a word through the layers: how alike are its uses, within a sense and across senses?

    DATA is a dataset of words or a file of texts; or give the texts themselves. What is printed is the mean cosine of
    two uses by layer; --report adds every pair, with its sentences.

    \b
    lamina trace "He sat on the bank." "The bank was shut." "We swam to the bank." --word bank
    lamina trace examples/senses.csv --word bank --groups sense --report bank.html
    lamina trace examples/senses.csv --word-from word --groups sense --chart senses.svg
    """
    from lamina.apps.trace.uses import average, trace

    how = Extraction(**extraction)
    with _opened(data, how, pool) as (held, texts, facts):
        found = trace(held, word or None, word_from=word_from, groups=groups, layers=layers, most=most, seed=seed)
        title = f"{found[0].word}, layer by layer" if len(found) == 1 else "Words, layer by layer"
        if report:
            from lamina.apps.trace.page import trace_page

            facts = {"command": command_line(), **facts}
            trace_page(found, held.units, texts=texts, title=title, facts=facts).save(report)
    if chart:
        from lamina.apps.charts import save
        from lamina.apps.trace.chart import trace_chart

        save(trace_chart(found, title=title), chart)
    rows = average(found)
    if as_json:
        each = {one.word: {"uses": len(one), "thinned": one.n_thinned, "rows": one.by_layer()} for one in found}
        print_json({"rows": rows, "words": each})
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows])


@contextmanager
def _opened(
    data: tuple[str, ...], how: Extraction, pool: Any
) -> Iterator[tuple[Data, list[str] | None, dict[str, str]]]:
    """Words with their vectors, the texts that they come from where these are at hand, and what made them."""
    from lamina.errors import SpecError
    from lamina.spec import Spec

    if not data:
        raise click.UsageError("give a dataset, a file, or texts in quotes")
    if len(data) == 1 and (is_dataset(data[0]) or names_file(data[0])):
        with how.dataset(data[0], Spec(unit="word", pool=pool)) as dataset:
            if dataset.spec.unit not in ("word", "token", "span"):
                raise SpecError(
                    f"{data[0]} holds units of {dataset.spec.unit!r}, and words are followed: extract with --unit word"
                )
            yield dataset, how.texts(data[0]), facts_of(dataset)
        return
    model = how.load()
    yield model.extract(data, unit="word", pool=pool), list(data), model_facts(model)
