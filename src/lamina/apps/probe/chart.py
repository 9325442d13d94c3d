"""A probe's answer drawn: the score of every layer, pool and mix; what the best pool must beat; the learning curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.apps.looks import COLOURS, altair_module
from lamina.apps.probe.verdict import LEARNED, Answer, Row

if TYPE_CHECKING:
    import altair

HEIGHT = 260
BESIDE = 260  # the width of the panel of what must be beaten
GREY = "#888888"
MIX_NAMES = {"concat": "concat", LEARNED: "learned"}


def score_chart(answer: Answer, *, title: str) -> altair.HConcatChart:
    """Two panels on one scale of layers: every layer, pool and mix; and what the best pool must beat."""
    alt = altair_module()
    chart: altair.HConcatChart = alt.hconcat(_scores(alt, answer), _beaten(alt, answer), spacing=40)
    chart = chart.resolve_scale(color="independent", y="independent")
    return chart.properties(title={"text": title or answer.how, "subtitle": answer.how if title else ""})


def curve_chart(answer: Answer) -> altair.LayerChart:
    """The score by the number of labelled units, the lowest and highest of the draws as a band."""
    alt = altair_module()
    values = [{"n": point.n, "score": point.score, "low": point.low, "high": point.high} for point in answer.curve]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X(
            "n:Q",
            title=f"labelled {answer.unit}s (logarithmic)",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[point.n for point in answer.curve], format=",", labelOverlap="greedy"),
        ),
    )
    score = _score(alt, answer, "score")
    chart: altair.LayerChart = alt.layer(
        base.mark_area(opacity=0.18, color=COLOURS[0]).encode(y=alt.Y("low:Q", title=answer.metric), y2="high:Q"),
        base.mark_line(strokeWidth=2, color=COLOURS[0], point=alt.OverlayMarkDef(size=36, filled=True)).encode(
            y=score, tooltip=["n:Q", alt.Tooltip("score:Q", format=".4f")]
        ),
    )
    return chart.properties(title=f"Learning curve: {answer.chosen.name}, {answer.chosen.pool}", width=420, height=200)


def short_name(row: Row) -> str:
    """A row's layer or mix as it stands under a chart: `4`, `mean 3-6`, `learned`."""
    if row.combine == "none":
        return str(row.layer)
    layers = str(row.layer).split(",")
    spanned = f"{layers[0]}-{layers[-1]}" if len(layers) > 1 else layers[0]
    if row.combine == LEARNED:
        return LEARNED
    return f"{row.combine if row.combine.isalpha() else 'weighted'} {spanned}"


def _scores(alt: Any, answer: Answer) -> Any:
    rows = _telling(answer)
    values: list[dict[str, Any]] = [
        {"layer": short_name(row), "pool": row.pool or "as extracted", "score": row.score, "low": row.low,
         "high": row.high, "is_layer": isinstance(row.layer, int)}
        for row in rows
    ]  # fmt: skip
    order = list(dict.fromkeys(value["layer"] for value in values))
    pools = list(dict.fromkeys(value["pool"] for value in values))
    colour = alt.Color(
        "pool:N", scale=alt.Scale(domain=pools, range=list(COLOURS[: len(pools)])), legend=_legend(alt, "pool")
    )
    aside = alt.XOffset("pool:N", sort=pools, scale=alt.Scale(paddingInner=0.5, paddingOuter=1))
    axis = alt.Axis(labelAngle=0 if all(value["is_layer"] for value in values) else -40)
    base = alt.Chart(alt.Data(values=values)).encode(x=alt.X("layer:N", title="layer or mix", sort=order, axis=axis))
    layers, mixes = base.transform_filter("datum.is_layer"), base.transform_filter("!datum.is_layer")
    tooltip = ["layer:N", "pool:N", *(alt.Tooltip(f"{name}:Q", format=".4f") for name in ("score", "low", "high"))]
    spread = {"y": _score(alt, answer, "low"), "y2": "high:Q", "color": colour}
    best = max(values, key=lambda value: value["score"])
    marked = alt.Chart(alt.Data(values=[best])).encode(x=alt.X("layer:N", sort=order))
    text = f"{best['score']:.1%}" if answer.classes else f"{best['score']:.3g}"
    return alt.layer(
        layers.mark_area(opacity=0.15).encode(**spread),
        layers.mark_line(strokeWidth=2).encode(y=_score(alt, answer, "score"), color=colour),
        layers.mark_point(filled=True, size=36, opacity=1).encode(y="score:Q", color=colour, tooltip=tooltip),
        mixes.mark_rule(strokeWidth=2, opacity=0.5).encode(**spread, xOffset=aside),
        mixes.mark_point(filled=True, size=50, opacity=1).encode(
            y="score:Q", color=colour, xOffset=aside, tooltip=tooltip
        ),
        marked.mark_text(dy=-9, fontWeight="bold", text=text).encode(y="high:Q"),
    ).properties(title=_which(answer, rows), width=420, height=HEIGHT)


