"""Which examples make a step, and which of them are computed at once. Integers only; all of it follows from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import Int32

Int64 = npt.NDArray[np.int64]

WINDOW = 16  # steps whose examples are sorted by length together: equally long ones attend in one product
ORDER, DRAWN, DROPPED = range(3)  # what is drawn from a seed, each independently of the others


@dataclass(frozen=True, slots=True)
class Steps:
    """The examples of each step.

    lengths  [N]; tokens of each example.
    """

    lengths: Int32
    batch_size: int
    seed: int

    @property
    def in_epoch(self) -> int:
        """How many steps an epoch has."""
        return -(-self.lengths.size // self.batch_size)

    def from_step(self, step: int) -> Iterator[Int64]:
        """The examples of that step, counted from 0, and of all that follow, epoch after epoch without end."""
        epoch, within = divmod(step, self.in_epoch)
        while True:
            yield from self.epoch(epoch)[within:]
            epoch, within = epoch + 1, 0

    def epoch(self, number: int) -> list[Int64]:
        """The examples of each step of an epoch: every example once, in steps of about equal lengths."""
        rng = np.random.default_rng([self.seed, ORDER, number])
        order = rng.permutation(self.lengths.size)
        steps: list[Int64] = []
        for low in range(0, order.size, WINDOW * self.batch_size):
            window = order[low : low + WINDOW * self.batch_size]
            window = window[np.argsort(self.lengths[window], kind="stable")]
            cuts = np.arange(self.batch_size, window.size, self.batch_size)
            held = np.split(window, cuts)
            steps += [held[i] for i in rng.permutation(len(held))]
        return steps


def parts_of(examples: Int64, lengths: Int32, batch_tokens: int) -> list[Int64]:
    """A step's examples in parts of at most `batch_tokens` tokens, or of one example."""
    parts, low, held = [], 0, 0
    for place, length in enumerate(lengths[examples].tolist()):
        if place > low and held + length > batch_tokens:
            parts.append(examples[low:place])
            low, held = place, 0
        held += length
    return [*parts, examples[low:]]


def in_batches(lengths: Int32, batch_tokens: int) -> list[Int64]:
    """All examples in batches of about equal lengths, to be evaluated."""
    return parts_of(np.argsort(-lengths, kind="stable"), lengths, batch_tokens)


def drawing(seed: int, step: int, *where: int) -> np.random.Generator:
    """What a part of a step draws its masks from."""
    return np.random.default_rng([seed, DRAWN, step, *where])


def torch_seed(seed: int, step: int, *where: int) -> int:
    """What torch draws a part's dropout from."""
    return int(np.random.SeedSequence([seed, DROPPED, step, *where]).generate_state(1, np.uint64)[0] >> np.uint64(1))
