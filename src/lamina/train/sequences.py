"""Texts as token sequences that fit the model: laid end to end, long texts cut or read in windows.

Integers only. Shapes: N sequences, T tokens of all of them, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.engine.batch import Batch, Int32
from lamina.errors import TextError
from lamina.text.text import Text
from lamina.text.tokens import Tokens
from lamina.text.units import cut, kept_tokens
from lamina.text.windows import Windows, check_room, fill, make_windows
from lamina.train.start import Start

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Token sequences laid end to end.

    ids, types  [T].
    bounds      [N + 1]; sequence i has the tokens bounds[i] to bounds[i + 1].
    """

    ids: Int32
    types: Int32
    bounds: Int64

    def __len__(self) -> int:
        return self.bounds.size - 1

    def lengths(self) -> Int32:
        """The tokens of each sequence, [N]."""
        return np.diff(self.bounds).astype(np.int32)

    def batch(self, which: Sequence[int] | Int64) -> Batch:
        """Some of them as the encoder takes them."""
        rows = np.asarray(which, np.int64)
        low = self.bounds[rows]
        lengths = (self.bounds[rows + 1] - low).astype(np.int32)
        ids, types = np.zeros((2, rows.size, int(lengths.max(initial=0))), np.int32)  # [B, S]
        for row, (first, length) in enumerate(zip(low.tolist(), lengths.tolist(), strict=True)):
            ids[row, :length] = self.ids[first : first + length]
            types[row, :length] = self.types[first : first + length]
        return Batch(ids, types, lengths, ())


def tokens_of(texts: Sequence[Text], start: Start) -> Tokens:
    """The tokens of texts. Raises TextError for what is no text, and for a pair that the model has no segment for."""
    tokens = start.tokenizer.encode(texts)
    n_types = start.architecture.n_types
    pairs = np.flatnonzero(tokens.is_pair).tolist()
    if pairs and 0 < n_types <= int(tokens.types.max(initial=0)):
        raise TextError.of(dict.fromkeys(pairs, f"is a pair, and this model was made for {n_types} segment"))
    return tokens


def whole_sequences(texts: Sequence[Text], start: Start, *, max_tokens: int) -> tuple[Sequences, int]:
    """A sequence a text, cut at `max_tokens`; and how many were cut. Raises TextError."""
    tokens = tokens_of(texts, start)
    n_cut = int((np.diff(tokens.bounds) > max_tokens).sum())
    if n_cut:
        check_room(tokens, max_tokens)
        tokens = cut(tokens, kept_tokens(tokens, max_tokens))
    return Sequences(tokens.ids, tokens.types, tokens.bounds), n_cut


def windowed(tokens: Tokens, *, max_tokens: int, stride: int | None = None) -> tuple[Sequences, Windows]:
    """A sequence a window: most texts are one. Raises TextError where a question leaves no room for its passage."""
    windows = make_windows(tokens, max_tokens=max_tokens, stride=stride)
    bounds = np.concatenate(([0], np.cumsum(windows.length)))
    which = np.arange(len(windows))
    laid = []
    for values in (tokens.ids, tokens.types):
        flat = np.zeros(int(bounds[-1]), np.int32)
        rows: Any = np.split(flat, bounds[1:-1])  # views
        fill(rows, values, tokens, windows, which)
        laid.append(flat)
    return Sequences(laid[0], laid[1], bounds), windows


def longest(start: Start, max_tokens: int | None) -> int:
    """How many tokens a sequence may have: at most what the model takes. Raises TextError."""
    most = start.architecture.max_tokens
    if max_tokens is None:
        return most
    least = start.tokenizer.n_special + 1
    if not least <= max_tokens <= most:
        raise TextError(f"is to be cut at {max_tokens} tokens; this model takes {least} to {most}", row=0)
    return max_tokens
