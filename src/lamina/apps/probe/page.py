"""A probe's answer as one page: charts, the table, the learning curve, and what is mistaken for what, with examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lamina.apps.probe.chart import curve_chart, score_chart, short_name
from lamina.apps.probe.verdict import Answer, Row
from lamina.apps.report import Chart, Heading, Paragraph, Part, Report, Table

COLUMNS = ("layer", "pool", "behind the best", "noise", "control task", "selectivity", "random weights")
CONTROLLED = ("control task", "selectivity")
NAMES = "td:first-child { white-space: nowrap; }"  # `concat 3-6` in one line


def report(
    answer: Answer, *, title: str, facts: Mapping[str, str], examples: Mapping[int, str] | None = None
) -> Report:
    """The page of an answer.

    facts     what made it: the command, the hashes.
    examples  row of the units -> its text, for the confusions; None: they are shown without.
    """
    parts: list[Part] = [
        Chart(score_chart(answer, title="")),
        Paragraph(" ".join(answer.sentences()[1:])),
        table(answer),
    ]
    if answer.baselines:
        baselines = Table(["baseline", answer.metric], [(name, score) for name, score in answer.baselines.items()])
        parts += [Heading("Without any vector"), baselines]
    if answer.shares:
        shares = [(layer, share) for layer, share in answer.shares.items()]
        parts += [Heading("Shares of the layers in the learned mix"), Table(["layer", "share"], shares)]
    if answer.curve:
        parts += [Heading("How many labels are needed"), Chart(curve_chart(answer))]
    if answer.confusions:
        parts += [Heading("What is taken for what"), _confusions(answer, examples or {})]
    parts += [Heading("What was probed"), _labels(answer)]
    if answer.left_out:
        parts.append(Paragraph("Left out: " + ", ".join(f"{n:,} {why}" for why, n in answer.left_out.items()) + "."))
    return Report(title, parts, summary=answer.sentences()[0], facts=facts, style=NAMES)


def table(answer: Answer) -> Table:
    """Every layer, pool and mix, a row each; the best in bold."""
    metrics = [answer.metric, "low", "high", *answer.rows[0].scores]
    columns = [*COLUMNS[:2], *metrics, *COLUMNS[2:]]
    if answer.control_metric != answer.metric:
        columns = [f"{name} (accuracy)" if name in CONTROLLED else name for name in columns]
    best = frozenset(k for k, row in enumerate(answer.rows) if row == answer.best)
    return Table(columns, [_row(row) for row in answer.rows], best=best)


def _row(row: Row) -> Sequence[str | float | None]:
    beside = (row.behind, row.noise, row.control, row.selectivity, row.random)
    return [short_name(row), row.pool, row.score, row.low, row.high, *row.scores.values(), *beside]


def _confusions(answer: Answer, examples: Mapping[int, str]) -> Table:
    rows = [
        (one.true, one.predicted, one.n, "\n".join(examples[row] for row in one.rows if row in examples))
        for one in answer.confusions
    ]
    return Table(["label", "taken for", f"{answer.unit}s", "some of them"], rows)


def _labels(answer: Answer) -> Table | Paragraph:
    if not answer.classes:
        return Paragraph(f"{answer.n:,} {answer.unit}s, each with a number.")
    return Table(["class", f"{answer.unit}s"], [(name, n) for name, n in answer.classes.items()])
