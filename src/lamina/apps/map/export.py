"""A map for other programs: TensorBoard's embedding projector, and embedding-atlas.

Formats as their readers read them: TensorBoard's `projector_plugin.py` (text protocol buffers; a name column's header
only where there are several columns), and a Parquet file whose column names embedding-atlas is told.
Shapes: P points, D width.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamina.apps.map.columns import columns_of
from lamina.apps.map.pictures import Map
from lamina.apps.mix import Data, vectors_of
from lamina.errors import DatasetError

BLOCK = 1000  # rows written at once


def save_projector(found: Map, data: Data, folder: str | Path) -> list[str]:
    """Write the vectors (not the pictures: the projector makes its own) of each layer of a map for TensorBoard.

    In the folder: `layer_K.tsv` with a row of D numbers a point, `metadata.tsv` with its text and columns, and
    `projector_config.pbtxt`, which `tensorboard --logdir FOLDER` reads. Returns the files' names. Raises DatasetError
    where the folder holds other files already.
    """
    target = Path(folder)
    names = [f"layer_{re.sub(r'[^0-9A-Za-z.]+', '_', layer)}.tsv" for layer in found.layers]
    files = [*names, "metadata.tsv", "projector_config.pbtxt"]
    if target.exists() and (not target.is_dir() or {path.name for path in target.iterdir()} - set(files)):
        raise DatasetError(f"{target} holds something else already: name a new folder")
    target.mkdir(parents=True, exist_ok=True)
    for layer, name in zip(found.layers, names, strict=True):
        vectors = vectors_of(data, layer)[found.rows]
        with (target / name).open("w", encoding="ascii") as file:
            for low in range(0, len(vectors), BLOCK):
                np.savetxt(file, vectors[low : low + BLOCK], fmt="%.6g", delimiter="\t")
    drawn = data.units.take(pa.array(found.rows))
    (target / "metadata.tsv").write_text(_metadata(drawn), encoding="utf-8", newline="\n")
    (target / "projector_config.pbtxt").write_text(_config(found, names), encoding="utf-8", newline="\n")
    return files


def save_atlas(found: Map, units: pa.Table, path: str | Path) -> None:
    """Write a map as a Parquet file: `text`, the columns that travelled along, `x` and `y` of the last layer, and
    `layer_K_x` and `layer_K_y` of each one.

    `embedding-atlas map.parquet --text text --x x --y y` opens it. A column of the data that has one of these names
    gets `input_` before it.
    """
    drawn = units.take(pa.array(found.rows))
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"text": drawn.column("surface")}
    for k, name in [(len(found.layers) - 1, ""), *((k, f"layer_{layer}_") for k, layer in enumerate(found.layers))]:
        columns |= {f"{name}{axis}": pa.array(found.points[k, :, i]) for i, axis in enumerate("xy")}
    for column in columns_of(drawn):
        name = column.name
        while name in columns:
            name = f"input_{name}"
        columns[name] = pa.array(column.numbers) if column.numbers is not None else drawn.column(column.name)
    pq.write_table(pa.table(columns), path)


def _metadata(drawn: pa.Table) -> str:
    """A line a point; TensorBoard takes the first line for names only where there are several columns."""
    columns = columns_of(drawn)
    texts = [_line(text) for text in drawn.column("surface").to_pylist()]
    if not columns:
        return "".join(f"{text}\n" for text in texts)
    values = [[_line(value) for value in column.values] for column in columns]
    rows = [["text", *(_line(column.name) for column in columns)], *map(list, zip(texts, *values, strict=True))]
    return "".join("\t".join(row) + "\n" for row in rows)


def _config(found: Map, names: list[str]) -> str:
    return "".join(
        f"embeddings {{\n  tensor_name: {_quoted(f'layer {layer}')}\n  tensor_path: {_quoted(name)}\n"
        '  metadata_path: "metadata.tsv"\n}\n'
        for layer, name in zip(found.layers, names, strict=True)
    )


def _line(text: str) -> str:
    """On one line and in one column; never empty, since the projector drops empty lines and miscounts."""
    return re.sub(r"\s+", " ", text).strip() or "(empty)"


def _quoted(text: str) -> str:
    return json.dumps(text)
