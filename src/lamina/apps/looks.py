"""How charts and pages look, light and dark: their colours are told apart by colour-blind readers too (Okabe and Ito
2008)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lamina.errors import MissingExtraError

if TYPE_CHECKING:
    import altair

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999")
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
