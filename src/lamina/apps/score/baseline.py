"""Baselines of scores: what pairs that have nothing to do with each other get at each layer.

A score x becomes (x - b) / (1 - b): unrelated texts near 0, equal ones 1, the order of pairs as it was. The files are
those of BERTScore's authors: `LAYER,P,R,F` and a line a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lamina.apps.score.figures import mean_of
from lamina.apps.score.matching import Scores
from lamina.errors import SourceError, SpecError

HEADER = ["LAYER", "P", "R", "F"]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Precision, recall and F1 of unrelated pairs, by layer."""

    of_layer: Mapping[str, tuple[float, float, float]]

    @classmethod
    def parse(cls, text: str, name: str) -> Baseline:
        """A file's text, its values apart by commas or tabs. Raises SourceError with the line."""
        found: dict[str, tuple[float, float, float]] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            values = line.replace("\t", ",").split(",")
            if (number == 1 and values == HEADER) or not line.strip():
                continue
            try:
                layer, p, r, f = values
                found[layer.strip()] = (_below_1(p), _below_1(r), _below_1(f))
            except ValueError:
                raise SourceError(
                    f"{name}, line {number}: expected {','.join(HEADER)} as in 8,0.43,0.43,0.42, each below 1"
                ) from None
        if not found:
            raise SourceError(f"{name} holds no baseline")
        return cls(found)

    @classmethod
    def of(cls, scores: Mapping[str, Scores]) -> Baseline:
        """The means of unrelated pairs' scores."""
        return cls({name: (mean_of(s.precision), mean_of(s.recall), mean_of(s.f1)) for name, s in scores.items()})

    def text(self) -> str:
        """As a file."""
        lines = [f"{layer},{p!r},{r!r},{f!r}" for layer, (p, r, f) in self.of_layer.items()]
        return "\n".join([",".join(HEADER), *lines]) + "\n"

    def rescaled(self, scores: Scores, layer: str) -> Scores:
        """Scores of a layer, each by its own baseline; the cosine stays. Raises SpecError for a layer without one."""
        if layer not in self.of_layer:
            raise SpecError(f"the baseline has no layer {layer}; it has {', '.join(self.of_layer)}")
        p, r, f = self.of_layer[layer]
        return Scores(
            (scores.precision - p) / (1 - p), (scores.recall - r) / (1 - r), (scores.f1 - f) / (1 - f), scores.cosine
        )


def unrelated_pairs(texts: Sequence[str], *, seed: int = 0, most: int = 1000) -> list[tuple[str, str]]:
    """Each text with another one, drawn by `seed`, whatever the order of the texts; `most` pairs at most.

    Raises SpecError for fewer than two different texts.
    """
    different = sorted(set(texts))
    if len(different) < 2:
        raise SpecError("a baseline needs two different texts at least")
    order = np.random.default_rng(seed).permutation(len(different)).tolist()
    ring = [different[place] for place in order]
    return list(zip(ring, [*ring[1:], ring[0]], strict=True))[:most]


def _below_1(text: str) -> float:
    value = float(text)
    if not value < 1:
        raise ValueError
    return value
