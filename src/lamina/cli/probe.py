"""`lamina probe`: which layer, which pool, for a label?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import (
    Extraction,
    check_columns,
    command_line,
    extraction_options,
    facts_of,
    is_dataset,
    print_json,
    print_table,
    result_file,
    result_options,
)  # fmt: skip
from lamina.cli.options import Names

if TYPE_CHECKING:
    import pyarrow as pa

    from lamina.apps.probe.verdict import Answer, Row
    from lamina.apps.winner import Winner
    from lamina.dataset.reader import Dataset
    from lamina.extraction.extractor import Extractor
    from lamina.spec import Spec

POOLS = {"text": ("mean", "max", "cls"), "pair": ("mean", "max", "cls"), "token": ("mean",)}
OTHER_POOLS = ("mean", "first")  # of words and spans: over all their pieces, or of the first
CONLL = (".conll", ".conllu")
WHOLE = ("text", "pair")  # units of which a text has one
TAGS = "tags"  # what CoNLL's column of labels is called
MANY = 12  # classes that are named


@click.command("probe")
@click.argument("data", metavar="DATA")
@click.option("--label", metavar="COLUMN", help="The labels: of a text a value, of words a list.  [default: tags]")
@click.option("--unit", help="text, sentence, word, ...  [default: text; word with --words and of CoNLL]")
@click.option("--pair", metavar="COLUMN", help="The column that holds a second text, for --unit pair.")
@click.option("--pools", type=Names(), help="[default: mean,max,cls of texts; mean,first of words]")
@click.option("--layers", default="all", show_default=True, help="Which layers to look at.")
@click.option("--mixes", help='With spaces: mean:1..3 concat:2,4 learned; "" for none.  [default: of the last four]')
@click.option("--task", type=click.Choice(["classes", "numbers"]), help="What the labels are.  [default: as they look]")
@click.option("--metric", help="accuracy, macro-f1, span-f1, spearman or r2.  [default: what fits]")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Parts of the cross-validation.")
@click.option("--groups", metavar="COLUMN", help="Rows of one value here are never parted.")
@click.option("--split", metavar="COLUMN", help="train, dev and test, or each row's fold.")
@click.option("--test", metavar="FILE", help="Score the choice once on these texts.")
@click.option("--drop-rare", is_flag=True, help="Leave out classes with fewer members than folds.")
@click.option("--sample", type=click.IntRange(1), default=50_000, show_default=True, help="Units at most.")
@click.option("--random-weights", is_flag=True, help="Probe the same model with random weights too.")
@click.option("--no-control", is_flag=True, help="Leave out the control task.")
@click.option("--no-curve", is_flag=True, help="Leave out the learning curve.")
@click.option("--choose", type=click.Choice(["best", "cheapest"]), default="best", show_default=True,
              help="What is saved and tested: the best, or the cheapest within the noise.")  # fmt: skip
@click.option("--save", metavar="FILE.json", callback=result_file,
              help="Write the choice, for `classify train --winner` and `tag train --winner`.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of folds, samples and lots.")
@extraction_options
@result_options
def command(
    data: str, label: str | None, unit: str | None, pools: tuple[str, ...] | None, layers: str, mixes: str | None,
    task: Any, metric: str | None, folds: int, groups: str | None, split: str | None, test: str | None,
    drop_rare: bool, sample: int, random_weights: bool, no_control: bool, no_curve: bool, choose: Any,
    save: str | None, seed: int, as_json: bool, report: str | None, chart: str | None, **how: Any,
) -> None:  # fmt: skip
    """Find the layer, pool or mix of layers of DATA that says most about a label.

    DATA is a file, extracted first and once, or a dataset (a folder of several: a pool each). Each layer gets a linear
    probe that never saw what it is scored on; docs/probe.md says how, and what the words of the answer mean.

    \b
    lamina probe reviews.csv --label stars
    lamina probe train.csv --label intent --test test.csv --save winner.json --report probe.html
    lamina probe dev.conllu --label tags --random-weights
    """
    from lamina.apps.probe.asking import ask
    from lamina.apps.probe.run import answer

    extraction = Extraction(**how)
    check_columns(extraction.source(data), label, groups, split)
    if test is not None:
        check_columns(extraction.source(test), label)
    with _views(data, extraction, unit, pools, layers, random_weights=random_weights) as (views, random):
        units = next(iter(views.values())).units
        question = ask(
            views, _labels(views, label), unit=_unit(views), task=task, metric=metric, folds=folds,
            groups=_column(units, groups), split=_column(units, split), drop_rare=drop_rare, sample=sample, seed=seed,
        )  # fmt: skip
        with _watched(quiet=extraction.quiet) as seen:
            found = answer(
                question, mixes=None if mixes is None else mixes.split(), random=random, control=not no_control,
                curve=not no_curve, choose=choose, threads=_threads(extraction), on_row=seen,
            )  # fmt: skip
        dataset = views[found.chosen.pool]
        if test is not None:
            with _test_data(test, extraction, dataset, found.chosen) as other:
                is_grouped = groups is not None and _travelled(other.units, groups) in other.units.column_names
                alike = _column(other.units, groups) if is_grouped else None
                found = replace(found, test=question.test(found.chosen, other, _labels({"": other}, label), alike))
        name = label or TAGS
        if save is not None:
            _winner(found, dataset, name).save(save)
        if report or chart:
            _draw(found, dataset, f"{name} by layer of {dataset.manifest.made.model}", report, chart)
    print_json(found.json()) if as_json else _print(found)


@contextmanager
def _views(
    data: str, how: Extraction, unit: str | None, pools: tuple[str, ...] | None, layers: str, *, random_weights: bool
) -> Iterator[tuple[dict[str, Dataset], dict[str, Dataset] | None]]:
    """The same units in each pool; and by the same model with random weights, where that is asked for."""
    from lamina.errors import SpecError
    from lamina.spec import Spec

    if is_dataset(data):
        if random_weights or unit or layers != "all":
            raise SpecError(
                "a dataset is probed as it is: give the file of texts for --random-weights, --unit or --layers"
            )
        yield _opened(Path(data), pools), None
        return
    words = how.words is not None or Path(data).suffix in CONLL or how.format in ("conll", "conllu")
    wanted = unit or ("word" if words else "pair" if how.pair is not None else "text")
    extractor = how.load()
    names = pools or tuple(
        pool for pool in POOLS.get(wanted, OTHER_POOLS) if pool != "cls" or extractor.tokenizer.template.prefix
    )
    specs = {pool: Spec.parse(f"layers={layers.replace(' ', '')} unit={wanted} pool={pool}") for pool in names}
    with ExitStack() as stack:
        views = stack.enter_context(how.datasets(data, specs, extractor=extractor))
        random = stack.enter_context(_random(data, how, specs, extractor)) if random_weights else None
        yield views, random


@contextmanager
def _random(
    data: str, how: Extraction, specs: Mapping[str, Spec], extractor: Extractor
) -> Iterator[dict[str, Dataset]]:
    """The views of the same model with random weights, which is made for that."""
    from lamina.model.random_weights import write_random

    with TemporaryDirectory(prefix="lamina-") as temporary:
        folder = Path(how.keep or temporary) / "random"
        write_random(extractor.checkpoint, folder / "model")
        same = replace(how, model=str(folder / "model"), revision=None, keep=str(folder))
        with same.datasets(data, specs) as views:
            yield views


def _opened(folder: Path, pools: tuple[str, ...] | None) -> dict[str, Dataset]:
    """The dataset in a folder, or those in its folders, by their pools."""
    from lamina.dataset.manifest import FILE
    from lamina.dataset.reader import open_dataset
    from lamina.errors import SpecError

    inside = [path.parent for path in sorted(folder.glob(f"*/{FILE}"))]
    found = [open_dataset(one) for one in ([folder] if (folder / FILE).is_file() or not inside else inside)]
    views = {dataset.spec.pool: dataset for dataset in found if pools is None or dataset.spec.pool in pools}
    if pools is not None and set(pools) != set(views):
        raise SpecError(f"{folder} has the pools {', '.join(d.spec.pool for d in found)}, not {', '.join(pools)}")
    if pools is None and len(views) < len(found):
        raise SpecError(f"{folder} holds {len(found)} datasets, several of them of one pool: name one of their folders")
    return {str(pool): dataset for pool, dataset in views.items()}


@contextmanager
def _test_data(test: str, how: Extraction, dataset: Dataset, row: Row) -> Iterator[Dataset]:
    """The test's units, as those probed were extracted, and only the layers that the choice needs."""
    from lamina.apps.mix import Mix
    from lamina.errors import SpecError

    made, spec = dataset.manifest.made, dataset.spec
    needed = replace(spec, layers=Mix.parse(row.mix).layers or spec.layers)
    same = replace(how, model=made.model, revision=made.revision, keep=None)
    with same.dataset(test, needed) as other:
        theirs = other.manifest.made
        if theirs.weights_sha256 != made.weights_sha256:
            raise SpecError(f"{test} is of {theirs.model}, and what was probed of {made.model}: the weights differ")
        if (other.spec.unit, other.spec.pool, other.spec.special) != (spec.unit, spec.pool, spec.special):
            raise SpecError(f"{test} was extracted as {other.spec}; the choice needs {needed}")
        yield other


