"""The uses of words by layer as a chart: how alike they are within a group and across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lamina.apps.looks import COLOURS, altair_module
from lamina.apps.trace.uses import Trace, average

if TYPE_CHECKING:
    import altair

FEW = 15  # pairs that are drawn one by one
WITHIN, BETWEEN, ANY, USES = "two uses of one group", "of different groups", "any two words", "two uses"
HUES = {WITHIN: COLOURS[0], BETWEEN: COLOURS[1], USES: COLOURS[0], ANY: COLOURS[6]}


def trace_charts(traces: Sequence[Trace]) -> list[altair.TopLevelMixin]:
    """The similarities by layer; and with groups, how well each layer tells the groups apart."""
    rows = average(traces)
    charts = [_similarities(traces, rows)]
    if rows[0].get("auc") is not None:
        charts.append(_telling(traces, rows))
    return charts


def trace_chart(traces: Sequence[Trace], *, title: str) -> altair.TopLevelMixin:
    """All of it as one picture."""
    together: altair.TopLevelMixin = altair_module().concat(*trace_charts(traces), columns=2, spacing=40, title=title)
    return together


def _similarities(traces: Sequence[Trace], rows: Sequence[dict[str, Any]]) -> Any:
    """Means as lines; around them half of the pairs as a band, or a few pairs one by one."""
    alt = altair_module()
    grouped = rows[0].get("within") is not None or rows[0].get("between") is not None
    kinds = {WITHIN: "within", BETWEEN: "between"} if grouped else {USES: "similarity", ANY: "anywhere"}
    lines = [
        {"layer": row["layer"], "cosine": round(row[field], 4), "pairs": kind}
        for row in rows
        for kind, field in kinds.items()
        if row[field] is not None and row[field] == row[field]
    ]
    order = [row["layer"] for row in rows]
    x = alt.X("layer:N", sort=order, title="layer", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("cosine:Q", title="cosine", scale=alt.Scale(zero=False))
    held = [kind for kind in kinds if any(line["pairs"] == kind for line in lines)]
    scale = alt.Scale(domain=held, range=[HUES[kind] for kind in held])
    hue = alt.Color(
        "pairs:N",
        title=None,
        scale=scale,
        legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
    )
    tips = ["pairs:N", "layer:N", alt.Tooltip("cosine:Q", format=".3f")]
    drawn = [
        alt.Chart(alt.Data(values=lines))
        .mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=34, filled=True))
        .encode(x=x, y=y, color=hue, tooltip=tips)
    ]
    around = _bands(traces, order) if grouped else []
    if around:
        area = alt.Chart(alt.Data(values=around)).mark_area(opacity=0.15)
        drawn.insert(0, area.encode(x=x, y=alt.Y("low:Q", title="cosine"), y2="high:Q", color=hue))
    single = [] if grouped else _single(traces, order)
    if single:
        thin = alt.Chart(alt.Data(values=single)).mark_line(opacity=0.35, strokeWidth=1, color=COLOURS[0])
        drawn.insert(0, thin.encode(x=x, y=y, detail="pair:N"))
    return alt.layer(*drawn).properties(width=max(280, 30 * len(order)), height=240, title="How alike its uses are")


def _bands(traces: Sequence[Trace], order: Sequence[str]) -> list[dict[str, Any]]:
    """The middle half of the pairs at each layer."""
    found = []
    for kind, within in ((WITHIN, True), (BETWEEN, False)):
        pairs = np.concatenate([trace.pairs(within=within) for trace in traces], axis=1)
        if pairs.shape[1] > 3:
            for layer, (low, high) in zip(order, np.percentile(pairs, [25, 75], axis=1).T.tolist(), strict=True):
                found.append({"layer": layer, "pairs": kind, "low": round(low, 4), "high": round(high, 4)})
    return found


def _single(traces: Sequence[Trace], order: Sequence[str]) -> list[dict[str, Any]]:
    pairs = np.concatenate([trace.pairs() for trace in traces], axis=1)
    if not 1 < pairs.shape[1] <= FEW:
        return []
    return [
        {"layer": layer, "cosine": round(value, 4), "pair": k}
        for layer, values in zip(order, pairs.tolist(), strict=True)
        for k, value in enumerate(values)
    ]


def _telling(traces: Sequence[Trace], rows: Sequence[dict[str, Any]]) -> Any:
    """How often a pair of one group is more alike than one of two groups: the words' mean, and each word thin."""
    alt = altair_module()
    means = [{"layer": row["layer"], "auc": row["auc"]} for row in rows]
    words = [
        {"layer": row["layer"], "auc": row["auc"], "word": trace.word}
        for trace in traces
        for row in trace.by_layer()
        if row.get("auc") is not None
    ]
    order = [row["layer"] for row in rows]
    low = min([0.5, *(one["auc"] for one in words)])
    x = alt.X("layer:N", sort=order, title="layer", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("auc:Q", title="AUC", scale=alt.Scale(domain=[np.floor(low * 20) / 20, 1]), axis=alt.Axis(format=".0%"))
    best = max(means, key=lambda row: row["auc"])
    thick = alt.Chart(alt.Data(values=means)).mark_line(
        strokeWidth=2.5, color=COLOURS[2], point=alt.OverlayMarkDef(size=34, color=COLOURS[2])
    )
    marked = alt.Chart(alt.Data(values=[best])).mark_text(dy=-14, fontWeight="bold", text=f"{best['auc']:.0%}")
    drawn = [thick.encode(x=x, y=y, tooltip=["layer:N", alt.Tooltip("auc:Q", format=".3f")]), marked.encode(x=x, y=y)]
    if len(traces) > 1:
        thin = alt.Chart(alt.Data(values=words)).mark_line(strokeWidth=1, opacity=0.4, color=COLOURS[2])
        tips = ["word:N", "layer:N", alt.Tooltip("auc:Q", format=".3f")]
        drawn.insert(0, thin.encode(x=x, y=y, detail="word:N", tooltip=tips))
    return alt.layer(*drawn).properties(
        width=max(280, 30 * len(order)), height=240, title="How well a layer tells the groups apart"
    )
