"""`lamina score`: how close generated texts are to references, token by token, at any layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lamina.cli.compose import print_table, result_options
from lamina.cli.figures import Figures
from lamina.cli.options import Names, model_options, quiet_option

if TYPE_CHECKING:
    import altair

    from lamina.apps.mix import Mix
    from lamina.apps.score.matching import Float64, Scores
    from lamina.extraction.extractor import Extractor

PREFIXED = ("roberta",)  # families whose first word BERTScore's authors read as one that follows a space
RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Pairs:
    """P candidates, the references of each (as many for all), and how people judged each, where they did."""

    candidates: list[str]
    references: list[list[str]]
    judged: list[float] | None

    def texts(self) -> list[str]:
        """Each candidate followed by its references."""
        groups = zip(self.candidates, self.references, strict=True)
        return [text for candidate, references in groups for text in (candidate, *references)]


@click.command("score")
@click.argument("file", metavar="FILE")
@click.option("--candidate", metavar="COLUMN", help="The column of the texts to be scored.  [default: as for extract]")
@click.option("--reference", multiple=True, metavar="COLUMN", help="A column of references; many: the best counts.")
@click.option("--references", multiple=True, metavar="FILE", help="References from a file, line by line; many.")
@click.option("--human", metavar="COLUMN", help="People's judgements: correlations with them at each layer.")
@click.option("--layers", multiple=True, default=("all",), show_default=True, help="all, 0,3,6, or mean:-4..-1; many.")
@click.option("--idf", is_flag=True, help="Weigh tokens by how rare they are among the references.")
@click.option("--baseline", metavar="FILE|random", help="Rescale by a file of baselines, or by shuffled references.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the shuffling.")
@click.option("--save-baseline", metavar="FILE", help="Write the baselines of shuffled references.")
@click.option("--pairs", "each", is_flag=True, help="Print each pair's scores too.")
@click.option("--long", default="window", show_default=True, help="Long texts: window, truncate or error.")
@click.option("--format", help="Of FILE: txt, csv, tsv, jsonl or parquet.  [default: by the name]")
@click.option("--columns", type=Names(), help="The columns' names, where a csv or tsv has no header line.")
@quiet_option
@result_options
@model_options
def command(
    file: str,
    candidate: str | None,
    reference: tuple[str, ...],
    references: tuple[str, ...],
    human: str | None,
    layers: tuple[str, ...],
    idf: bool,
    baseline: str | None,
    seed: int,
    save_baseline: str | None,
    each: bool,
    long: Any,
    format: str | None,
    columns: tuple[str, ...] | None,
    quiet: bool,
    as_json: bool,
    report: str | None,
    chart: str | None,
    **model: Any,
) -> None:
    """Score the texts in FILE against references by BERTScore's greedy matching: precision, recall, F1 at each layer.

    Beside them stands the cosine of the texts' means. A pair's scores depend on no other pair (with --idf on the
    references alone).

    \b
    lamina score outputs.csv --candidate output --reference target
    lamina score hyps.txt --references refs.txt --references refs2.txt --layers 4 --idf
    lamina score pairs.tsv --candidate a --reference b --human score --chart agreement.svg
    """
    from lamina.apps.score.baseline import Baseline, unrelated_pairs
    from lamina.extraction.loading import load

    if bool(reference) == bool(references):
        raise click.UsageError("say what the references are: --reference COLUMN, or --references FILE")
    held = _read(file, candidate, reference, references, human, format, columns)
    extractor = load(model.pop("model"), **model)
    mixes = _mixes(extractor, layers)
    flat = [text for texts in held.references for text in texts]
    weights = _weights(extractor, flat) if idf else None
    scores = _scores(extractor, held.texts(), len(held.references[0]), mixes, weights, long, quiet)
    raw, found = scores, None
    if baseline == RANDOM or save_baseline:
        unrelated = [text for pair in unrelated_pairs(flat, seed=seed) for text in pair]
        found = Baseline.of(_scores(extractor, unrelated, 1, mixes, weights, long, quiet))
        if save_baseline:
            from pathlib import Path

            Path(save_baseline).write_text(found.text(), encoding="utf-8")
    if baseline is not None:
        found = found if baseline == RANDOM else Baseline.parse(_text_of(baseline), baseline)
        assert found is not None
        scores = {name: found.rescaled(of_layer, name) for name, of_layer in raw.items()}
    rows = [_row(name, of_layer, held.judged) for name, of_layer in scores.items()]
    about: dict[str, Any] = {
        "file": file, "pairs": len(held.candidates), "references": len(held.references[0]), "idf": idf,
        "baseline": baseline, "empty": _n_empty(held), "model": extractor.checkpoint.name,
    }  # fmt: skip
    if each:
        detail = _pair_rows(scores)
        about["each"] = detail
        if not as_json:
            print_table(list(detail[0]), [list(row.values()) for row in detail])
            click.echo("")
    _figures(rows, about).give_out(facts=_facts(extractor), as_json=as_json, report=report, chart=chart)
    if about["empty"]:
        click.echo(f"{about['empty']:,} pairs have an empty text, and score 0", err=True)


def _read(
    file: str, candidate: str | None, reference: tuple[str, ...], references: tuple[str, ...], human: str | None,
    format: str | None, columns: tuple[str, ...] | None,
) -> Pairs:  # fmt: skip
    from lamina.errors import SourceError, SpecError
    from lamina.text.source import Source
    from lamina.text.text import as_text

    keep = tuple(dict.fromkeys([*reference, *([human] if human else [])]))
    candidates: list[str] = []
    travelled: dict[str, list[Any]] = {name: [] for name in keep}
    for rows in Source(file, format, candidate, columns=columns, keep=keep or None).rows():
        candidates += [as_text(text).text for text in rows.texts]
        for name in keep:
            travelled[name] += rows.columns.column(name).to_pylist()
    if not candidates:
        raise SourceError(f"{file} holds no text to score")
    sides = [travelled[name] for name in reference] + [_lines(path) for path in references]
    for name, side in zip((*reference, *references), sides, strict=True):
        if len(side) != len(candidates):
            raise SourceError(f"{file} holds {len(candidates):,} texts, {name} {len(side):,} references")
        bad = next((row for row, text in enumerate(side) if not isinstance(text, str)), None)
        if bad is not None:
            raise SourceError(f"row {bad} of {name} is no string")
    judged = None
    if human is not None:
        try:
            judged = [math.nan if value in (None, "") else float(value) for value in travelled[human]]
        except (TypeError, ValueError):
            raise SpecError(f"column {human!r} holds what is no number: judgements are numbers") from None
    return Pairs(candidates, [list(texts) for texts in zip(*sides, strict=True)], judged)


def _lines(path: str) -> list[str]:
    from lamina.text.source import Source
    from lamina.text.text import as_text

    return [as_text(text).text for rows in Source(path, "txt").rows() for text in rows.texts]


def _text_of(path: str) -> str:
    from pathlib import Path

    from lamina.errors import SourceError

    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}") from None


def _mixes(extractor: Extractor, layers: tuple[str, ...]) -> list[Mix]:
    """The mixes that are asked for, of the layers that the model has."""
    from lamina.apps.mix import mixes_of
    from lamina.cli.queries import layers_of

    data = layers_of(extractor)
    return [mix.numbered(data.layers) for mix in mixes_of(data, layers)]


def _prepared(extractor: Extractor, texts: Iterable[str]) -> list[str]:
    """Texts as BERTScore's authors read them: without white space around, RoBERTa's after a space."""
    space = " " if extractor.architecture.family in PREFIXED else ""
    return [space + stripped if (stripped := text.strip()) else "" for text in texts]


def _weights(extractor: Extractor, references: list[str]) -> Float64:
    from lamina.apps.score.matching import idf_weights
    from lamina.extraction.idf import fit_idf
    from lamina.text.source import rows_of

    counted = fit_idf(rows_of(_prepared(extractor, references)), extractor.tokenizer)
    return idf_weights(counted.n_texts, counted.counts)


def _scores(
    extractor: Extractor, texts: list[str], n_references: int, mixes: list[Mix], weights: Float64 | None, long: Any,
    quiet: bool,
) -> dict[str, Scores]:  # fmt: skip
    """The scores of candidates followed by their references, in bounded memory but for the texts themselves."""
    from lamina.apps.score.matching import score_pairs
    from lamina.cli.progress import progress
    from lamina.spec import Spec
    from lamina.text.source import rows_of

    held = extractor.architecture.n_layers
    wanted = sorted({number for mix in mixes for number in mix.numbers(tuple(range(held + 1)))})
    spec = Spec(layers=",".join(map(str, wanted)), unit="token", long=long)
    prepared = _prepared(extractor, texts)
    with progress(sum(map(len, prepared)), quiet=quiet) as seen:
        parts = extractor.stream_rows(rows_of(prepared), {"": spec}, on_batch=seen)
        return score_pairs((part[""] for part in parts), mixes, n_references=n_references, weights=weights)


def _row(name: str, scores: Scores, judged: list[float] | None) -> dict[str, Any]:
    from lamina.apps.score.figures import correlations, mean_of
    from lamina.apps.score.matching import NAMES

    row: dict[str, Any] = {"layer": name, **{score: mean_of(getattr(scores, score)) for score in NAMES}}
    if judged is not None:
        import numpy as np

        for score in ("f1", "cosine"):
            found = correlations(getattr(scores, score), np.array(judged))
            row |= {f"{score}_{kind}": value for kind, value in found.items()}
    return row


def _pair_rows(scores: Mapping[str, Scores]) -> list[dict[str, Any]]:
    from lamina.apps.score.matching import NAMES

    return [
        {"layer": name, "pair": pair, **{score: float(getattr(of_layer, score)[pair]) for score in NAMES}}
        for name, of_layer in scores.items()
        for pair in range(len(of_layer))
    ]


def _n_empty(held: Pairs) -> int:
    return sum(
        not all(text.strip() for text in (c, *rs)) for c, rs in zip(held.candidates, held.references, strict=True)
    )


def _figures(rows: list[dict[str, Any]], about: dict[str, Any]) -> Figures:
    judged = "f1_spearman" in rows[0]
    title = f"{about['pairs']:,} pairs: " + ("agreement with people (Spearman)" if judged else "mean F1")
    if judged:
        said = "F1 agrees best with people at layer {layer}: Spearman {f1_spearman:.4f}."
    else:
        said = "F1 is highest at layer {layer}: {f1:.4f}."
    measure = "f1_spearman" if judged else "f1"
    return Figures(rows, about, title, measure, lambda best: said.format(**best), lambda: _drawn(rows, title, judged))


def _drawn(rows: list[dict[str, Any]], title: str, judged: bool) -> altair.LayerChart:
    from lamina.apps.charts import by_layer

    if not judged:
        return by_layer(rows, score="f1", title=title)
    values = [
        {"layer": row["layer"], "correlation": row[f"{score}_spearman"], "score": said}
        for score, said in (("f1", "F1 of tokens"), ("cosine", "cosine of means"))
        for row in rows
    ]
    return by_layer(values, score="correlation", title=title, colour="score")


def _facts(extractor: Extractor) -> dict[str, str]:
    return {
        "model": extractor.checkpoint.name,
        "weights": f"sha256 {extractor.checkpoint.weights_sha256()}",
        "engine": f"{extractor.engine.name} {extractor.engine.precision}",
    }
