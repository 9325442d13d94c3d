"""A class for each text, from its vector at a layer."""

from lamina.apps.classify.classifier import Classifier, Predictions, read_classifier, train_classifier

__all__ = ["Classifier", "Predictions", "read_classifier", "train_classifier"]
