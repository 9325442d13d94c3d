"""A result by layer given out: a table or one JSON document, and where asked for a chart and a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import TYPE_CHECKING, Any

from lamina.cli.compose import command_line, print_json, print_table

if TYPE_CHECKING:
    import altair


@dataclass(frozen=True, slots=True)
class Figures:
    """Rows with the same fields, a layer each.

    about   what else the JSON document says.
    title   of the chart and the page.
    best    the field that says which row is best.
    said    the result in a sentence, of the best row.
    drawn   makes the chart; called only where one is wanted.
    """

    rows: Sequence[Mapping[str, Any]]
    about: Mapping[str, Any]
    title: str
    best: str
    said: Callable[[Mapping[str, Any]], str]
    drawn: Callable[[], altair.TopLevelMixin]

    def give_out(self, *, facts: Mapping[str, str], as_json: bool, report: str | None, chart: str | None) -> None:
        """Print the rows, and write what is asked for."""
        if chart or report:
            self._draw(facts, report, chart)
        if as_json:
            print_json({**self.about, "rows": list(self.rows)})
            return
        print_table(list(self.rows[0]), [list(row.values()) for row in self.rows])

    def _draw(self, facts: Mapping[str, str], report: str | None, chart: str | None) -> None:
        from lamina.apps.charts import save
        from lamina.apps.report import Chart, Report, Table

        drawn = self.drawn()
        if chart:
            save(drawn, chart)
        if report:
            values = [-inf if isnan(row[self.best]) else row[self.best] for row in self.rows]
            best = values.index(max(values))
            table = Table(list(self.rows[0]), [list(row.values()) for row in self.rows], best=frozenset([best]))
            facts = {"command": command_line(), **facts}
            Report(self.title, (Chart(drawn), table), summary=self.said(self.rows[best]), facts=facts).save(report)
