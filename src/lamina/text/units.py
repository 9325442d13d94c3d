"""Units: which characters make a row, and which tokens carry them.

Every unit is a range of characters; its tokens are those that overlap it. Words, sentences, spans and whole texts
differ only in where their ranges come from, so a token that two words share counts for both, and a word that the
tokenizer drops keeps its row with no token at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lamina.spec import Pool, Special, Unit
from lamina.text.breaks import sentence_ranges, word_ranges
from lamina.text.text import Text
from lamina.text.tokens import Bool, Int64, Tokens

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Units:
    """U units of N texts, in order of text and place.

    text          [U]; the index of the unit's text.
    starts, ends  [U]; its characters, in the coordinates of `Tokens` (both strings of a pair one after the other).
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

    def with_nothing(self, tokens: Tokens) -> Units:
        """The same and one more unit, without a token: that of the last text of `tokens`, which has none either."""
        text, end = tokens.bounds.size - 2, tokens.ids.size
        added = {"text": text, "starts": 0, "ends": 0, "first": end, "last": end, "special": False, "cut": False}
        return Units(**{name: np.append(getattr(self, name), value) for name, value in added.items()})

    def kept(self, keep: Bool) -> Units:
        """The same units after tokens were cut off: `keep` [T] says which stay."""
        moved = np.concatenate(([0], np.cumsum(keep)))  # where each token stands among those that stay
        first, last = moved[self.first], moved[self.last]
        return replace(self, first=first, last=last, cut=(last - first) < (self.last - self.first))


def make_units(kind: Unit, texts: Sequence[Text], tokens: Tokens) -> Units:
    """The units of one kind."""
    return UNITS[kind](texts, tokens)


def pooled_tokens(units: Units, tokens: Tokens, *, whole: bool, pool: Pool, special: Special) -> tuple[Int64, Int64]:
    """The range of tokens to reduce for each unit: [U] firsts and [U] lasts. `whole`: units of whole texts or pairs.

    `first` and `last` are ordinary tokens: the last one of a text is its last piece, never [SEP] and never padding.
    """
    first, last = units.first, units.last
    if pool == "cls":
        return first, np.minimum(first + 1, last)
    if whole and (special == "exclude" or pool in ("first", "last")):
        ordinary = np.concatenate(([0], np.cumsum(~tokens.special)))
        places = np.append(np.flatnonzero(~tokens.special), tokens.ids.size)
        count = ordinary[last] - ordinary[first]
        first = np.where(count > 0, places[ordinary[first]], first)
        last = np.where(count > 0, places[ordinary[last] - 1] + 1, first)
    if pool == "first":
        last = np.minimum(first + 1, last)
    if pool == "last":
        first = np.maximum(last - 1, first)
    return first, last


def sentence_tokens(units: Units, pool: Pool, *, n_before: int = 0) -> tuple[Int64, Int64]:
    """The range of tokens to reduce for each whole text as sentence-transformers counts: special tokens are like all
    others, so the last token is mostly [SEP]. The first `n_before` tokens are left out."""
    first, last = np.minimum(units.first + n_before, units.last), units.last
    if pool == "cls":
        last = np.minimum(first + 1, last)
    if pool == "last":
        first = np.maximum(last - 1, first)
    return first, last


def n_ordinary(units: Units, tokens: Tokens) -> Int64:
    """The tokens of each unit [U] without the special ones; a special token's own row counts 1."""
    ordinary = np.concatenate(([0], np.cumsum(~tokens.special)))
    return np.where(units.special, 1, ordinary[units.last] - ordinary[units.first])


def kept_tokens(tokens: Tokens, max_tokens: int) -> Bool:
    """Which tokens stay [T] where each text is cut to `max_tokens`, special ones included: the first ones of the part
    that windows would move over, and all special ones."""
    text = tokens.text_index
    place = np.arange(tokens.ids.size) - tokens.bounds[text]
    count = tokens.sizes[text]
    return (place < max_tokens - tokens.n_suffix) | (place >= count - tokens.n_suffix)


