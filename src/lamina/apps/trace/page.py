"""Traces as one HTML page: every pair of uses as a matrix with a slider over the layers, the sentences, the figures."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.apps.looks import COLOURS
from lamina.apps.report import Chart, Heading, Markup, Part, Report, Table, page_file, script_json
from lamina.apps.trace.chart import trace_charts
from lamina.apps.trace.uses import Trace, average

STEP = 10_000
SHOWN = 60  # characters on each side of a word


def trace_page(
    traces: Sequence[Trace],
    units: pa.Table,
    *,
    texts: Sequence[str] | None = None,
    title: str = "Trace",
    facts: Mapping[str, str] | None = None,
) -> Report:
    """The page of traces of the same data.

    units  the units table of the data, all its rows.
    texts  the texts that the words come from, by `text_id`, for showing each use where it stands.
    """
    rows = average(traces)
    data = {
        "layers": list(traces[0].layers),
        "palette": list(COLOURS[:-1]),
        "words": [_packed(one, units, texts) for one in traces],
    }
    options = "".join(f'<option value="{k}">{escape(one.word)}</option>' for k, one in enumerate(traces))
    parts: list[Part] = [
        *(Chart(chart) for chart in trace_charts(traces)),
        Heading("Every pair of uses"),
        Markup(page_file("trace.html").format(options=options, last=len(traces[0].layers) - 1, data=_json(data))),
        Heading("By layer"),
        Table(list(rows[0]), [list(row.values()) for row in rows]),
        Markup(MEANING),
    ]
    if len(traces) > 1:
        names = ["word", *rows[0]]
        table = [[one.word, *(row.get(name) for name in names[1:])] for one in traces for row in one.by_layer()]
        inside = Table(names, table).html(0)
        parts.append(Markup(f"<details><summary>every word's figures</summary>{inside}</details>"))
    return Report(
        title,
        parts,
        summary=_summary(traces),
        facts=facts or {},
        style=page_file("trace.css"),
        script=page_file("trace.js"),
    )


def _summary(traces: Sequence[Trace]) -> str:
    n = sum(map(len, traces))
    said = f"{n:,} uses of {traces[0].word!r}" if len(traces) == 1 else f"{n:,} uses of {len(traces)} words"
    n_groups = sum(len(set(one.groups) - {""}) for one in traces)
    said += f" in {n_groups} groups." if n_groups else "."
    thinned = sum(one.n_thinned for one in traces)
    return said + (f" {thinned:,} more were left out at random." if thinned else "")


def _packed(one: Trace, units: pa.Table, texts: Sequence[str] | None) -> dict[str, Any]:
    drawn = units.take(pa.array(one.rows))
    columns = {name: drawn.column(name).to_pylist() for name in ("text_id", "surface", "start", "end")}
    whole = np.rint(one.similarity.astype(np.float64) * STEP).astype("<i2")
    return {
        "groups": list(one.groups),
        "uses": [_context(texts, *use) for use in zip(*(columns[name] for name in columns), strict=True)],
        "similarity": b64encode(whole.tobytes()).decode("ascii"),
    }


def _context(texts: Sequence[str] | None, text_id: int, surface: str, start: int, end: int) -> list[str]:
    """What stands before a use, the use, and what stands after."""
    if texts is None:
        return [f"text {text_id}: ", surface, ""]
    before, use, after = texts[text_id][:start], texts[text_id][start:end], texts[text_id][end:]
    if len(before) > SHOWN:  # from a whole word on, where words are parted by spaces
        before = "…" + before[-SHOWN:][before[-SHOWN:].find(" ") + 1 :]
    if len(after) > SHOWN:
        after = (after[:SHOWN].rpartition(" ")[0] or after[:SHOWN]) + "…"
    return [before, use, after]


def _json(data: Any) -> str:
    return script_json(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


MEANING = """<p><b>similarity</b>: mean cosine of two uses. <b>anywhere</b>: of any two different words of the data,
which says what a cosine is worth at that layer. <b>within</b> and <b>between</b>: of two uses of one group, and of
different groups; <b>gap</b> is their difference. <b>auc</b>: how often a pair within is more alike than a pair between;
0.5 is chance. <b>nearest</b>: uses whose most similar other use is of their group.</p>"""
