"""A tag for each word, from its vector at a layer."""

from lamina.apps.tag.tagger import Tagger, Tagging, read_tagger, train_tagger

__all__ = ["Tagger", "Tagging", "read_tagger", "train_tagger"]
