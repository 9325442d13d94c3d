"""Words of a text, in any script, by the Unicode rules alone: the same words for every model.

Boundaries are ICU's (Unicode Standard Annex 29, with ICU's dictionaries for Chinese, Japanese, Thai, Lao, Khmer and
Burmese). Every character that is neither white space nor a control character belongs to exactly one word; a
punctuation mark is a word of its own.
"""

from __future__ import annotations

from unicodedata import category

LOCALE = "root"  # the rules themselves, no language's tailoring


def word_ranges(text: str) -> list[tuple[int, int]]:
    """The words of `text` as character ranges, in order, not overlapping."""
    from icu4py.breakers import WordBreaker

    ranges = []
    start = 0
    for piece in WordBreaker(text, LOCALE):  # the pieces: its numeric offsets count UTF-16 units
        end = start + len(piece)
        if piece[0].isalnum() or not is_blank(piece):
            ranges.append((start, end))
        start = end
    return ranges


def is_blank(text: str) -> bool:
    """Whether a text holds white space, control, format and unassigned characters only."""
    return all(category(character)[0] in "ZC" for character in text)
