"""Charts: one altair definition each, drawn as SVG or PNG without a browser, or put into a page without a network.

What several apps draw stands here, a score by layer, and how any chart becomes a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.apps.looks import COLOURS, LIGHT, altair_module, chart_json, look
from lamina.apps.report import Chart, Report
from lamina.errors import SpecError

if TYPE_CHECKING:
    import altair

ROOM = 24  # pixels above and below the scores: the label of the best one stands inside


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


def save(chart: altair.TopLevelMixin, path: str | Path) -> None:
    """Write a chart as .svg, .png (twice the size, for dense screens), .html (self-contained) or .json (Vega-Lite).

    Raises SpecError for another suffix.
    """
    target, text, kind = Path(path), chart_json(chart), kind_of(path)
    if kind == ".json":
        target.write_text(text, encoding="utf-8")
        return
    if kind == ".html":
        Report(title=_title(chart), parts=(Chart(chart),)).save(target)
        return
    import vl_convert

    config = look(LIGHT)
    if kind == ".svg":
        target.write_text(vl_convert.vegalite_to_svg(text, config=config), encoding="utf-8")
    else:
        target.write_bytes(vl_convert.vegalite_to_png(text, scale=2, config=config))


def kind_of(path: str | Path) -> str:
    """As what a chart would be written: the suffix of its file. Raises SpecError for another."""
    kind = Path(path).suffix.lower()
    if kind not in (".svg", ".png", ".html", ".json"):
        raise SpecError(f"a chart is written as .svg, .png, .html or .json, not {Path(path).name!r}")
    return kind


def _baseline(alt: Any, name: str, value: float, score: str, last: str, order: Sequence[str]) -> Any:
    base = alt.Chart(alt.Data(values=[{score: value, "layer": last, "name": name}])).encode(y=f"{score}:Q")
    words = base.mark_text(align="right", dy=-6, fontSize=11, opacity=0.8).encode(
        x=alt.X("layer:N", sort=list(order)), text="name:N"
    )
    return alt.layer(base.mark_rule(strokeDash=[5, 4], opacity=0.7), words)


def _title(chart: Any) -> str:
    title = chart.to_dict().get("title", "chart")
    return str(title.get("text", "chart") if isinstance(title, dict) else title)
