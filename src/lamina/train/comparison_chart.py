"""A student beside its teacher, drawn: how alike their states are, and what probes find in the layers of both.

Comes in: the document of `comparison.py`. Goes out: one altair chart, and a page with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lamina.apps.looks import COLOURS, altair_module
from lamina.apps.report import Chart, Part, Report, Table
from lamina.errors import SpecError
from lamina.train.watch_chart import axis_format

if TYPE_CHECKING:
    import altair

WIDTH, HEIGHT, SPACING = 300, 240, 80
GREY = "#888888"
COSINES = "cosine of tokens with the teacher's"
BEFORE, AFTER, TEACHER = "student before", "student", "teacher"
COLOUR = {TEACHER: COLOURS[0], AFTER: COLOURS[1], BEFORE: GREY}


def comparison_chart(document: Mapping[str, Any], *, title: str) -> altair.HConcatChart:
    """A panel of cosines and one for each task, over the teacher's layers: a student's layer stands at the one that it
    is to be like. Raises SpecError where nothing was compared."""
    alt = altair_module()
    panels = list(_panels(alt, document).values())
    if not panels:
        raise SpecError("there is nothing to draw: no text was held out, and no task given")
    chart: altair.HConcatChart = alt.hconcat(*panels, spacing=SPACING, bounds="flush")
    chart = chart.resolve_scale(color="shared", y="independent")
    return chart.properties(title=title)


def page(document: Mapping[str, Any], *, title: str, facts: Mapping[str, str]) -> Report:
    """The comparison as a page: for cosines, and for each task, a chart and a table of the student's layers."""
    panels = _panels(altair_module(), document)
    parts: list[Part] = []
    for what, (columns, rows) in tables_of(document).items():
        parts += [Chart(panels[what]), Table(columns, rows)]
    summary = "Each of the student's layers beside the teacher's layer whose states it is to give."
    return Report(title=title, parts=parts, summary=summary, facts=facts)


def tables_of(document: Mapping[str, Any]) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """What was compared -> columns and rows, one for each of the student's layers: cosines, then each task."""
    rows = document["rows"]
    teacher = {row["layer"]: row for row in document["teacher_rows"]}
    beside = [[row["layer"], row["teacher_layer"]] for row in rows]
    tables: dict[str, tuple[list[str], list[list[Any]]]] = {}
    if "cosine" in rows[0]:
        columns = ["layer", "teacher's", "cosine before", "cosine", "lowest 5 %", "of texts before", "of texts"]
        keys = ("cosine_before", "cosine", "cosine_low", "text_cosine_before", "text_cosine")
        cells = [[*place, *(row[key] for key in keys)] for place, row in zip(beside, rows, strict=True)]
        tables[COSINES] = columns, cells
    for task in tasks_of(document):
        cells = [
            [*place, *(one[task]["score"] for one in (
                row["probes_before"], row["probes"], teacher[row["teacher_layer"]]["probes"]
            ))]
            for place, row in zip(beside, rows, strict=True)
        ]  # fmt: skip
        tables[task] = ["layer", "teacher's", f"{task} before", task, "of the teacher"], cells
    return tables


def tasks_of(document: Mapping[str, Any]) -> list[str]:
    """The tasks by which both were probed."""
    return list(document["rows"][0].get("probes", {}))


def _panels(alt: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    """What was compared -> its panel."""
    rows, layers = document["rows"], [row["layer"] for row in document["teacher_rows"]]
    panels = {}
    if "cosine" in rows[0]:
        values = [
            {"layer": row["teacher_layer"], "who": who, "score": row[key]}
            for who, key in ((BEFORE, "cosine_before"), (AFTER, "cosine"))
            for row in rows
        ]
        panels[COSINES] = _panel(alt, values, layers, COSINES, "cosine", "~g")
    for task in tasks_of(document):
        metric, values = rows[0]["probes"][task]["metric"], _scores(document, task)
        form = axis_format(metric, [value["score"] for value in values])
        panels[task] = _panel(alt, values, layers, task, metric, form)
    return panels


def _scores(document: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    values = [
        {"layer": row["layer"], "who": TEACHER, "score": row["probes"][task]["score"]}
        for row in document["teacher_rows"]
    ]
    for who, key in ((BEFORE, "probes_before"), (AFTER, "probes")):
        values += [
            {"layer": row["teacher_layer"], "who": who, "score": row[key][task]["score"]} for row in document["rows"]
        ]
    return values


def _panel(
    alt: Any, values: Sequence[Mapping[str, Any]], layers: Sequence[int], title: str, score: str, form: str
) -> Any:
    colour = alt.Color(
        "who:N",
        scale=alt.Scale(domain=list(COLOUR), range=list(COLOUR.values())),
        legend=alt.Legend(title=None, orient="bottom", symbolType="stroke", symbolStrokeWidth=3, symbolOpacity=1),
    )
    base = alt.Chart(alt.Data(values=list(values))).encode(
        x=alt.X(
            "layer:O", title="layer of the teacher", scale=alt.Scale(domain=list(layers)), axis=alt.Axis(labelAngle=0)
        ),
        y=alt.Y("score:Q", title=score, scale=alt.Scale(zero=False, nice=True), axis=alt.Axis(format=form)),
        color=colour,
        tooltip=["who:N", "layer:O", alt.Tooltip("score:Q", format=".4f")],
    )
    drawn = base.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=40, filled=True))
    return drawn.properties(title=title, width=WIDTH, height=HEIGHT)
