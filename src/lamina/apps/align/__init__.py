"""Which word of a sentence is which word of its translation; which sentences are translations."""

from lamina.apps.align.links import Aligned, align
from lamina.apps.align.mining import mine
from lamina.apps.align.score import pharaoh, read_gold, score_links

__all__ = ["Aligned", "align", "mine", "pharaoh", "read_gold", "score_links"]
