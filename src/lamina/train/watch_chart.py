"""Which layer learns what, and when, drawn: a panel a task, a line a layer, over the steps.

Comes in: the lines of `probes.jsonl`. Goes out: one altair chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lamina.apps.looks import altair_module
from lamina.errors import SpecError
from lamina.train.watch import Row

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT, SPACING = 360, 260, 80
SHARES = ("accuracy", "macro-f1", "span-f1")
NARROW = 0.08  # a range in which whole per cents would stand at several lines
BEYOND = 0.3  # how far outside the scores, as a share of their range, a baseline may stand: farther, it flattens them
# Light for the embeddings, dark for the last layer: told apart by colour-blind readers, and without colour.
SCHEME, EXTENT = "viridis", (0.9, 0.0)


def watch_chart(rows: Sequence[Row], *, title: str) -> altair.HConcatChart:
    """Scores by step: a line a layer, dashed what a probe must beat where that is near. Raises SpecError where
    nothing was probed."""
    alt = altair_module()
    if not rows:
        raise SpecError("there is no score to draw: no task was probed")
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    panels = [_panel(alt, task, [row for row in rows if row["task"] == task]) for task in tasks]
    chart: altair.HConcatChart = alt.hconcat(*panels, spacing=SPACING, bounds="flush")
    return chart.properties(title=title)


def axis_format(metric: str, scores: Sequence[float]) -> str:
    """How numbers stand at an axis: shares as per cent, with a decimal where they differ by little."""
    if metric not in SHARES:
        return "~g"
    return ".1%" if max(scores) - min(scores) < NARROW else ".0%"


def _panel(alt: Any, task: str, rows: Sequence[Row]) -> Any:
    metric = rows[0]["metric"]
    values = [{key: row[key] for key in ("step", "layer", "score", "low", "high")} for row in rows]
    last = max(row["step"] for row in values)
    y = alt.Y(
        "score:Q",
        title=metric,
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(format=axis_format(metric, [row["score"] for row in rows])),
    )
    layers = sorted({row["layer"] for row in values})
    colour = alt.Color(
        "layer:O",
        scale=alt.Scale(scheme=alt.SchemeParams(name=SCHEME, extent=list(EXTENT))),
        sort=layers,
        legend=alt.Legend(title="layer", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1, columns=1),
    )
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", title="step", scale=alt.Scale(domain=[0, last], nice=False), axis=alt.Axis(tickMinStep=1))
    )
    tooltip = ["step:Q", "layer:O", *(alt.Tooltip(f"{name}:Q", format=".4f") for name in ("score", "low", "high"))]
    drawn = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=30, filled=True)).encode(
        y=y, color=colour, tooltip=tooltip
    )
    rules = [_rule(alt, name, score) for name, score in _near(rows).items()]
    return alt.layer(drawn, *rules).properties(
        title=alt.TitleParams(task, subtitle=_sureness(rows), offset=14), width=WIDTH, height=HEIGHT
    )


def _sureness(rows: Sequence[Row]) -> str:
    """Of how much each score is, and how far it may be off: what moves by less may be noise."""
    half = sum(row["high"] - row["low"] for row in rows) / (2 * len(rows))
    off = f"{100 * half:.1f} points" if rows[0]["metric"] in SHARES else f"{half:.2g}"
    return f"{rows[0]['n']:,} labelled; 95 % interval ± {off}"


def _near(rows: Sequence[Row]) -> dict[str, float]:
    """The baselines that stand among the scores, or not far from them."""
    scores = [row["score"] for row in rows]
    low, high = min(scores), max(scores)
    beyond = BEYOND * (high - low)
    return {name: one for name, one in rows[0]["baselines"].items() if low - beyond <= one <= high + beyond}


def _rule(alt: Any, name: str, score: float) -> Any:
    base = alt.Chart(alt.Data(values=[{"score": score, "step": 0, "name": name}])).encode(y="score:Q")
    words = base.mark_text(align="left", dx=4, dy=-6, fontSize=11, opacity=0.8).encode(x="step:Q", text="name:N")
    return alt.layer(base.mark_rule(strokeDash=[5, 4], opacity=0.7), words)
