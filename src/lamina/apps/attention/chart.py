"""Head figures as charts: each head a dot above its layer, the layer's mean a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lamina.apps.attention.figures import HeadFigures, by_layer
from lamina.apps.looks import COLOURS, altair_module

if TYPE_CHECKING:
    import altair

# measure -> title, and whether it is a share of the weights
SHOWN = {
    "entropy": ("entropy, bits", False),
    "distance": ("distance, units", False),
    "cls": ("share on [CLS] and the like", True),
    "sep": ("share on [SEP] and the like", True),
    "previous": ("share on the unit before", True),
    "next": ("share on the unit after", True),
}


def measure_charts(figures: Sequence[HeadFigures]) -> list[altair.TopLevelMixin]:
    """A chart for each measure, to be laid side by side."""
    return [_chart(figures, measure) for measure in SHOWN]


def attention_chart(figures: Sequence[HeadFigures], *, title: str) -> altair.TopLevelMixin:
    """All measures as one picture."""
    together: altair.TopLevelMixin = altair_module().concat(
        *measure_charts(figures), columns=3, spacing=24, title=title
    )
    return together


def _chart(figures: Sequence[HeadFigures], measure: str) -> Any:
    alt = altair_module()
    title, is_share = SHOWN[measure]
    heads = [{"layer": str(one.layer), "head": one.head, measure: asdict(one)[measure]} for one in figures]
    means = [{"layer": str(row["layer"]), measure: row[measure]} for row in by_layer(figures)]
    order = list(dict.fromkeys(row["layer"] for row in means))
    x = alt.X("layer:N", sort=order, title="layer", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    scale = alt.Scale(domain=[0, 1]) if is_share else alt.Scale(zero=True)
    axis = alt.Axis(format="~%" if is_share else "~r", tickCount=5)
    y = alt.Y(f"{measure}:Q", title=None, scale=scale, axis=axis)
    tips = [alt.Tooltip("layer:N"), alt.Tooltip("head:Q"), alt.Tooltip(f"{measure}:Q", format=".3f")]
    dots = alt.Chart(alt.Data(values=heads)).mark_circle(size=34, opacity=0.55, color=COLOURS[0])
    line = alt.Chart(alt.Data(values=means)).mark_line(color=COLOURS[1], strokeWidth=2)
    layers = alt.layer(line.encode(x=x, y=y), dots.encode(x=x, y=y, tooltip=tips))
    return layers.properties(
        width=max(210, 24 * len(order)), height=150, title=alt.TitleParams(title, fontSize=12, offset=6)
    )
