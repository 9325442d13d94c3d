"""A page and charts of how well units are classified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lamina.apps.classify.scores import ClassScores
from lamina.apps.looks import COLOURS, altair_module
from lamina.apps.report import Chart, Heading, Part, Report, Table

if TYPE_CHECKING:
    import altair

NUMBERED = 12  # classes up to which the cells of a confusion matrix show their numbers
MANY = 30  # classes from which on it shows only those that are mistaken for one another most


def confusion_chart(scores: ClassScores) -> altair.LayerChart:
    """What each class is taken for: the share of each row in colour, where there is room the number too."""
    alt = altair_module()
    names = _shown(scores)
    place = [scores.names.index(name) for name in names]
    counts = scores.counts[np.ix_(place, place)]
    total = np.maximum(1, scores.counts[place].sum(axis=1))
    rows = [
        {"is": mine, "taken for": theirs, "n": int(counts[i, j]), "share": float(counts[i, j] / total[i])}
        for i, mine in enumerate(names)
        for j, theirs in enumerate(names)
        if counts[i, j]
    ]
    angle = 0 if max(map(len, names)) <= 4 else -45
    size = 46 if len(names) <= NUMBERED else 16
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("taken for:N", sort=list(names), axis=alt.Axis(labelAngle=angle, labelLimit=160, domain=False)),
        y=alt.Y("is:N", sort=list(names), axis=alt.Axis(labelLimit=200, domain=False)),
    )
    colour = alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), legend=alt.Legend(format=".0%"))
    tooltip = ["is:N", "taken for:N", "n:Q", alt.Tooltip("share:Q", format=".1%")]
    layers = [base.mark_rect().encode(color=colour, tooltip=tooltip)]
    if len(names) <= NUMBERED:
        ink = alt.condition("datum.share > 0.5", alt.value("#ffffff"), alt.value("#222222"))
        layers.append(base.mark_text(fontSize=11).encode(text="n:Q", color=ink))
    title = "What each class is taken for" + (
        "" if len(names) == len(scores.names) else f" ({len(names)} most mistaken)"
    )
    chart: altair.LayerChart = alt.layer(*layers).properties(title=title, width={"step": size}, height={"step": size})
    return chart


def reliability_chart(scores: ClassScores, *, size: int = 300) -> altair.LayerChart:
    """How often predictions of a probability are right: on the diagonal where they can be trusted."""
    alt = altair_module()
    total = sum(one.n for one in scores.bins)
    rows = [
        {"probability": one.probability, "accuracy": one.accuracy, "n": one.n, "of all": one.n / total}
        for one in scores.bins
    ]
    axis = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(format=".0%")}
    ends = alt.Chart(alt.Data(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    diagonal = ends.mark_line(strokeDash=[5, 4], opacity=0.6, color=COLOURS[6]).encode(
        x=alt.X("x:Q", title="probability given", **axis), y=alt.Y("y:Q", title="share that is right", **axis)
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("probability:Q", title="probability given", **axis),
        y=alt.Y("accuracy:Q", title="share that is right", **axis),
    )
    tooltip = [alt.Tooltip("probability:Q", format=".3f"), alt.Tooltip("accuracy:Q", format=".3f"), "n:Q"]
    area = alt.Size("n:Q", scale=alt.Scale(range=[20, 400]), legend=alt.Legend(title="predictions"))
    points = base.mark_circle(color=COLOURS[0], opacity=0.9).encode(size=area, tooltip=tooltip)
    title = f"Can the probabilities be trusted? Off by {scores.calibration_error:.1%} on average"
    chart: altair.LayerChart = alt.layer(diagonal, points).properties(title=title, width=size, height=size)
    return chart


def scores_report(scores: ClassScores, *, title: str, facts: Mapping[str, str], about: str = "") -> Report:
    """One page: scores by class, the confusion matrix, how far probabilities hold, mistakes with texts, what made
    it."""
    classes = [
        (name, one.n, one.n_found, one.n_right, one.precision, one.recall, one.f1)
        for name, one in scores.classes.items()
    ]
    parts: list[Part] = [
        Chart(confusion_chart(scores)),
        Table(("class", "there are", "found", "right", "precision", "recall", "F1"), classes),
    ]
    if scores.bins:
        parts.append(Chart(reliability_chart(scores), "Predictions in bins of equal width by the probability given."))
    if scores.mistakes:
        rows = [(one.gold, one.found, one.n, "\n".join(one.examples)) for one in scores.mistakes]
        parts += [
            Heading("What is taken for what"),
            Table(("is", "was taken for", "n", "for example"), rows, "The commonest mistakes, the surest texts first."),
        ]
    if scores.unseen:
        parts.append(Table(("label never learnt", "n"), list(scores.unseen.items()), "They count as wrong."))
    return Report(title, parts, summary=f"{about}{sentence(scores)}.", facts=facts)


def sentence(scores: ClassScores) -> str:
    """The result in a sentence."""
    without = f", {scores.n_left_out:,} rows without a label left out" if scores.n_left_out else ""
    nothing = f", {scores.n_nothing:,} without a prediction counted as wrong" if scores.n_nothing else ""
    return (
        f"accuracy {scores.accuracy:.4f}, macro-F1 {scores.macro_f1:.4f}, calibration error "
        f"{scores.calibration_error:.4f}, log loss {scores.log_loss:.4f}, over {scores.n:,} rows{without}{nothing}"
    )


def _shown(scores: ClassScores) -> tuple[str, ...]:
    """The classes of the matrix: all, or of many those that are most often in a mistake."""
    if len(scores.names) <= MANY:
        return scores.names
    wrong = scores.counts - np.diag(np.diag(scores.counts))
    most = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MANY]
    return tuple(scores.names[k] for k in sorted(most.tolist()))