def _telling(answer: Answer) -> list[Row]:
    """The rows that are above the majority: [CLS] at layer 0 is the same for every text, and would flatten the rest."""
    floor = answer.baselines.get("majority", -1.0)
    telling = [row for row in answer.rows if row.low > floor]
    return telling if 2 * len(telling) > len(answer.rows) else list(answer.rows)


def _which(answer: Answer, rows: list[Row]) -> str:
    which = (
        "every layer, pool and mix" if len(rows) == len(answer.rows) else "layers, pools and mixes above the majority"
    )
    return f"{which}, with 95 % intervals"


def _beaten(alt: Any, answer: Answer) -> Any:
    pool = answer.best.pool
    rows = [row for row in answer.rows if row.pool == pool and isinstance(row.layer, int)] or list(answer.rows)
    lines = {f"{pool or 'this model'}": "score", "random weights": "random"}
    if answer.control_metric == answer.metric:
        lines["control task"] = "control"
    values = [
        {"layer": short_name(row), "what": name, "score": getattr(row, field)}
        for name, field in lines.items()
        for row in rows
        if getattr(row, field) is not None
    ]
    order = list(dict.fromkeys(value["layer"] for value in values))
    names = list(dict.fromkeys(value["what"] for value in values))
    pools = list(dict.fromkeys(row.pool for row in answer.rows))
    own = COLOURS[pools.index(pool) % len(COLOURS)]
    colours = {**dict.fromkeys(lines, own), "random weights": GREY, "control task": COLOURS[3]}
    scale = alt.Scale(domain=names, range=[colours[name] for name in names])
    colour = alt.Color("what:N", scale=scale, legend=_legend(alt, "probe of"))
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("layer:N", title="layer", sort=order, axis=alt.Axis(labelAngle=0)), y=_score(alt, answer, "score")
    )
    tooltip = ["layer:N", "what:N", alt.Tooltip("score:Q", format=".4f")]
    lines_drawn = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=30, filled=True)).encode(
        color=colour, tooltip=tooltip
    )
    rules = [_rule(alt, name, score) for name, score in answer.baselines.items()]
    return alt.layer(lines_drawn, *rules).properties(title="what it must beat", width=BESIDE, height=HEIGHT)


def _legend(alt: Any, title: str) -> Any:
    return alt.Legend(title=title, orient="bottom", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1)


def _rule(alt: Any, name: str, score: float) -> Any:
    """A dashed line, its name to the right of the panel, where no other line can cross it."""
    base = alt.Chart(alt.Data(values=[{"score": score, "name": name}])).encode(y="score:Q")
    words = base.mark_text(align="left", dx=6, fontSize=11, opacity=0.8).encode(x=alt.value(BESIDE), text="name:N")
    return alt.layer(base.mark_rule(strokeDash=[5, 4], opacity=0.7), words)


def _score(alt: Any, answer: Answer, field: str) -> Any:
    axis = alt.Axis(format=".0%" if answer.classes else "~g")
    return alt.Y(f"{field}:Q", title=answer.metric, scale=alt.Scale(zero=False, nice=True), axis=axis)
