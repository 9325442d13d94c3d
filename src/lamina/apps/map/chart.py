"""A map as a still picture: small multiples, one for each layer, for PNG and SVG. Shapes: P points."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lamina.apps.looks import COLOURS, altair_module
from lamina.apps.map.columns import Column, columns_of
from lamina.apps.map.pictures import Int64, Map

if TYPE_CHECKING:
    import altair

SHAPES = ("circle", "square", "diamond", "cross")
SIDE = {1: 560, 2: 400, 3: 300}  # of a picture, by how many stand in a row
RAMP = ("#5b55d6", "#a04bb8", "#d5577e", "#ec8a3e", "#e8c232")


def map_chart(found: Map, units: pa.Table, *, colour: str | None = None, title: str = "Map") -> altair.TopLevelMixin:
    """The pictures of a map side by side, coloured by a column; one alone is drawn large.

    Raises SpecError where `colour` is no column, or has too many different values.
    """
    alt = altair_module()
    drawn = units.take(pa.array(found.rows))
    column = columns_of(drawn, colour=colour)[0] if colour else None
    order = np.random.default_rng(0).permutation(len(found))  # else the last kind lies on top of the others
    n_columns = min(len(found.layers), 4)
    side = SIDE.get(n_columns, 230)
    edges = np.percentile(found.points.reshape(-1, 2), [0.05, 99.95], axis=0)  # of all layers; one scale for both axes
    half = max(0.54 * float((edges[1] - edges[0]).max()), 1e-3)
    x, y = (alt.Scale(domain=[middle - half, middle + half], nice=False) for middle in edges.mean(axis=0).tolist())
    pictures = [
        alt.Chart(title=alt.TitleParams(_kept(row, found), fontSize=12, fontWeight="normal", offset=2))
        .mark_point(
            size=_size(side, len(found)),
            opacity=0.92 if len(found) < 3000 else 0.75,
            filled=True,
            strokeWidth=0,
            clip=True,
            invalid=None,  # a point without a number is drawn, in the grey of `look`
        )
        .encode(
            x=alt.X(f"x{k}:Q", axis=None, scale=x),
            y=alt.Y(f"y{k}:Q", axis=None, scale=y),
            **_colours(alt, column),
        )
        .properties(width=side, height=side, view=alt.ViewBackground(stroke="#88888855", cornerRadius=4))
        for k, row in enumerate(found.table())
    ]
    data = _data(alt, found, column, order)
    together: altair.TopLevelMixin = alt.concat(*pictures, data=data, columns=n_columns, spacing=14, title=title)
    return together


def _kept(row: Mapping[str, Any], found: Map) -> str:
    """What a picture keeps: of variance, where that is what its method keeps."""
    what = "variance" if found.method == "pca" else "neighbours"
    return f"layer {row['layer']} · {row[what]:.0%} of the {what}"


def _data(alt: Any, found: Map, column: Column | None, order: Int64) -> Any:
    """All points as one text of CSV: altair checks records one by one, 20 seconds of them for 20,000 points."""
    L = len(found.layers)
    table = np.moveaxis(found.points[:, order], 0, 1).reshape(len(found), 2 * L)  # [P, x and y of each layer]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(f"{axis}{k}" for k in range(L) for axis in "xy"), "c"])
    for i, places in zip(order.tolist(), np.round(table.astype(float), 3).tolist(), strict=True):
        writer.writerow([*places, _name(column.values[i]) if column else ""])
    kinds = {f"{axis}{k}": "number" for k in range(L) for axis in "xy"}
    kinds["c"] = "string" if column is None or column.numbers is None else "number"
    return alt.InlineData(values=text.getvalue(), format=alt.CsvDataFormat(type="csv", parse=kinds))


def _name(value: str) -> str:
    """As the legend has it: Vega reads an empty field as null, and would draw no point."""
    return value or "(none)"


def _size(side: int, n_points: int) -> float:
    """The area of a mark: as much ink for many points as for few."""
    return float(np.clip(0.09 * side**2 / max(n_points, 60), 1.6, 70))


def _colours(alt: Any, column: Column | None) -> dict[str, Any]:
    if column is None:
        return {"color": alt.value(COLOURS[0])}
    if column.numbers is not None:
        ends = [float(end) for end in np.nanpercentile(column.numbers, [1, 99])]
        scale = alt.Scale(range=list(RAMP), domain=ends, clamp=True)
        return {"color": alt.Color("c:Q", title=column.name, scale=scale)}
    n = len(COLOURS) - 1  # the last one is grey, for what is beside the point
    domain = [_name(value) for value in column.names]
    scale = alt.Scale(domain=domain, range=[COLOURS[k % n] for k in range(len(domain))])
    shapes = alt.Scale(domain=domain, range=[SHAPES[k // n % len(SHAPES)] for k in range(len(domain))])
    legend = alt.Legend(
        title=column.name, symbolSize=80, symbolOpacity=1, columns=1 + len(domain) // 30, symbolLimit=120
    )
    return {
        "color": alt.Color("c:N", scale=scale, legend=legend),
        "shape": alt.Shape("c:N", scale=shapes, legend=legend),
    }
