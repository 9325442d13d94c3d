"""A lens as one HTML page: tokens down, layers across, the likeliest token in each cell, shaded by its probability."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from lamina.apps.charts import by_layer as chart_by_layer
from lamina.apps.lens.guesses import Lens, by_layer, records
from lamina.apps.report import Chart, Heading, Markup, Paragraph, Part, Report, Table, page_file, script_json

if TYPE_CHECKING:
    import altair

COLUMNS = ("layer", "tokens", "right", "mrr", "median_rank", "probability", "confidence")


def lens_page(
    lenses: Sequence[Lens],
    *,
    counted: Sequence[Lens] | None = None,
    title: str = "Lens",
    summary: str = "",
    facts: Mapping[str, str] | None = None,
) -> Report:
    """The page of a few texts; the figures by layer are over `counted` texts, by default the same ones."""
    rows = by_layer(counted or lenses)
    parts: list[Part] = [Paragraph(MEANING)]
    for k, lens in enumerate(lenses):
        parts += [Markup(_grid(lens, k))]
    data = [[_details(token) for token in records(lens)] for lens in lenses]
    parts += [
        Markup(f'<div id="tip" hidden></div><script type="application/json" id="lens-data">{_json(data)}</script>'),
        Heading("By layer"),
        Chart(lens_chart(rows)),
        Table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows]),
    ]
    return Report(
        title,
        parts,
        summary=summary,
        facts=facts or {},
        style=page_file("lens.css"),
        script=page_file("lens.js"),
    )


def lens_chart(rows: Sequence[Mapping[str, Any]], *, title: str = "") -> altair.TopLevelMixin:
    """The share of tokens that a layer takes for what they are; where that is not known, how sure it is."""
    if rows[0]["right"] is None:
        return chart_by_layer(
            rows, score="confidence", title=title or "Probability of what each layer guesses", percent=True
        )
    return chart_by_layer(rows, score="right", title=title or "Tokens that each layer gets right", percent=True)


def _grid(lens: Lens, number: int) -> str:
    head = "".join(f"<th scope=col>{layer}</th>" for layer in lens.layers)
    body = "".join(_line(token, number, t) for t, token in enumerate(records(lens)))
    return (
        f'<div class="lens" role="region" aria-label="text {number + 1}" tabindex="0"><table>'
        f"<thead><tr><th>token</th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _line(token: Mapping[str, Any], number: int, t: int) -> str:
    cells = "".join(_cell(cell, f"{number},{t},{i}") for i, cell in enumerate(token["layers"]))
    special = " class=special" if token["special"] else ""
    return f"<tr{special}><th scope=row><bdi>{escape(token['token'])}</bdi></th>{cells}</tr>"


def _cell(cell: Mapping[str, Any], where: str) -> str:
    first, rank = cell["candidates"][0], cell["rank"]
    chance = first["probability"]
    if chance != chance:
        return "<td>not read</td>"
    kind = ("right" if rank == 1 else "") + (" high" if chance > 0.6 else "")
    stands = "" if rank is None or rank == 1 else f"<small>{rank:,}</small>"
    return (
        f'<td class="{kind.strip()}" style="--p:{chance:.3f}" data-at="{where}" tabindex="-1">'
        f"<bdi>{escape(first['token'])}</bdi>{stands}</td>"
    )


def _details(token: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell says when it is pointed at: probabilities with three decimals, as they are shown."""
    return {
        "token": token["token"],
        "layers": [
            {
                "layer": cell["layer"],
                "first": [[one["token"], f"{one['probability']:.3f}"] for one in cell["candidates"]],
                "rank": cell["rank"],
                "own": None if cell["rank"] is None else f"{cell['probability']:.3f}",
            }
            for cell in token["layers"]
        ],
    }


def _json(data: Any) -> str:
    return script_json(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


MEANING = (
    "A cell holds the token that the masked-language-model head takes for the likeliest at that layer; the darker, the "
    "more probable. Bold: it is the token that stands there; else the small number is that token's rank. The head was "
    "trained on the last layer only: what it says of the others is a reading, not a result."
)
