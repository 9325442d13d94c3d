"""Units: which characters make a row, and which tokens carry them.

Every unit is a range of characters; its tokens are those that overlap it. Words, whole texts and single tokens
differ only in where their ranges come from, so a token that two words share counts for both, and a word that the
tokenizer drops keeps its row with no token at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lamina.spec import Spec
from lamina.text.tokenizer import Int64, Tokens
from lamina.text.words import word_ranges

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Units:
    """U units of N texts, in order of text and place.

    text          [U]; the index of the unit's text.
    starts, ends  [U]; its characters.
    first, last   [U]; its tokens, first to last - 1 of `Tokens`; first == last where it has none.
    special       [U]; whether it is a special token.
    cut           [U]; whether tokens of it were cut off.
    """

    text: Int64
    starts: Int64
    ends: Int64
    first: Int64
    last: Int64
    special: Bool
    cut: Bool

    def __len__(self) -> int:
        return self.text.size


def make_units(spec: Spec, texts: Sequence[str], tokens: Tokens) -> Units:
    """The units that a Spec asks for."""
    return UNITS[spec.unit](texts, tokens)


def pooled_tokens(spec: Spec, units: Units, tokens: Tokens) -> tuple[Int64, Int64]:
    """The range of tokens to reduce for each unit: [U] firsts and [U] lasts.

    `first` and `last` are ordinary tokens: the last one of a text is its last piece, never [SEP] and never padding.
    """
    first, last = units.first, units.last
    if spec.unit == "text" and spec.pool == "cls":
        return first, np.minimum(first + 1, last)
    if spec.unit == "text" and (spec.special == "exclude" or spec.pool in ("first", "last")):
        first, last = first + tokens.n_prefix, last - tokens.n_suffix
    if spec.pool == "first":
        last = np.minimum(first + 1, last)
    if spec.pool == "last":
        first = np.maximum(last - 1, first)
    return first, last


def n_ordinary(units: Units, tokens: Tokens) -> Int64:
    """The tokens of each unit [U] without the special ones; a special token's own row counts 1."""
    low = tokens.bounds[units.text] + tokens.n_prefix
    high = tokens.bounds[units.text + 1] - tokens.n_suffix
    inside = np.minimum(units.last, high) - np.maximum(units.first, low)
    return np.where(units.special, 1, np.maximum(inside, 0))


def cut_tokens(tokens: Tokens, units: Units, max_count: int) -> tuple[Tokens, Units]:
    """Keep at most `max_count` ordinary tokens of each text, the first ones; units that lose tokens are marked."""
    place = np.arange(tokens.ids.size) - tokens.bounds[tokens.text_index]
    of_text = np.diff(tokens.bounds)[tokens.text_index]
    keep = (place < tokens.n_prefix + max_count) | (place >= of_text - tokens.n_suffix)
    moved = np.concatenate(([0], np.cumsum(keep)))  # where each token stands among those that are kept
    first, last = moved[units.first], moved[units.last]
    kept = replace(
        tokens,
        ids=tokens.ids[keep],
        starts=tokens.starts[keep],
        ends=tokens.ends[keep],
        bounds=moved[tokens.bounds],
    )
    return kept, replace(units, first=first, last=last, cut=(last - first) < (units.last - units.first))


def _whole_texts(texts: Sequence[str], tokens: Tokens) -> Units:  # noqa: ARG001 - one signature for all kinds
    n = tokens.lengths.size
    no = np.zeros(n, np.bool_)
    return Units(np.arange(n), np.zeros(n, np.int64), tokens.lengths, tokens.bounds[:-1], tokens.bounds[1:], no, no)


def _single_tokens(texts: Sequence[str], tokens: Tokens) -> Units:  # noqa: ARG001
    places = np.arange(tokens.ids.size)
    text = tokens.text_index
    low, high = tokens.bounds[text] + tokens.n_prefix, tokens.bounds[text + 1] - tokens.n_suffix
    special = (places < low) | (places >= high)
    return Units(text, tokens.starts, tokens.ends, places, places + 1, special, np.zeros(places.size, np.bool_))


def _words(texts: Sequence[str], tokens: Tokens) -> Units:
    return _ranges([word_ranges(text) for text in texts], tokens)


def _ranges(ranges: Sequence[Sequence[tuple[int, int]]], tokens: Tokens) -> Units:
    """Units of given character ranges, a list for each text; each takes the tokens that overlap it."""
    text = np.repeat(np.arange(len(ranges)), [len(of_text) for of_text in ranges])
    flat = np.array([pair for of_text in ranges for pair in of_text], np.int64).reshape(-1, 2)
    starts, ends = np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1])
    # All texts on one line of characters, so that one search serves them all.
    origins = np.concatenate(([0], np.cumsum(tokens.lengths + 1)))[:-1]
    token_origins = origins[tokens.text_index]
    first = np.searchsorted(token_origins + tokens.ends, origins[text] + starts, side="right")
    last = np.searchsorted(token_origins + tokens.starts, origins[text] + ends, side="left")
    no = np.zeros(text.size, np.bool_)
    return Units(text, starts, ends, first, np.maximum(first, last), no, no)


UNITS: dict[str, Callable[[Sequence[str], Tokens], Units]] = {
    "text": _whole_texts,
    "word": _words,
    "token": _single_tokens,
}
