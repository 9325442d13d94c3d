"""`lamina compress`: a smaller model out of a model, and what that costs, layer by layer."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.compress.smaller import Smaller


@click.command("compress")
@click.argument("model")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="The smaller model's folder: new or empty.")
@click.option("--layers", type=int, help="How many layers to keep, the lowest.  [default: all]")
@click.option("--heads", help="Heads to keep: 8 of each layer, or 75% of all.  [default: all]")
@click.option("--ffn-rank", help="Split the feed-forward's matrices: rank 192, or 60% of their numbers.")
@click.option("--precision", help="Of the weights: float32, float16, bfloat16 or int8.  [default: as they are]")
@click.option(
    "--compatible", is_flag=True, help="Only what transformers reads: zeros for heads, factors multiplied out."
)
@click.option("--sample", metavar="FILE", help="Texts like those to come, to calibrate and measure on.")
@click.option("--text", metavar="COLUMN", help="The column of --sample that holds the text.")
@click.option("--revision", help="A hub model's branch, tag or commit.")
@click.option("--overwrite", is_flag=True, help="Replace a folder that lamina compress has made.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: str,
    out: str,
    layers: int | None,
    heads: str | None,
    ffn_rank: str | None,
    precision: Any,
    compatible: bool,
    sample: str | None,
    text: str | None,
    revision: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write a smaller MODEL (minilm, a folder, a hub id) and print what it costs at each layer.

    Upper layers are cut off, heads removed, feed-forward matrices split into two of low rank, weights stored in 16 or 8
    bits; alone or together. docs/compress.md says how, and which of it transformers reads.

    \b
    lamina compress minilm --precision int8 -o minilm-int8/
    lamina compress minilm --layers 4 --precision bfloat16 -o minilm-4/
    lamina compress minilm --heads 75% --ffn-rank 60% --sample reviews.csv --text review -o minilm-small/
    """
    from lamina.compress.smaller import compress

    made = compress(
        model, out, layers=layers, heads=heads, ffn_rank=ffn_rank, precision=precision, compatible=compatible,
        sample=None if sample is None else _texts(sample, text), revision=revision, overwrite=overwrite,
    )  # fmt: skip
    if as_json:
        from lamina.cli.compose import print_json

        print_json(_document(made))
        return
    _show(made)


def _texts(sample: str, column: str | None) -> Iterator[str]:
    from lamina.text.source import Source
    from lamina.text.text import as_text

    return (as_text(item).text for rows in Source(sample, text=column).rows() for item in rows.texts)


def _document(made: Smaller) -> dict[str, Any]:
    return {
        "folder": str(made.folder),
        **{key: value for key, value in made.record.items() if key != "cost"},
        "rows": made.cost.rows(),
        "measured_on": {"texts": made.cost.n_texts, "tokens": made.cost.n_tokens},
        "before": asdict(made.cost.before),
        "after": asdict(made.cost.after),
        "notes": list(made.notes),
    }


def _show(made: Smaller) -> None:
    cost = made.cost
    click.echo(f"{made.folder}: {made.what}\n")
    click.echo("layer  mean cosine  worst cosine")
    for row in cost.rows():
        click.echo(f"{row['layer']:>5}  {row['mean_cosine']:>11.5f}  {row['worst_cosine']:>12.5f}")
    click.echo(f"with the original's, over {cost.n_texts} texts ({cost.n_tokens:,} tokens)\n")
    for name, before, after in (
        ("MB of weights", cost.before.bytes / 1e6, cost.after.bytes / 1e6),
        ("million numbers", cost.before.parameters / 1e6, cost.after.parameters / 1e6),
        ("µs a token, all layers", cost.before.seconds_per_token * 1e6, cost.after.seconds_per_token * 1e6),
    ):
        click.echo(f"{name:<23}{before:>8.1f} → {after:>7.1f}  × {after / before:.2f}")
    for note in made.notes:
        click.echo(f"\n{note}")
