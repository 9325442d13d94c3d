"""Charts: one altair definition each, drawn as SVG or PNG without a browser, or put into a page without a network.

What every chart shares: the look, the colours (told apart by colour-blind readers too: Okabe and Ito 2008), and a score
by layer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.errors import MissingExtraError, SpecError

if TYPE_CHECKING:
    import altair

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
ROOM = 24  # pixels above and below the scores: the label of the best one stands inside
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
LIGHT = {"ink": "#222222", "faint": "#e5e5e5", "paper": "#ffffff"}
DARK = {"ink": "#dddddd", "faint": "#3a3a3a", "paper": "#1b1b1b"}


def altair_module() -> Any:
    """altair, when it is installed. Raises MissingExtraError."""
    try:
        import altair
        import vl_convert  # noqa: F401 - draws what altair describes
    except ImportError:
        raise MissingExtraError("charts need altair and vl-convert: pip install 'lamina[plots]'") from None
    return altair


def by_layer(
    rows: Iterable[Mapping[str, Any]],
    *,
    score: str,
    title: str,
    colour: str | None = None,
    baselines: Mapping[str, float] | None = None,
    percent: bool = False,
    width: int = 420,
    height: int = 260,
) -> altair.LayerChart:
    """A score for each layer as a line, the best layer marked; with `low` and `high` in the rows a band around it.

    rows       each with `layer`, the score under the name `score`, perhaps `low` and `high`, and the field `colour`
               that makes several lines. One whose score is None or NaN is left out; SpecError where all are.
    baselines  name -> score: dashed lines.
    """
    alt = altair_module()
    known = ({name: value for name, value in row.items() if value == value} for row in rows)  # JSON has no NaN
    values = [row for row in known if row.get(score) is not None]
    if not values:
        raise SpecError("there is no score to draw")
    order = list(dict.fromkeys(str(row["layer"]) for row in values))
    values = [{**row, "layer": str(row["layer"])} for row in values]
    number = ".0%" if percent else "~g"
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("layer:N", title="layer", sort=order, axis=alt.Axis(labelAngle=0 if len(order) < 14 else -60))
    )
    scale = alt.Scale(zero=False, nice=False, padding=ROOM)
    y = alt.Y(f"{score}:Q", title=score, scale=scale, axis=alt.Axis(format=number))
    split = {} if colour is None else {"color": alt.Color(f"{colour}:N", scale=alt.Scale(range=list(COLOURS)))}
    plain = {} if colour else {"color": COLOURS[0]}
    layers = []
    if all("low" in row and "high" in row for row in values):
        band = {} if colour else {"color": COLOURS[0]}
        layers.append(base.mark_area(opacity=0.18, **band).encode(y=alt.Y("low:Q", title=score), y2="high:Q", **split))
    layers.append(base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=36, filled=True), **plain).encode(
        y=y, tooltip=[alt.Tooltip("layer:N"), alt.Tooltip(f"{score}:Q", format=".4f")], **split))  # fmt: skip
    best = max(values, key=lambda row: row[score])
    marked = alt.Chart(alt.Data(values=[best])).encode(x=alt.X("layer:N", sort=order), y=f"{score}:Q")
    text = f"{best[score]:.1%}" if percent else f"{best[score]:.3g}"
    layers.append(marked.mark_point(size=150, strokeWidth=2, **plain).encode(**split))
    layers.append(marked.mark_text(dy=-15, fontWeight="bold", text=text))
    layers += [_baseline(alt, name, value, score, order[-1], order) for name, value in (baselines or {}).items()]
    chart: altair.LayerChart = alt.layer(*layers).properties(title=title, width=width, height=height)
    return chart


def chart_json(chart: altair.TopLevelMixin) -> str:
    """A chart as a Vega-Lite document; data are inside, whatever their number."""
    alt = altair_module()
    with alt.data_transformers.enable("default", max_rows=None):
        document = chart.to_dict()
    document.pop("config", None)  # the look comes from `look`, in light and in dark
    return json.dumps(document)


def look(shades: Mapping[str, str]) -> dict[str, Any]:
    """The Vega-Lite config that all charts share, in LIGHT or DARK shades."""
    ink, faint = shades["ink"], shades["faint"]
    text = {
        "labelColor": ink,
        "titleColor": ink,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelFont": FONT,
        "titleFont": FONT,
    }
    return {
        "background": shades["paper"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": {**text, "gridColor": faint, "domainColor": faint, "tickColor": faint, "titleFontWeight": "normal"},
        "legend": {**text, "titleFontWeight": "normal", "labelLimit": 300},
        "header": {"labelColor": ink, "titleColor": ink},
        "title": {"color": ink, "subtitleColor": ink, "font": FONT, "fontSize": 14, "anchor": "start", "offset": 10},
        "mark": {"color": COLOURS[0]},
        "text": {"color": ink, "font": FONT},
        "rule": {"color": ink},
        "range": {"category": list(COLOURS)},
        "scale": {"invalid": {"color": {"value": COLOURS[-1]}}},
    }


def _baseline(alt: Any, name: str, value: float, score: str, last: str, order: Sequence[str]) -> Any:
    base = alt.Chart(alt.Data(values=[{score: value, "layer": last, "name": name}])).encode(y=f"{score}:Q")
    words = base.mark_text(align="right", dy=-6, fontSize=11, opacity=0.8).encode(
        x=alt.X("layer:N", sort=list(order)), text="name:N"
    )
    return alt.layer(base.mark_rule(strokeDash=[5, 4], opacity=0.7), words)
