"""What each layer takes a token for."""

from lamina.apps.lens.guesses import Lens, View, by_layer, lens_of, look

__all__ = ["Lens", "View", "by_layer", "lens_of", "look"]
