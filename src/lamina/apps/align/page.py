"""Alignments as rows by layer, as a chart, and as a page: links drawn between two rows of words, a slider over layers.

Shapes: P pairs of sentences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from lamina.apps.align.links import Aligned
from lamina.apps.align.score import Gold, Links, score_links
from lamina.apps.charts import by_layer
from lamina.apps.report import Chart, Heading, Markup, Paragraph, Part, Report, Table, page_file, script_json

if TYPE_CHECKING:
    import altair

Words = Sequence[tuple[Sequence[str], Sequence[str]]]  # [P] the words of source and target
SHOWN = 200  # pairs in a page, at most


def align_rows(found: Sequence[Aligned], words: Words, gold: Sequence[Gold] | None = None) -> list[dict[str, Any]]:
    """A row for each layer and method: the links; against gold `precision`, `recall`, `f1` and `aer`, else `source` and
    `target`, the shares of words that have a link (None where there is nothing to divide by)."""
    rows = []
    for one in found:
        row: dict[str, Any] = {"layer": one.layer, "method": one.method, "links": sum(map(len, one.links))}
        if gold is not None:
            scores = score_links(one.links, gold)
            row |= {name: getattr(scores, name) for name in ("precision", "recall", "f1", "aer")}
        else:
            row |= {name: _linked(one.links, words, side) for side, name in enumerate(("source", "target"))}
        rows.append(row)
    return rows


def align_chart(rows: Sequence[Mapping[str, Any]], *, scored: bool) -> altair.LayerChart:
    """By layer, a line for each method: 1 - AER where there is gold, else the share of source words with a link."""
    if scored:
        values = [{**row, "accuracy": 1 - row["aer"]} for row in rows if row["aer"] is not None]
        return by_layer(values, score="accuracy", title="Word alignment: 1 - AER", colour="method", percent=True)
    values = [dict(row) for row in rows if row["source"] is not None]
    return by_layer(values, score="source", title="Source words with a link", colour="method", percent=True)


def align_page(
    found: Sequence[Aligned],
    words: Words,
    gold: Sequence[Gold] | None = None,
    *,
    title: str = "Word alignment",
    facts: Mapping[str, str] | None = None,
) -> Report:
    """The page of alignments of the same pairs.

    words  the words of each pair, which the links count.
    gold   what people marked: links are then right or wrong, and missing ones are drawn too.
    """
    rows = align_rows(found, words, gold)
    parts: list[Part] = []
    if len({one.layer for one in found}) > 1 and any(len(source) for source, _ in words):
        parts.append(Chart(align_chart(rows, scored=gold is not None)))
    best = _best(rows) if gold is not None else 0
    parts.append(Markup(_view(found, words, gold, best)))
    if len(words) > SHOWN:
        parts.append(Paragraph(f"The first {SHOWN} of {len(words):,} pairs are shown; the figures are of all."))
    table = Table(list(rows[0]), [list(row.values()) for row in rows], best=frozenset([best] if gold else []))
    parts += [Heading("By layer"), table]
    summary = f"{len(words):,} pairs of sentences."
    if gold is not None and rows[best]["aer"] is not None:
        summary += " Lowest AER: {aer:.4f}, layer {layer}, {method}.".format(**rows[best])
    style, script = page_file("align.css"), page_file("align.js")
    return Report(title, parts, summary=summary, facts=facts or {}, style=style, script=script)


def _view(found: Sequence[Aligned], words: Words, gold: Sequence[Gold] | None, best: int) -> str:
    data = {
        "found": [{"layer": one.layer, "method": one.method, "links": one.links[:SHOWN]} for one in found],
        "words": [[list(source), list(target)] for source, target in words[:SHOWN]],
        "gold": None if gold is None else [[sorted(one.sure), sorted(one.possible)] for one in gold[:SHOWN]],
        "best": best,
    }
    options = "".join(
        f'<option value="{k}">{k + 1}: {escape(" ".join(source)[:60])}</option>'
        for k, (source, _) in enumerate(words[:SHOWN])
    )
    text = script_json(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    return page_file("align.html").format(options=options, data=text)


def _best(rows: Sequence[Mapping[str, Any]]) -> int:
    """The row with the lowest AER."""
    return min(range(len(rows)), key=lambda k: float("inf") if rows[k]["aer"] is None else rows[k]["aer"])


def _linked(links: Sequence[Links], words: Words, side: int) -> float | None:
    """The share of the words of one side that have a link."""
    n_words = sum(len(pair[side]) for pair in words)
    n_linked = sum(len({link[side] for link in of_pair}) for of_pair in links)
    return n_linked / n_words if n_words else None
