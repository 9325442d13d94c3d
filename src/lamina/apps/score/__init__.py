"""Scores of a text against references, token by token."""

from lamina.apps.score.matching import Scores, score_pairs

__all__ = ["Scores", "score_pairs"]
