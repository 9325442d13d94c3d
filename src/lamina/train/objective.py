"""What is learnt: examples, a module, a loss. The loop (loop.py) knows nothing else of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from lamina.engine.batch import Int32

B = TypeVar("B")

LOWER = ("loss", "perplexity")  # figures of which less is better; of every other one more is


@dataclass(frozen=True, slots=True)
class Loss:
    """A sum over items, and how much they weigh together.

    The loop adds up the sums and the weights of all parts of a step and divides once, so that a step in parts, or by
    several processes, is the step in one piece. A second term that is a mean over other items (pairs of sentences,
    a teacher's guesses) is each part's own mean, and counts as that part does.
    """

    total: Tensor
    weight: float


class Objective(Protocol[B]):
    """Examples, what is trained on them, and how well it does."""

    @property
    def module(self) -> nn.Module:
        """Encoder and head; those of its parameters that require a gradient are trained."""
        ...

    def __len__(self) -> int:
        """The examples of one epoch."""
        ...

    def lengths(self) -> Int32:
        """The tokens of each example, [N]."""
        ...

    def batch(self, examples: Sequence[int], rng: np.random.Generator) -> B:
        """The integers of some examples, by their numbers; what is drawn at random (masks) is drawn from `rng`."""
        ...

    def loss(self, batch: B) -> Loss:
        """The loss of a batch, differentiable."""
        ...

    def evaluate(self) -> Mapping[str, float]:
        """Figures on what is held out, none where nothing is; the first one says which state of the module is best.

        Called without gradients, the module not training.
        """
        ...


def is_better(name: str, figure: float, than: float) -> bool:
    """Whether a figure beats another of the same name; what is no number beats nothing."""
    return figure < than if name in LOWER else figure > than