def cut(tokens: Tokens, keep: Bool) -> Tokens:
    """The tokens that stay."""
    moved = np.concatenate(([0], np.cumsum(keep)))
    kept = {name: getattr(tokens, name)[keep] for name in ("ids", "types", "special", "starts", "ends")}
    bounds = moved[tokens.bounds]
    fixed = moved[tokens.bounds[:-1] + tokens.fixed] - bounds[:-1]
    return replace(tokens, **kept, bounds=bounds, fixed=fixed)


def _whole_texts(texts: Sequence[Text], tokens: Tokens) -> Units:  # noqa: ARG001 - one signature for all kinds
    """A row a string: each string of a pair is one, with the special tokens that follow it."""
    pair = tokens.is_pair
    text = np.repeat(np.arange(pair.size), 1 + pair)
    second = np.concatenate(([False], text[1:] == text[:-1]))[: text.size]
    middle = tokens.bounds[:-1] + tokens.fixed
    last = np.where(pair[text] & ~second, middle[text], tokens.bounds[text + 1])
    ends = np.where(second, tokens.totals[text], tokens.lengths[text])
    starts = np.where(second, tokens.lengths[text] + 1, 0)
    return _units(text, starts, ends, np.where(second, middle[text], tokens.bounds[text]), last)


def _whole_pairs(texts: Sequence[Text], tokens: Tokens) -> Units:  # noqa: ARG001
    text = np.arange(tokens.lengths.size)
    return _units(text, np.zeros_like(text), tokens.totals, tokens.bounds[:-1], tokens.bounds[1:])


def _single_tokens(texts: Sequence[Text], tokens: Tokens) -> Units:  # noqa: ARG001
    places = np.arange(tokens.ids.size)
    units = _units(tokens.text_index, tokens.starts, tokens.ends, places, places + 1)
    return replace(units, special=tokens.special)


def _words(texts: Sequence[Text], tokens: Tokens) -> Units:
    found = [word_ranges(text.text) if text.words is None else text.words for text in texts]
    return _ranges(_of_both(texts, found, lambda strings: [word_ranges(string) for string in strings]), tokens)


def _sentences(texts: Sequence[Text], tokens: Tokens) -> Units:
    return _ranges(_of_both(texts, sentence_ranges([text.text for text in texts]), sentence_ranges), tokens)


def _spans(texts: Sequence[Text], tokens: Tokens) -> Units:
    return _ranges([text.spans or () for text in texts], tokens)


def _of_both(
    texts: Sequence[Text], first: Sequence[Ranges], find: Callable[[Sequence[str]], Sequence[Ranges]]
) -> list[Ranges]:
    """The ranges of each text, and of a pair those found in its second string too, in the coordinates of `Tokens`."""
    pairs = [i for i, text in enumerate(texts) if text.pair is not None]
    found = list(first)
    for i, ranges in zip(pairs, find([texts[i].pair or "" for i in pairs]), strict=True):
        origin = len(texts[i].text) + 1
        found[i] = [*found[i], *((origin + start, origin + end) for start, end in ranges)]
    return found


def _ranges(ranges: Sequence[Ranges], tokens: Tokens) -> Units:
    """Units of given character ranges, a list for each text; each takes the tokens that overlap it (empty: none)."""
    text = np.repeat(np.arange(len(ranges)), [len(of_text) for of_text in ranges])
    flat = np.array([pair for of_text in ranges for pair in of_text], np.int64).reshape(-1, 2)
    starts, ends = np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1])
    # All texts on one line of characters, so that one search serves them all.
    origins = np.concatenate(([0], np.cumsum(tokens.totals + 1)))[:-1]
    token_origins = origins[tokens.text_index]
    first = np.searchsorted(token_origins + tokens.ends, origins[text] + starts, side="right")
    last = np.searchsorted(token_origins + tokens.starts, origins[text] + ends, side="left")
    return _units(text, starts, ends, first, np.where(starts < ends, np.maximum(first, last), first))


def _units(text: Int64, starts: Int64, ends: Int64, first: Int64, last: Int64) -> Units:
    no = np.zeros(text.size, np.bool_)
    return Units(text, starts, ends, first, last, special=no, cut=no)


UNITS: dict[str, Callable[[Sequence[Text], Tokens], Units]] = {
    "text": _whole_texts,
    "pair": _whole_pairs,
    "sentence": _sentences,
    "span": _spans,
    "word": _words,
    "token": _single_tokens,
}
WHOLE = ("text", "pair")  # units that include special tokens
