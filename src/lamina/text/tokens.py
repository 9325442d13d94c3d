"""Tokens of many texts laid end to end, as integers only: what a tokenizer makes, and everything after it reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of N texts laid end to end, each text with its special tokens: T in all.

    The two strings of a pair are one text here: their characters stand one after the other with one place between.

    ids, types   [T]; types are segment numbers, 1 for the second string of a pair.
    special      [T]; whether the tokenizer added the token.
    starts, ends [T]; character offsets into the text; a special token's are empty, where it stands. They never
                 decrease within a text.
    bounds       [N + 1]; text i has the tokens bounds[i] to bounds[i + 1].
    fixed        [N]; how many tokens stand before the part that windows move over: the special tokens before the
                 text, and the whole first string of a pair.
    n_suffix     special tokens after each text.
    lengths      [N]; characters of the first string.
    totals       [N]; characters of the whole text: the same, or both strings and one place between.
    """

    ids: Int32
    types: Int32
    special: Bool
    starts: Int64
    ends: Int64
    bounds: Int64
    fixed: Int64
    n_suffix: int
    lengths: Int64
    totals: Int64

    @property
    def counts(self) -> Int64:
        """Tokens of each text that windows move over, [N]."""
        return self.sizes - self.fixed - self.n_suffix

    @property
    def sizes(self) -> Int64:
        """Tokens of each text, special ones included, [N]."""
        return self.bounds[1:] - self.bounds[:-1]  # np.diff takes five times as long for one text

    @property
    def is_pair(self) -> Bool:
        """Whether each text is a pair, [N]."""
        return self.totals > self.lengths

    @property
    def text_index(self) -> Int64:
        """The text that each token belongs to, [T]."""
        return np.repeat(np.arange(self.bounds.size - 1), self.sizes)

    def with_nothing(self) -> Tokens:
        """The same and one more text, without a token, not even a special one."""
        bounds = np.append(self.bounds, self.bounds[-1])
        fixed, lengths, totals = (np.append(array, 0) for array in (self.fixed, self.lengths, self.totals))
        return replace(self, bounds=bounds, fixed=fixed, lengths=lengths, totals=totals)
