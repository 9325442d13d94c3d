"""Graphs as files: GraphML, which Gephi, yEd, Cytoscape, igraph and networkx open, and JSONL.

GraphML is written here, line by line: that takes less than the library that would only write it, and a graph may have
any size. Whatever XML 1.0 has no character for (control characters, half surrogate pairs) becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from xml.sax.saxutils import escape

from lamina.apps.relations.edges import Edge
from lamina.apps.relations.entities import Entities, Entity

ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
RETURN = {"\r": "&#13;"}  # a parser would read it as a line's end

# What nodes and edges have, with GraphML's types. Source: GraphML primer (Brandes et al.), attributes.
NODE = {"label": "string", "kind": "string", "count": "long", "n_sentences": "long", "text_id": "long",
        "start": "long", "end": "long"}  # fmt: skip
EDGE = {"kind": "string", "weight": "double", "layer": "string", "count": "long"}


def write_graphml(path: str | Path, found: Entities, edges: Iterable[Edge]) -> None:
    """Write the graph, undirected: a node an entity, a `kind`, `weight`, and `layer` or `count` for each edge."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in _graphml(found, edges))


def write_jsonl(path: str | Path, found: Entities, edges: Iterable[Edge]) -> None:
    """Write the edges, a line each, with both ends' names and kinds: an edge list."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for edge in edges:
            file.write(json.dumps(edge_row(found, edge), ensure_ascii=False) + "\n")


def edge_row(found: Entities, edge: Edge) -> dict[str, object]:
    """An edge as the fields of a row: both ends by their names and kinds; what it has not is left out."""
    ends = {"source": found.entities[edge.source], "target": found.entities[edge.target]}
    named = {name: {"name": one.name, "kind": one.kind} for name, one in ends.items()}
    held = asdict(edge) | named
    return {name: value for name, value in held.items() if value is not None}


def _graphml(found: Entities, edges: Iterable[Edge]) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
    for what, fields in (("node", NODE), ("edge", EDGE)):
        for name, kind in fields.items():
            yield f'  <key id="{what}_{name}" for="{what}" attr.name="{name}" attr.type="{kind}"/>'
    yield '  <graph id="G" edgedefault="undirected">'
    for number, one in enumerate(found.entities):
        yield f'    <node id="n{number}">{_data("node", NODE, _node(one))}</node>'
    for number, edge in enumerate(edges):
        ends = f'source="n{edge.source}" target="n{edge.target}"'
        yield f'    <edge id="e{number}" {ends}>{_data("edge", EDGE, asdict(edge))}</edge>'
    yield "  </graph>"
    yield "</graphml>"


def _node(one: Entity) -> dict[str, object]:
    held = asdict(one)
    return {"label": held.pop("name"), **held}


def _data(what: str, fields: Iterable[str], values: dict[str, object]) -> str:
    return "".join(
        f'<data key="{what}_{name}">{legal(str(value))}</data>'
        for name in fields
        if (value := values[name]) is not None and not (isinstance(value, float) and not isfinite(value))
    )


def legal(text: str) -> str:
    """A string as content of an XML element."""
    return escape(ILLEGAL.sub("\ufffd", text), RETURN)
