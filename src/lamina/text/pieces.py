"""A long text tokenized in pieces that overlap, so that memory stays bounded: a tokenizer takes 160 bytes a character.

Where two pieces overlap they must give the same tokens, many on either side of the seam; from there on both are at
the same place of the same text and in the same state, so the pieces joined are the tokens of the whole text. Where they
do not (a word longer than the overlap), the text is tokenized as a whole, or refused if it is too long for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lamina.errors import TextError
from lamina.text.text import Text
from lamina.text.tokens import Tokens

PIECE = 1 << 19  # characters of a piece, without what it shares: 80 MB in the tokenizer
MARGIN = 1 << 12  # characters that it shares with its neighbour on either side of their seam
AGREE = 64  # tokens on either side of a seam that must be the same
WHOLE = 1 << 24  # characters that are tokenized at once where pieces disagree: 2.7 GB in the tokenizer

BY_TOKEN = ("ids", "types", "special", "starts", "ends")  # arrays [T]
BY_TEXT = ("fixed", "lengths", "totals")  # arrays [N]


def is_long(text: Text) -> bool:
    """Whether a text is tokenized in pieces. Pairs are not: their second string would need a template of its own."""
    return len(text.text) > 2 * PIECE and text.pair is None


def encode_long(text: str, encode: Callable[[Sequence[Text]], Tokens]) -> Tokens:
    """The tokens of one long text; `encode` gives those of short ones. Raises TextError."""
    parts: list[Tokens] = []
    for seam in range(0, len(text) - MARGIN, PIECE):  # a shorter rest would have too few tokens to agree on
        low, high = max(0, seam - MARGIN), min(len(text), seam + PIECE + MARGIN)
        piece = encode([Text(text[low:high])])
        piece = replace(piece, starts=piece.starts + low, ends=piece.ends + low)
        if parts:
            met = _meeting(parts[-1], piece, seam)
            if met is None:
                return _whole(text, encode)
            parts[-1], piece = _between(parts[-1], 0, met[0]), _between(piece, met[1], piece.ids.size)
        parts.append(piece)
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in BY_TOKEN}
    total = np.array([len(text)])
    return replace(parts[0], **joined, bounds=np.array([0, joined["ids"].size]), lengths=total, totals=total)


def laid_end_to_end(parts: Sequence[Tokens]) -> Tokens:
    """The tokens of several groups of texts as those of one."""
    origins = np.cumsum([0, *(part.ids.size for part in parts)])
    bounds = [part.bounds[1:] + origin for part, origin in zip(parts, origins[:-1], strict=True)]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in BY_TOKEN + BY_TEXT
    }
    return replace(parts[0], **joined, bounds=np.concatenate([np.zeros(1, np.int64), *bounds]))


def _whole(text: str, encode: Callable[[Sequence[Text]], Tokens]) -> Tokens:
    if len(text) > WHOLE:
        raise TextError(
            f"has {len(text):,} characters and no place where the tokenizer could begin anew: give it in parts", row=0
        )
    return encode([Text(text)])


def _meeting(left: Tokens, right: Tokens, seam: int) -> tuple[int, int] | None:
    """The first token of either piece that begins at the seam or after it; None where they disagree around it."""
    a, b = (int(np.searchsorted(piece.starts, seam)) for piece in (left, right))
    if min(a, b) < AGREE + left.fixed[0] or max(a - left.ids.size, b - right.ids.size) > -AGREE - left.n_suffix:
        return None
    near = np.arange(-AGREE, AGREE)
    for name in ("ids", "starts", "ends"):
        if (getattr(left, name)[a + near] != getattr(right, name)[b + near]).any():
            return None
    return a, b


def _between(piece: Tokens, low: int, high: int) -> Tokens:
    return replace(piece, **{name: getattr(piece, name)[low:high] for name in BY_TOKEN})
