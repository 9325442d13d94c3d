"""A page and a chart of how well words are tagged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lamina.apps.looks import COLOURS, altair_module
from lamina.apps.report import Chart, Heading, Part, Report, Table
from lamina.apps.tag.scores import TagScores

if TYPE_CHECKING:
    import altair

SHOWN = 40  # kinds in the chart: the commonest


def scores_chart(scores: TagScores, *, width: int = 420) -> altair.LayerChart:
    """The F1 of each type of span (of each tag, where there are no spans), the commonest first, with their numbers."""
    alt = altair_module()
    kinds = sorted(((kind, one) for kind, one in scores.kinds.items() if kind != "all"), key=lambda kind: -kind[1].n)
    rows = [
        {"kind": f"{kind} ({one.n:,})", "F1": one.f1, "precision": one.precision, "recall": one.recall}
        for kind, one in kinds[:SHOWN]
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("kind:N", title=None, sort=None), x=alt.X("F1:Q", scale=alt.Scale(domain=[0, 1]), title="F1")
    )
    tooltip = [
        alt.Tooltip("kind:N"),
        *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("F1", "precision", "recall")),
    ]
    bars = base.mark_bar(height=14, color=COLOURS[0]).encode(tooltip=tooltip)
    numbers = base.mark_text(align="left", dx=4, fontSize=11).encode(text=alt.Text("F1:Q", format=".2f"))
    title = "F1 by type of span (how many there are)" if scores.f1 is not None else "F1 by tag (words with it)"
    chart: altair.LayerChart = alt.layer(bars, numbers).properties(title=title, width=width, height={"step": 20})
    return chart


def scores_report(scores: TagScores, *, title: str, facts: Mapping[str, str]) -> Report:
    """One page: the scores by type, what is taken for what with examples, what made it."""
    kinds = [
        (kind, one.n, one.n_found, one.n_right, one.precision, one.recall, one.f1) for kind, one in scores.kinds.items()
    ]
    parts: list[Part] = [
        Chart(scores_chart(scores)),
        Table(
            ("type", "there are", "found", "right", "precision", "recall", "F1"),
            kinds,
            best=frozenset({len(kinds) - 1}),
        ),
    ]
    if scores.confusions:
        rows = [(one.gold, one.found, one.n, "\n".join(one.examples)) for one in scores.confusions]
        parts += [
            Heading("What is taken for what"),
            Table(("is", "was tagged", "words", "for example"), rows, "Words by type, the commonest confusions first."),
        ]
    if scores.unseen:
        parts.append(Table(("tag never learnt", "words"), list(scores.unseen.items()), "They count as wrong."))
    spans = "" if scores.f1 is None else f"F1 of whole spans {scores.f1:.4f}, "
    summary = (
        f"{spans}accuracy of words {scores.accuracy:.4f}, over {scores.n_texts:,} texts, {scores.n_words:,} words."
    )
    if scores.n_left_out:
        summary += f" {scores.n_left_out:,} texts without a tag for each word were left out."
    return Report(title, parts, summary=summary, facts=facts)
