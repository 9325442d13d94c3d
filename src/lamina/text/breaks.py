"""Words and sentences of a text, in any script, by the Unicode rules alone: the same for every model.

Boundaries are ICU's (Unicode Standard Annex 29, with ICU's dictionaries for Chinese, Japanese, Thai, Lao, Khmer and
Burmese). Every character that is neither white space nor a control character belongs to exactly one word and to
exactly one sentence; a punctuation mark is a word of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import category

Ranges = list[tuple[int, int]]

WORD_LOCALE = "root"  # the rules themselves, no language's tailoring
SENTENCE_LOCALE = "en@ss=standard"  # the same rules, and no break after "Mr." and its like

# Thai and Lao write no full stop: a space between two of their letters ends a sentence or clause.
_THAI_LAO_SPACE = re.compile(r"(?<=[\u0E01-\u0E5B\u0E81-\u0EDF])\s+(?=[\u0E01-\u0E5B\u0E81-\u0EDF])")


def word_ranges(text: str) -> Ranges:
    """The words of `text` as character ranges, in order, not overlapping."""
    from icu4py.breakers import WordBreaker

    ranges = []
    start = 0
    for piece in WordBreaker(text, WORD_LOCALE):  # the pieces: its numeric offsets count UTF-16 units
        end = start + len(piece)
        if piece[0].isalnum() or not is_blank(piece):
            ranges.append((start, end))
        start = end
    return ranges


def sentence_ranges(text: str) -> Ranges:
    """The sentences of `text` as character ranges, in order, white space at their ends left out."""
    from icu4py.breakers import SentenceBreaker

    pieces: Iterable[str] = SentenceBreaker(text, SENTENCE_LOCALE)
    ranges = []
    start = 0
    for piece in pieces:
        low = 0
        for space in _THAI_LAO_SPACE.finditer(piece):
            ranges.append(_stripped(piece, low, space.start(), start))
            low = space.end()
        ranges.append(_stripped(piece, low, len(piece), start))
        start += len(piece)
    return [(low, high) for low, high in ranges if not is_blank(text[low:high])]


def is_blank(text: str) -> bool:
    """Whether a text holds white space, control, format and unassigned characters only."""
    return all(category(character)[0] in "ZC" for character in text)


def _stripped(piece: str, low: int, high: int, origin: int) -> tuple[int, int]:
    part = piece[low:high]
    begin = low + len(part) - len(part.lstrip())
    return origin + begin, origin + begin + len(part.strip())
