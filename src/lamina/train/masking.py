"""Masking: which tokens a masked language model must guess, and what it sees in their place. Drawn anew every time.

Integers only, vectorised. Shapes: T tokens of B sequences laid end to end, M of them chosen.
Source: Devlin et al. 2019, section 3.1 and appendix A.1; whole words: their code's note of May 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import Int32
from lamina.errors import SpecError
from lamina.train.batching import Int64

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """How tokens are chosen.

    share        of each sequence's tokens that are guessed, at least one.
    mask         of those, the share that is shown as [MASK]; `random`: as any token; the others as they are.
    whole_words  all tokens of a word, or none.
    """

    share: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        for name in ("share", "mask", "random"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise SpecError(f"{name} must be a number from 0 to 1, not {value!r}")
        if not 0 < self.share <= 1 or self.mask + self.random > 1:
            raise SpecError(
                f"share must be above 0 and at most 1, mask and random together at most 1; not {self.share}, "
                f"{self.mask} and {self.random}"
            )


@dataclass(frozen=True, slots=True)
class Masked:
    """What is shown, and what is to be guessed.

    ids      [T]; with replacements.
    places   [M]; ascending.
    targets  [M]; the ids that stood there.
    """

    ids: Int32
    places: Int64
    targets: Int64


def draw_masks(
    ids: Int32,
    bounds: Int64,
    *,
    may: Bool,
    inside: Bool,
    masking: Masking,
    mask_id: int,
    ordinary: Int32,
    rng: np.random.Generator,
) -> Masked:
    """Draw the masks of B sequences.

    bounds    [B + 1]; the tokens of each.
    may       [T]; which tokens may be chosen: not the special ones.
    inside    [T]; which tokens go on with a word; looked at for whole words only.
    ordinary  [V]; the ids that random tokens are drawn from.

    Of a sequence with n such tokens, share · n are chosen, rounded, and at least one; of whole words as many as come
    nearest to that: words are taken in a random order, as long as at least half of one still fits.
    """
    places = _chosen(bounds, may, inside, masking, rng)
    lot = rng.random(places.size)
    shown = ids.copy()
    masked = lot < masking.mask
    swapped = ~masked & (lot < masking.mask + masking.random)
    shown[places[masked]] = mask_id
    shown[places[swapped]] = ordinary[rng.integers(ordinary.size, size=int(swapped.sum()))]
    return Masked(shown, places, ids[places].astype(np.int64))


def _chosen(bounds: Int64, may: Bool, inside: Bool, masking: Masking, rng: np.random.Generator) -> Int64:
    """[M] the tokens that are guessed."""
    tokens = np.flatnonzero(may)
    sequence = np.searchsorted(bounds, tokens, side="right") - 1
    begins = np.ones(tokens.size, bool)
    if masking.whole_words:  # a word goes on only from the token before it, in the same sequence
        follows = (np.diff(tokens, prepend=-2) == 1) & (np.diff(sequence, prepend=-1) == 0)
        begins = ~(inside[tokens] & follows)
    word = np.cumsum(begins) - 1  # of each token
    size = np.bincount(word)
    home = sequence[begins]  # of each word
    order = np.lexsort((rng.random(size.size), home))  # words by sequence, in a random order within it
    sums = np.cumsum(size[order])
    first = np.searchsorted(home[order], home[order])  # the first word of the same sequence
    before = sums - size[order] - (sums[first] - size[order][first])
    wanted = np.maximum(1, np.rint(masking.share * np.bincount(sequence, minlength=bounds.size - 1)))
    taken = np.zeros(size.size, bool)
    taken[order] = (before == 0) | (before + size[order] / 2 <= wanted[home[order]])
    chosen: Int64 = tokens[taken[word]]
    return chosen
