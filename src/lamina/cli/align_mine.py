"""`lamina align --mine`: translations found among the lines of two files."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.align_texts import extracted, lines
from lamina.cli.compose import is_file, model_facts, print_json
from lamina.cli.figures import Figures

if TYPE_CHECKING:
    from lamina.apps.align.mining import Mined


def mine_files(
    files: tuple[str, ...], layers: tuple[str, ...], *, neighbours: int, margin: float | None, parallel: bool,
    pool: Any, output: str | None, quiet: bool, as_json: bool, report: str | None, chart: str | None,
    model: dict[str, Any],
) -> None:  # fmt: skip
    """Pair the lines of two files at one layer; or where they are parallel, say by layer how well it is done."""
    from lamina.errors import SourceError, SpecError
    from lamina.extraction.loading import load

    if len(files) != 2 or any(one != "-" and not is_file(one) for one in files):
        raise click.UsageError("--mine takes two files of sentences, one a line")
    if (report or chart) and not parallel:
        raise click.UsageError("a page and a chart show figures by layer: they need --parallel")
    source, target = map(lines, files)
    if parallel and len(source) != len(target):
        raise SourceError(f"{files[0]} has {len(source):,} lines and {files[1]} {len(target):,}: they are not parallel")
    extractor = load(model.pop("model"), **model)
    found = _mined(extractor, (source, target), layers or (("all",) if parallel else ("-1",)), neighbours, pool, quiet)
    if not parallel and len(found) > 1:
        raise SpecError(f"{len(found)} layers were asked for: say one, or --parallel for figures by layer")
    if parallel:
        _figures(found, {"source": files[0], "target": files[1], "neighbours": neighbours}).give_out(
            facts=model_facts(extractor), as_json=as_json, report=report, chart=chart
        )
    if output or not parallel:
        best = max(found, key=lambda one: _scores(one)["f1"]) if parallel else found[0]
        _write(best if margin is None else best.above(margin), source, target, output, as_json and not parallel)


def _mined(
    extractor: Any, sides: tuple[list[str], list[str]], layers: tuple[str, ...], neighbours: int, pool: Any, quiet: bool
) -> list[Mined]:
    from lamina.apps.align.mining import mine
    from lamina.apps.mix import mixes_of
    from lamina.cli.progress import progress
    from lamina.cli.queries import layers_of
    from lamina.spec import Spec

    data = layers_of(extractor)
    mixes = [mix.numbered(data.layers) for mix in mixes_of(data, layers)]
    wanted = sorted({number for mix in mixes for number in mix.numbers(data.layers)})
    spec = Spec(layers=",".join(map(str, wanted)), pool=pool)
    with progress(sum(map(len, (*sides[0], *sides[1]))), quiet=quiet) as seen:
        source, target = (extracted(extractor, side, spec, seen) for side in sides)
    return [mine(source, target, layer=str(mix), neighbours=neighbours) for mix in mixes]


def _scores(mined: Mined) -> dict[str, Any]:
    from lamina.apps.align.mining import parallel_scores

    return parallel_scores(mined)


def _figures(found: list[Mined], about: dict[str, Any]) -> Figures:
    rows = [{"layer": one.layer, "pairs": len(one), **_scores(one)} for one in found]
    title = f"Translations among {len(found[0].forward):,} sentences"

    def drawn() -> Any:
        from lamina.apps.charts import by_layer

        lines = (("margin", ""), ("cosine alone", "plain_"))
        values = [
            {"layer": row["layer"], "found": (row[f"{name}forward"] + row[f"{name}backward"]) / 2, "by": by}
            for by, name in lines
            for row in rows
        ]
        return by_layer(values, score="found", title=title, colour="by", percent=True)

    said = "F1 of mined pairs is highest at layer {layer}: {f1:.4f}, at a margin of {threshold:.3f}."
    return Figures(rows, about, title, "f1", lambda best: said.format(**best), drawn)


def _write(mined: Mined, source: list[str], target: list[str], output: str | None, as_json: bool) -> None:
    """Each pair: margin, the two lines' numbers from 0, the two lines."""
    pairs = list(zip(mined.margin.tolist(), mined.source.tolist(), mined.target.tolist(), strict=True))
    with Path(output).open("w", encoding="utf-8") if output else nullcontext() as file:
        if output or not as_json:
            for margin, i, j in pairs:
                texts = "\t".join(text.replace("\t", " ") for text in (source[i], target[j]))
                click.echo(f"{margin:.4f}\t{i}\t{j}\t{texts}", file=file)
    if as_json:
        each = [{"margin": margin, "source": i, "target": j} for margin, i, j in pairs]
        print_json({"rows": [{"layer": mined.layer, "pairs": len(mined)}], "each": each})
