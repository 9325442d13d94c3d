"""Proves that an answer's pictures and page show what it says, and that nothing from data can leave its place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lamina.apps.charts import save
from lamina.apps.looks import chart_json
from lamina.apps.probe.chart import curve_chart, score_chart, short_name
from lamina.apps.probe.page import report
from lamina.apps.probe.run import probe
from lamina.apps.probe.verdict import Answer
from tests.apps.probe.probing import one_hot, planted
from tests.apps.test_report import HOSTILE, own

CLASSES = np.random.default_rng(0).integers(2, size=200)
LABELS = [("good", HOSTILE)[k] for k in CLASSES]


@pytest.fixture(scope="module")
def answer() -> Answer:
    data = planted(one_hot(CLASSES), strengths=(0.1, 0.4, 0.6, 0.3, 0.2))
    random = planted(one_hot(CLASSES), strengths=(0.0,) * 5, seed=4)
    return probe({"mean": data, "max": data}, LABELS, random={"mean": random, "max": random})


def values(chart: object, field: str) -> set[str]:
    """Every value of a field in a chart's data."""
    found: set[str] = set()

    def walk(part: object) -> None:
        if isinstance(part, dict):
            for row in part.get("values", []):
                if isinstance(row, dict) and field in row:
                    found.add(str(row[field]))
            for item in part.values():
                walk(item)
        elif isinstance(part, list):
            for item in part:
                walk(item)

    walk(json.loads(chart_json(chart)))  # type: ignore[arg-type]
    return found


def test_the_chart_shows_every_layer_pool_mix_and_baseline(answer: Answer) -> None:
    chart = score_chart(answer, title="kind by layer")
    assert values(chart, "layer") >= {"0", "4", "mean 1-4", "concat 1-4", "learned"}
    assert values(chart, "pool") == {"mean", "max"}
    assert values(chart, "what") == {answer.best.pool, "random weights", "control task"}
    assert values(chart, "name") == set(answer.baselines)


@pytest.mark.parametrize("suffix", ["svg", "png", "html"])
def test_the_chart_is_drawn(answer: Answer, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"chart.{suffix}"
    save(score_chart(answer, title="kind by layer"), path)
    assert path.stat().st_size > 10_000
    if suffix == "svg":
        assert f">{answer.best.score:.1%}<" in path.read_text()
        assert ">kind by layer<" in path.read_text()


def test_what_was_left_out_is_not_drawn(answer: Answer) -> None:
    bare = replace(answer, rows=tuple(replace(row, control=None, random=None) for row in answer.rows), baselines={})
    assert values(score_chart(bare, title="t"), "what") == {answer.best.pool}


def test_the_curve_has_a_point_a_size(answer: Answer) -> None:
    assert values(curve_chart(answer), "n") == {str(point.n) for point in answer.curve}


def test_rows_have_short_names(answer: Answer) -> None:
    names = {row.combine: short_name(row) for row in answer.rows}
    assert names["mean"] == "mean 1-4"
    assert names["learned"] == "learned"
    weighted = next(replace(row, combine="0.5,0.5", layer="1,2") for row in answer.rows if row.combine == "mean")
    assert short_name(weighted) == "weighted 1-2"
    assert weighted.name == "weighted sum of layers 1,2"


def test_a_page_shows_the_table_the_curve_and_the_confusions(answer: Answer) -> None:
    examples = {row: f"example {row} {HOSTILE}" for one in answer.confusions for row in one.rows}
    page = own(report(answer, title=HOSTILE, facts={"command": HOSTILE}, examples=examples).html())
    assert "alert(1)</script>" not in page
    assert "<img" not in page
    for sentence in answer.sentences():
        assert sentence.split("[")[0].split("(")[0] in page
    for one in answer.confusions:
        assert all(f"example {row} " in page for row in one.rows)
    assert page.count("<tr class=best>") == 1
    assert "How many labels are needed" in page


def test_a_page_of_numbers_needs_no_classes() -> None:
    numbers = np.random.default_rng(0).normal(size=120)
    found = probe(planted(numbers, strengths=(0.5, 1.0)), numbers.tolist())
    assert "each with a number" in report(found, title="t", facts={}).html()
