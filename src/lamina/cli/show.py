"""`lamina show`: what a model or a dataset is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina.errors import CheckpointError

if TYPE_CHECKING:
    from lamina.extraction.extractor import Extractor


@click.command("show")
@click.argument("what", metavar="MODEL|DATASET")
@click.option("--revision", help="A hub model's branch, tag or commit.")
@click.option("--health", is_flag=True, help="A report on the dataset's vectors, column by column.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(what: str, revision: str | None, health: bool, as_json: bool) -> None:
    """Describe a model (minilm, a folder, a hub id) or a dataset (a folder that lamina extract made).

    --health reports on a dataset's vectors: missing and infinite ones, their lengths, anisotropy (the mean cosine of
    two rows), the dimensions that dominate, and how far they are from vectors computed anew in float32. For that it
    loads the model that made the dataset, and takes up to 32 of its texts.
    """
    from lamina.dataset.manifest import FILE

    if health:
        _health(what, as_json=as_json)
        return
    folder = Path(what)
    holds_several = not (folder / "config.json").is_file() and any(folder.glob(f"*/{FILE}"))  # opening says which
    is_dataset = (folder / FILE).is_file() or holds_several
    facts = _dataset(what) if is_dataset else _model(what, revision)
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_written(value)}")


def _health(folder: str, *, as_json: bool) -> None:
    from lamina.cli.health import report, table
    from lamina.dataset.reader import open_dataset

    found = report(open_dataset(folder))
    click.echo(json.dumps({"dataset": folder, **found.json()}, ensure_ascii=False) if as_json else table(found))


def _model(name: str, revision: str | None) -> dict[str, Any]:
    from lamina.extraction.loading import load
    from lamina.model.inventory import n_parameters

    extractor = load(name, engine="reference", revision=revision)  # checks everything, compiles nothing
    arch, checkpoint, tokenizer = extractor.architecture, extractor.checkpoint, extractor.tokenizer
    return {
        "model": checkpoint.name,
        "revision": checkpoint.revision,
        "folder": str(checkpoint.folder),
        "family": arch.family,
        "layers": arch.n_layers,
        "width": arch.width,
        "heads": arch.n_heads,
        "parameters": n_parameters(arch),
        "longest_input": arch.max_tokens,
        "pooling": _pooling(extractor),
        "special_tokens": tokenizer.n_special,
        "vocabulary": arch.vocab_size,
        "weights_sha256": checkpoint.weights_sha256(),
        "tokenizer_sha256": tokenizer.sha256,
    }


def _pooling(extractor: Extractor) -> str:
    """What `pool="model"` does; a model that says nothing of it, or more than Lamina knows, is shown all the same."""
    try:
        recipe = extractor.sentence_recipe()
    except CheckpointError as error:
        return f"not supported: {error}"
    return str(recipe) if recipe.source else "not said"


def _dataset(folder: str) -> dict[str, Any]:
    from lamina.dataset.reader import open_dataset

    dataset = open_dataset(folder)
    manifest, made = dataset.manifest, dataset.manifest.made
    return {
        "dataset": folder,
        "texts": manifest.n_texts,
        "rows": manifest.n_rows,
        "tokens": manifest.n_tokens,
        "statuses": manifest.statuses,
        "layers": list(manifest.layers),
        "columns": list(manifest.vector_columns),
        "transforms": list(dataset.transforms),
        "width": manifest.width,
        "travelled": list(manifest.travelled),
        "bytes": sum(shard.n_bytes for shard in manifest.shards),
        "shards": len(manifest.shards),
        "spec": manifest.spec,
        "model": made.model,
        "revision": made.revision,
        "weights_sha256": made.weights_sha256,
        "engine": f"{made.engine} {made.precision}",
        "versions": made.versions,
    }


def _written(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_written(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
