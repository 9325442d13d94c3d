"""Proves that a page is whole by itself and that nothing from data can leave its place."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import vl_convert

from lamina.apps.charts import by_layer, save
from lamina.apps.report import Chart, Heading, Paragraph, Report, Table
from lamina.errors import SpecError

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028&"
ROWS = [{"layer": k, "accuracy": 0.5 + 0.05 * k, "low": 0.4, "high": 0.9} for k in range(4)]


def own(page: str) -> str:
    """The page without the library inside it."""
    library = vl_convert.javascript_bundle().replace("</script", "<\\/script")
    assert library in page
    return page.replace(library, "")


def test_everything_from_data_is_escaped() -> None:
    chart = by_layer(ROWS, score="accuracy", title=HOSTILE)
    parts = (Heading(HOSTILE), Paragraph(HOSTILE), Table([HOSTILE], [[HOSTILE]], HOSTILE), Chart(chart, HOSTILE))
    page = own(Report(HOSTILE, parts, summary=HOSTILE, facts={HOSTILE: HOSTILE}).html())
    assert "alert(1)</script>" not in page
    assert "<img" not in page
    (spec,) = re.findall(r'id="chart-3-spec">(.*?)</script>', page)
    assert json.loads(spec)["title"] == HOSTILE


def test_a_page_asks_for_nothing_from_elsewhere() -> None:
    page = own(Report("t", (Chart(by_layer(ROWS, score="accuracy", title="t")),)).html())
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)


@pytest.mark.parametrize("suffix", ["svg", "png", "html", "json"])
def test_a_chart_is_written_as_its_name_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"chart.{suffix}"
    save(by_layer(ROWS, score="accuracy", title="Accuracy", baselines={"majority": 0.3}, percent=True), path)
    begins = {"svg": b"<svg", "png": b"\x89PNG", "html": b"<!doctype html>", "json": b"{"}
    assert path.read_bytes().startswith(begins[suffix])
    if suffix == "svg":
        assert ">65.0%<" in path.read_text()
        assert ">majority<" in path.read_text()


def test_a_layer_without_a_score_is_left_out(tmp_path: Path) -> None:
    nothing = [{"layer": 7, "accuracy": float("nan"), "low": 0.1, "high": 0.2}, {"layer": 8, "accuracy": None}]
    also = [{**ROWS[0], "other": float("nan")}, *ROWS[1:]]
    for path, rows in ((tmp_path / "all.svg", [*nothing, *also]), (tmp_path / "known.svg", ROWS)):
        save(by_layer(rows, score="accuracy", title="Accuracy"), path)
    assert (tmp_path / "all.svg").read_text() == (tmp_path / "known.svg").read_text()
    with pytest.raises(SpecError, match="no score to draw"):
        by_layer(nothing, score="accuracy", title="Accuracy")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"\.gif"):
        save(by_layer(ROWS, score="accuracy", title="Accuracy"), tmp_path / "chart.gif")