def _labels(views: Mapping[str, Dataset], label: str | None) -> Sequence[object]:
    """A label for each unit, None where there is none."""
    from lamina.apps.labels import row_labels, word_labels

    units = next(iter(views.values())).units
    if label is None and TAGS not in units.column_names:
        raise click.UsageError("say which column holds the labels: --label COLUMN")
    read = row_labels if _unit(views) in WHOLE else word_labels
    return read(units, _travelled(units, label or TAGS))


def _unit(views: Mapping[str, Dataset]) -> str:
    return str(next(iter(views.values())).spec.unit)


def _column(units: pa.Table, name: str | None) -> list[object] | None:
    """A column that travelled along, a value for each unit."""
    from lamina.errors import SpecError

    if name is None:
        return None
    column = _travelled(units, name)
    if column not in units.column_names:
        raise SpecError(f"there is no column {name!r}; there are {', '.join(units.column_names)}")
    values: list[object] = units[column].to_pylist()
    return values


def _travelled(units: pa.Table, name: str) -> str:
    """What a column of the file is called among the units, whose own names go first."""
    return f"input_{name}" if f"input_{name}" in units.column_names else name


def _threads(how: Extraction) -> int:
    from lamina.engine.threads import available_threads

    return how.threads or available_threads()


@contextmanager
def _watched(*, quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """Says on a terminal's stderr which probe is done."""
    if quiet or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console

    with Console(stderr=True).status("probing") as status:
        yield lambda pool, layer: status.update(f"probing: layer {layer}, pool {pool}")


def _winner(found: Answer, dataset: Dataset, label: str) -> Winner:
    """The choice, with the weights that it is true of."""
    made, spec = dataset.manifest.made, dataset.spec
    row = found.chosen
    if not dataset.layers:  # combined when they were extracted
        row = replace(row, mix=f"{spec.combine}:{','.join(map(str, dataset.manifest.layers))}")
    winner = found.winner(row, model=made.model, label=label, special=spec.special)
    return replace(winner, revision=made.revision, weights_sha256=made.weights_sha256)


def _draw(found: Answer, dataset: Dataset, title: str, report: str | None, chart: str | None) -> None:
    import numpy as np

    from lamina.apps.charts import save
    from lamina.apps.context import contexts
    from lamina.apps.probe.chart import score_chart
    from lamina.apps.probe.page import report as page

    if chart:
        save(score_chart(found, title=title), chart)
    if report:
        rows = np.unique([row for one in found.confusions for row in one.rows]).astype(np.int64)
        examples = dict(zip(rows.tolist(), map(str, contexts(dataset, rows)), strict=True))
        facts = {"command": command_line(), **facts_of(dataset)}
        page(found, title=title, facts=facts, examples=examples).save(report)


def _print(found: Answer) -> None:
    """A line a layer or mix, a column a pool; then what it means."""
    from lamina.apps.probe.chart import short_name

    click.echo(f"{found.metric} by {found.how}, with 95 % intervals")
    if found.classes:
        shown = [f"{name} {n:,}" for name, n in found.classes.items()]
        click.echo(f"{len(shown)} classes: {', '.join(shown[:MANY])}{', ...' if len(shown) > MANY else ''}")
    for reason, n in found.left_out.items():
        click.echo(f"left out: {n:,} {reason}")
    click.echo("")
    pools = list(dict.fromkeys(row.pool for row in found.rows))
    beside = [
        name
        for name in ("control", "selectivity", "random")
        if any(getattr(row, name) is not None for row in found.rows)
    ]
    by_name: dict[str, dict[str, Row]] = {}
    for row in found.rows:
        by_name.setdefault(short_name(row), {})[row.pool] = row
    rows = []
    for name, of_pool in by_name.items():
        own = of_pool.get(found.best.pool)
        cells = [_cell(of_pool.get(pool), found) for pool in pools]
        rows.append([name, *cells, *(None if own is None else getattr(own, extra) for extra in beside)])
    in_accuracy = ("control", "selectivity") if found.control_metric != found.metric else ()
    heads = [f"{name} (accuracy)" if name in in_accuracy else name for name in beside]
    print_table(["layer", *(pool or "score" for pool in pools), *heads], rows)
    click.echo("")
    for sentence in found.sentences():
        click.echo(sentence)
    if found.curve:
        points = ", ".join(f"{point.n:,}: {point.score:.4f}" for point in found.curve)
        click.echo(f"By the number of labelled {found.unit}s: {points}.")


def _cell(row: Row | None, found: Answer) -> str:
    if row is None:
        return ""
    mark = "*" if row == found.best else "c" if row == found.cheapest else ""
    return f"{row.score:.4f} [{row.low:.3f}, {row.high:.3f}]{mark}"
