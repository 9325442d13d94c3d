"""Phrases that say what a text, or a group of texts, is about."""

from lamina.apps.keywords.phrases import Phrases, find_phrases
from lamina.apps.keywords.ranking import Keyword, keywords

__all__ = ["Keyword", "Phrases", "find_phrases", "keywords"]
