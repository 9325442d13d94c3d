"""A map as one HTML page: every layer's picture, drawn on a canvas, with a slider that lets the points travel.

The page is `pages/map.css` and `pages/map.js` with the data inside: coordinates as 16-bit integers, two for a point
and layer. It asks no network for anything. Shapes: L layers, P points.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.looks import COLOURS
from lamina.apps.map.columns import Column, columns_of
from lamina.apps.map.pictures import Map
from lamina.apps.report import Heading, Markup, Report, Table, page_file, script_json
from lamina.errors import SpecError

METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
BOX = 32767  # coordinates are stored as integers from -BOX to BOX
LONG, AROUND = 1000, 150  # characters: of a text that is kept whole, and on each side of a unit in a longer one
SPAN = ("text_id", "start", "end")
IN_VIEW = 99.7  # the percentile of the points of all layers that is in view when the page opens, on every side


def map_page(
    found: Map,
    units: pa.Table,
    *,
    colour: str | None = None,
    texts: Sequence[str] | None = None,
    title: str = "Map",
    facts: Mapping[str, str] | None = None,
) -> Report:
    """The page of a map.

    units   the units table of the data that the map was made of, all its rows.
    colour  the column that colours the points at first; every other one can be chosen in the page.
    texts   the texts that the units come from, by `text_id`: a point then shows its words in their sentence.

    Raises SpecError where `colour` is no column, or has too many different values.
    """
    drawn = units.take(pa.array(found.rows))
    columns = columns_of(drawn, colour=colour)
    data = {
        "n": len(found),
        "layers": list(found.layers),
        **_coordinates(found),
        **_texts(drawn, texts),
        "columns": [_packed(column) for column in columns],
        "palette": list(COLOURS[:-1]),
        "notes": [_note(row) for row in found.table()],
    }
    rows = [[row["layer"], row["variance"], row["neighbours"], row["moved"]] for row in found.table()]
    table = Table(["layer", "variance kept", "neighbours kept", "moved"], rows)
    parts = (Markup(_markup(data, found)), Heading("What each picture keeps"), table, Markup(MEANING))
    return Report(
        title,
        parts,
        summary=summary(found),
        facts=facts or {},
        style=page_file("map.css"),
        script=page_file("map.js"),
    )


def summary(found: Map) -> str:
    """What is drawn, and what was left out, in a sentence or two."""
    n_layers = "one layer" if len(found.layers) == 1 else f"{len(found.layers)} layers"
    said = f"{len(found):,} points, {n_layers}, {METHODS[found.method]}."
    if found.n_thinned:
        said += f" {found.n_thinned:,} more were left out at random."
    if found.n_unusable:
        said += f" {found.n_unusable:,} without a vector were left out."
    return said


def _coordinates(found: Map) -> dict[str, Any]:
    size = float(np.abs(found.points).max()) or 1.0
    whole = np.rint(found.points * (BOX / size)).astype("<i2")
    edges = np.percentile(found.points.reshape(-1, 2), [100 - IN_VIEW, IN_VIEW], axis=0)  # [low and high, x and y]
    return {"points": _base64(whole), "size": size, "view": edges.tolist()}


def _texts(drawn: pa.Table, texts: Sequence[str] | None) -> dict[str, Any]:
    """What a point says: its own text; or whose text it is in, and from which character to which.

    Of a long text only what is around the point is kept, else a thousand books would make the page.
    """
    if texts is None:
        surfaces = drawn.column("surface").to_pylist()
        return {"texts": [text if len(text) <= LONG else text[:LONG] + "…" for text in surfaces]}
    held: dict[int, int] = {}  # the place in `shown` of a text that stands there whole
    shown: list[str] = []
    within: list[int] = []
    for number, start, end in zip(*(drawn.column(name).to_pylist() for name in SPAN), strict=True):
        if number >= len(texts):
            raise SpecError(f"the units come from text {number:,}, and there are {len(texts):,} texts")
        text, first = texts[number], 0
        if len(text) > LONG:
            first, end = max(0, start - AROUND), min(end, start + LONG)
            shown.append(text[first : end + AROUND])
        elif number not in held:
            held[number] = len(shown)
            shown.append(text)
        within += [held.get(number, len(shown) - 1), start - first, end - first]
    return {"texts": shown, "within": within}


def _packed(column: Column) -> dict[str, Any]:
    if column.kind == "names":
        codes = np.array(column.codes(), np.uint8)
        return {"name": column.name, "names": column.names, "counts": column.counts, "codes": _base64(codes)}
    if column.numbers is not None:
        return {"name": column.name, "values": column.values, "numbers": _base64(column.numbers.astype("<f4"))}
    return {"name": column.name, "values": column.values}


def _note(row: Mapping[str, Any]) -> str:
    return f"{row['variance']:.0%} of the variance · {row['neighbours']:.0%} of the neighbours"


def _base64(array: npt.NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _markup(data: Mapping[str, Any], found: Map) -> str:
    last = len(found.layers) - 1
    ticks = "".join(
        f'<button type="button" data-layer="{k}">{escape(layer)}</button>' for k, layer in enumerate(found.layers)
    )
    return page_file("map.html").format(
        last=last,
        ticks=ticks,
        alone="hidden" if last == 0 else "",
        data=script_json(json.dumps(data, ensure_ascii=False, separators=(",", ":"))),
    )


MEANING = """<p><b>variance kept</b>: share of the variance of the vectors that a linear function of the picture
explains. <b>neighbours kept</b>: of a point's ten nearest, the share that is also among its ten nearest in the picture.
<b>moved</b>: how far points travel from the layer before, as a share of the picture's radius (root mean square). Each
picture is scaled to one radius and turned, or mirrored, so that points move as little as possible; between two layers
the page draws straight ways, which are no data.</p>"""
