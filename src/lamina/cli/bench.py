"""`lamina bench`: this machine's speed, as a share of what its matrix units can do, and what each precision costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lamina.extraction.precision import Cost


@click.command("bench")
@click.option("--model", default="minilm", show_default=True, help="minilm, a folder, or a hub id.")
@click.option("--revision", help="A hub model's branch, tag or commit.")
@click.option("--file", metavar="FILE", help="Texts to measure on.  [default: texts that come with Lamina]")
@click.option("--text", metavar="COLUMN", help="The column of FILE that holds the text.")
@click.option("--texts", type=click.IntRange(1), default=500, show_default=True, help="The first so many of FILE.")
@click.option("--threads", type=click.IntRange(1), help="Default: all that this process may use.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    model: str, revision: str | None, file: str | None, text: str | None, texts: int, threads: int | None, as_json: bool
) -> None:
    """Measure this machine (one large matrix product) and a model on it (every layer, mean-pooled), in each precision.

    The share is the model's operations on real tokens over what the machine multiplies in the same time. The table by
    layer shows what each precision costs: the cosine of texts' means with float32's, mean and worst text.
    """
    import openvino as ov

    from lamina.cli.compose import print_json
    from lamina.engine.limit import matmul_rate
    from lamina.engine.openvino import native_precisions
    from lamina.engine.threads import available_threads
    from lamina.extraction.loading import load
    from lamina.extraction.precision import measure, text_batches
    from lamina.model.inventory import n_operations

    core, threads = ov.Core(), threads or available_threads()
    natives = native_precisions(core)
    limits = {precision: matmul_rate(precision, threads=threads, core=core) for precision in natives}
    extractors = {p: load(model, engine="openvino", precision=p, threads=threads, revision=revision) for p in natives}
    loaded = extractors["float32"]
    batches = text_batches(
        _texts(file, text, texts), loaded.architecture, loaded.tokenizer, batch_tokens=loaded.engine.batch_tokens
    )
    costs = measure([one.engine for one in extractors.values()], loaded.architecture, batches)
    lengths = [int(length) for batch in batches for length in batch.lengths]
    operations = n_operations(loaded.architecture, lengths)
    document = {
        "cpu": str(core.get_property("CPU", "FULL_DEVICE_NAME")),
        "threads": threads,
        "model": loaded.checkpoint.name,
        "n_tokens": sum(lengths),
        "precisions": [_of_precision(cost, operations, limits[cost.precision]) for cost in costs],
        "rows": [
            {"precision": cost.precision, "layer": layer, "mean": mean, "worst": worst}
            for cost in costs
            for layer, (mean, worst) in enumerate(zip(cost.mean, cost.worst, strict=True))
        ],
        "suggestion": min((cost for cost in costs if cost.is_close), key=lambda cost: cost.seconds).precision,
    }
    if as_json:
        print_json(document)
    else:
        _say(document)


def _texts(file: str | None, text: str | None, n: int) -> list[str]:
    from itertools import islice

    from lamina.text.sample import sample
    from lamina.text.source import Source
    from lamina.text.text import as_text

    if file is None:
        return sample()
    rows = Source(file, text=text).rows()
    return list(islice((as_text(item).text for group in rows for item in group.texts), n))


def _of_precision(cost: Cost, operations: int, limit: float) -> dict[str, Any]:
    rate = operations / cost.seconds
    return {
        "precision": cost.precision,
        "matmul_gflops": limit / 1e9,
        "model_gflops": rate / 1e9,
        "share": rate / limit,
        "tokens_per_second": cost.tokens_per_second,
        "close_to_float32": cost.is_close,
    }


def _say(document: dict[str, Any]) -> None:
    from lamina.cli.compose import print_table

    threads = f"{document['threads']} thread" + ("s" if document["threads"] > 1 else "")
    click.echo(f"{document['cpu']}, {threads}; {document['model']}, {document['n_tokens']:,} tokens, every layer\n")
    print_table(
        ["precision", "machine GFLOP/s", "model GFLOP/s", "share", "tokens/s"],
        [
            [
                p["precision"],
                round(p["matmul_gflops"]),
                round(p["model_gflops"]),
                f"{p['share']:.0%}",
                round(p["tokens_per_second"]),
            ]
            for p in document["precisions"]
        ],
    )
    click.echo("\ncosine with float32, mean (worst text), by layer")
    names = [p["precision"] for p in document["precisions"] if p["precision"] != "float32"]
    cells = {(row["layer"], row["precision"]): f"{row['mean']:.5f} ({row['worst']:.5f})" for row in document["rows"]}
    layers = sorted({row["layer"] for row in document["rows"]})
    print_table(["layer", *names], [[layer, *(cells[layer, name] for name in names)] for layer in layers])
    click.echo(f"\n--precision {document['suggestion']} is the fastest that stays close to float32 at every layer")
