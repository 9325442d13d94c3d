"""Attention as one HTML page: all heads at a glance, one of them as a heat map and as arcs over the text, the figures.

Weights are stored as they are shown: as ten-thousandths, in 16 bits, compressed; a weight's number in the page is the
array's, rounded to four decimals. Shapes: L layers, H heads, U units of a text.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from lamina.apps.attention.chart import measure_charts
from lamina.apps.attention.figures import MEASURES, HeadFigures, Weights, by_head
from lamina.apps.mix import Float32
from lamina.apps.report import Chart, Heading, Markup, Paragraph, Part, Report, Table, page_file, script_json
from lamina.errors import SpecError

STEP = 10_000
NONE = 65_535  # a unit without tokens looks nowhere


def attention_page(
    texts: Sequence[Weights],
    figures: Sequence[HeadFigures],
    *,
    title: str = "Attention",
    summary: str = "",
    facts: Mapping[str, str] | None = None,
) -> Report:
    """The page of a few texts, and of head figures that may come from more. Raises SpecError without any text."""
    shown = [text for text in texts if text.units.num_rows]
    if not shown:
        raise SpecError("there is no text with words to show")
    data = {
        "layers": list(shown[0].layers),
        "heads": list(shown[0].heads),
        "texts": [_packed(text) for text in shown],
    }
    table = Table(["layer", "head", *MEASURES], [list(row.values()) for row in by_head(figures)])
    parts: list[Part] = [
        Markup(
            page_file("attention.html").format(
                texts=_choices(shown), data=script_json(json.dumps(data, ensure_ascii=False))
            )
        ),
        Heading("What the heads do"),
        Paragraph(MEANING),
        *(Chart(chart) for chart in measure_charts(figures)),
        Markup(f"<details><summary>every head's figures</summary>{table.html(0)}</details>"),
    ]
    return Report(
        title,
        parts,
        summary=summary,
        facts=facts or {},
        style=page_file("attention.css"),
        script=page_file("attention.js"),
    )


def thousandths(weights: Float32) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Weights [..., U] as ten-thousandths in 16 bits; NaN as NONE."""
    whole = np.rint(np.nan_to_num(weights.astype(np.float64), nan=NONE / STEP) * STEP)
    return whole.astype(np.uint16)


def _packed(text: Weights) -> dict[str, Any]:
    name = "token" if "token" in text.units.column_names else "surface"
    return {
        "units": text.units.column(name).to_pylist(),
        "special": [int(special) for special in text.units.column("special").to_pylist()],
        "weights": [_compressed(_with_mean(layer)) for layer in text.weights],
    }


def _with_mean(layer: Float32) -> Float32:
    """A layer's weights [1 + H, U, U], first the mean of the heads that it has: one taken out is NaN altogether."""
    there = ~np.isnan(layer).all(axis=(1, 2))
    return np.concatenate([layer[there if there.any() else ...].mean(axis=0, keepdims=True), layer])


def _compressed(layer: Float32) -> str:
    """A layer's weights [1 + H, U, U]: all low bytes, then all high bytes, mostly 0; gzip; base64."""
    planes = thousandths(layer).astype("<u2").view(np.uint8).reshape(-1, 2).T
    return b64encode(gzip.compress(np.ascontiguousarray(planes).tobytes(), 6, mtime=0)).decode("ascii")


def _choices(texts: Sequence[Weights]) -> str:
    """The texts to choose from, by how they begin."""
    options = []
    for k, text in enumerate(texts):
        ordinary = text.units.filter(np.logical_not(text.units.column("special").to_numpy(zero_copy_only=False)))
        words = " ".join(ordinary.column("surface").to_pylist())
        options.append(f'<option value="{k}">{k + 1}. {escape(words[:80])}{"…" if len(words) > 80 else ""}</option>')
    return "".join(options)


MEANING = (
    "Each dot is a head, the line is the mean of a layer. Averages are over the units that are no special tokens. "
    "Entropy: 0 bits looks at one place. Distance: to what is looked at, special tokens left out. The shares are of a "
    "unit's weights."
)
