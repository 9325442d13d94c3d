"""A chart as a file: SVG, PNG, a page, or what Vega reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.apps.charts import LIGHT, chart_json, look
from lamina.apps.report import Chart, Report
from lamina.errors import SpecError

if TYPE_CHECKING:
    import altair


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


def _title(chart: Any) -> str:
    title = chart.to_dict().get("title", "chart")
    return str(title.get("text", "chart") if isinstance(title, dict) else title)
