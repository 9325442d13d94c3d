"""Names in texts as a graph: who is like whom by vectors, and who stands with whom."""

from lamina.apps.relations.edges import Edge, neighbours, together
from lamina.apps.relations.entities import Entities, Entity, Gathering
from lamina.apps.relations.graph_files import write_graphml, write_jsonl
from lamina.apps.relations.mentions import Mention, given_mentions, tagged_mentions

__all__ = [
    "Edge", "Entities", "Entity", "Gathering", "Mention", "given_mentions", "neighbours", "tagged_mentions", "together",
    "write_graphml", "write_jsonl",
]  # fmt: skip
