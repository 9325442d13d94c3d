"""A result as one self-contained HTML page: tables, charts, texts, and what made them. It asks no network for anything.

Everything that comes from data is escaped; charts are drawn in the page by Vega, which is inside it once. The page
follows the reader's light or dark setting.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.apps.looks import DARK, FONT, LIGHT, chart_json, look

if TYPE_CHECKING:
    import altair

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text."""

    text: str

    def html(self, number: int) -> str:
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside the page."""

    text: str

    def html(self, number: int) -> str:
        return f"<h2>{escape(self.text)}</h2>"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; numbers stand to the right, floats with four decimals; a text keeps its line breaks. `best` are
    rows to be set in bold."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    best: frozenset[int] = frozenset()

    def html(self, number: int) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(
            f"<tr{' class=best' if k in self.best else ''}>{''.join(map(_cell, row))}</tr>"
            for k, row in enumerate(self.rows)
        )
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f"<div class=wide><table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


@dataclass(frozen=True, slots=True)
class Chart:
    """An altair chart, drawn when the page is opened."""

    chart: altair.TopLevelMixin
    caption: str = ""

    def html(self, number: int) -> str:
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        data = script_json(chart_json(self.chart))
        return (
            f'<figure class=wide><div class=chart id="chart-{number}"></div>{caption}'
            f'<script type="application/json" id="chart-{number}-spec">{data}</script></figure>'
        )


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that an app has made itself. Whatever in it comes from data must be escaped by that app."""

    markup: str

    def html(self, number: int) -> str:
        return self.markup


Part = Paragraph | Heading | Table | Chart | Markup


@dataclass(frozen=True, slots=True)
class Report:
    """A page.

    title    what it is about.
    parts    what it shows, in order.
    summary  the result in a sentence or two.
    facts    name -> value at the foot: the exact command, the hashes of data and model, versions.
    style, script  CSS and JavaScript of an app's own Markup; nothing that comes from data.
    """

    title: str
    parts: Sequence[Part]
    summary: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    style: str = ""
    script: str = ""

    def html(self) -> str:
        """The whole page as text."""
        body = "\n".join(part.html(number) for number, part in enumerate(self.parts))
        summary = f"<p class=summary>{escape(self.summary)}</p>" if self.summary else ""
        facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in self.facts.items())
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            "script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:; font-src data:\">"
            f"<title>{escape(self.title)}</title><style>{STYLE}{self.style}</style></head><body><main>"
            f"<h1>{escape(self.title)}</h1>{summary}\n{body}\n<footer><dl>{facts}</dl></footer></main>"
            f"{self._scripts()}</body></html>\n"
        )

    def save(self, path: str | Path) -> None:
        """Write the page."""
        Path(path).write_text(self.html(), encoding="utf-8")

    def _scripts(self) -> str:
        own = f"<script>{self.script}</script>" if self.script else ""
        if not any(isinstance(part, Chart) for part in self.parts):
            return own
        import vl_convert

        looks = script_json(json.dumps({"light": look(LIGHT), "dark": look(DARK)}))
        library = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # the stub lacks its default
        library = library.replace("</script", "<\\/script")
        return (
            f'<script type="module">{library}</script>'
            f'<script type="application/json" id="looks">{looks}</script><script type="module">{DRAW}</script>{own}'
        )


def page_file(name: str) -> str:
    """The text of a file of `pages/`: the HTML, CSS or JavaScript of an app's own Markup."""
    from importlib.resources import files

    return (files("lamina.apps") / "pages" / name).read_text(encoding="utf-8")


def script_json(text: str) -> str:
    """JSON that may stand inside a <script> element: no `<`, so nothing in it can end the element."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _cell(value: Cell) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, str):
        return f"<td{' class=lines' if chr(10) in value else ''}>{escape(value)}</td>"
    return f"<td class=number>{value:,}</td>" if isinstance(value, int) else f"<td class=number>{value:.4f}</td>"


STYLE = f"""
:root {{ color-scheme: light dark; --ink: {LIGHT["ink"]}; --faint: {LIGHT["faint"]}; --paper: {LIGHT["paper"]}; }}
@media (prefers-color-scheme: dark) {{
:root {{ --ink: {DARK["ink"]}; --faint: {DARK["faint"]}; --paper: {DARK["paper"]}; }} }}
body {{ margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 {FONT}; }}
main {{ max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }}
h1, h2, p, li {{ overflow-wrap: anywhere; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }} h2 {{ font-size: 1.15rem; margin: 2rem 0 .5rem; }}
.summary {{ font-size: 1.1rem; }} .wide {{ overflow-x: auto; margin: 1rem 0; }}
table {{ border-collapse: collapse; font-size: .9rem; }} caption {{ text-align: left; padding-bottom: .4rem; }}
th, td {{ text-align: left; padding: .25rem .7rem; border-bottom: 1px solid var(--faint); vertical-align: top; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.lines {{ white-space: pre-line; overflow-wrap: anywhere; min-width: 16rem; }} .best td {{ font-weight: bold; }}
figcaption {{ font-size: .9rem; opacity: .8; }}
footer {{ margin-top: 3rem; border-top: 1px solid var(--faint); font-size: .85rem; opacity: .85; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }} dt {{ opacity: .7; }}
dd {{ margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, monospace; }}
"""

DRAW = """
const looks = JSON.parse(document.getElementById("looks").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
async function draw() {
  const config = looks[dark.matches ? "dark" : "light"];
  for (const place of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(document.getElementById(place.id + "-spec").textContent);
    const actions = { export: true, source: false, compiled: false, editor: false };
    await vegaEmbed(place, spec, { config, renderer: "svg", actions });
  }
  document.body.dataset.drawn = "yes";
}
dark.addEventListener("change", draw);
draw();
"""
