"""Candidate phrases: runs of words of a text that may be a name for what it is about.

Comes in: the units table of words. Goes out: `Phrases`, the different ones of each document with every place where they
stand. A document is a text, or all texts with one value of a column. Shapes: W words, P phrases, R places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.labels import row_labels, text_ranges
from lamina.errors import SpecError

Int64 = npt.NDArray[np.int64]

JOINERS = frozenset("-\u2010\u2011'’&")  # between two words without a space they hold them together: well-known, R&D
COMMON = 0.2  # a word in more than this share of the texts says nothing of one of them
ENOUGH = 20  # texts, at least, to say which words are common


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """The different phrases of each document; two that differ only in case are one.

    documents  a name for each: the text's number, or the column's value.
    document   [P] which document a phrase is of, ascending; within one in the order of their first places.
    names      [P] as it stands at its first place, words without a space in the text without one here.
    phrase     [R] which phrase stands at a place, ascending; its places in the order of the text.
    first, last  [R] its words: rows `first` to `last` - 1 of the units table.
    texts        [T, 4] the texts of the documents: document, ascending; text_id; rows from, to.
    """

    documents: tuple[int | str, ...]
    document: Int64
    names: tuple[str, ...]
    phrase: Int64
    first: Int64
    last: Int64
    texts: Int64

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Phrases({len(self)} of {len(self.documents)} documents, in {self.phrase.size} places)"


def find_phrases(
    units: pa.Table,
    *,
    max_words: int = 3,
    stop_words: Iterable[str] = (),
    sentences: pa.Table | None = None,
    by: str | None = None,
    min_count: int = 1,
) -> Phrases:
    """Every run of 1 to `max_words` words that crosses no punctuation and no end of a sentence, holds a letter, and
    neither begins nor ends with one of `stop_words` (in lower case). Words held together by a hyphen, apostrophe or &
    (`well-known`) count as one.

    units      of words, a text's one after the other.
    sentences  the units table of the same texts' sentences: ends without a full stop, as of headings, are then known.
    by         a column: the texts with one value of it are one document; those without a value are left out.
    min_count  phrases that stand in fewer places of their document are left out.

    Raises SpecError for `max_words` below 1, or a column that is not there.
    """
    if max_words < 1:
        raise SpecError(f"max_words must be at least 1, not {max_words}")
    if "token_id" in units.column_names:
        raise SpecError("phrases are made of words, and these are tokens: extract with unit='word'")
    values = None if by is None else row_labels(units, by)
    found: dict[int | str, _Held] = {}
    stops, ends = frozenset(stop_words), _sentence_ends(sentences)
    for low, high in text_ranges(units):
        text = units["text_id"][low].as_py()
        name = text if values is None else values[low]
        if name is None:
            continue
        held = found.setdefault(name, _Held([], {}))
        held.texts.append((text, low, high))
        for start, end, shown in _runs(_terms(units.slice(low, high - low), low, ends.get(text, ())), max_words, stops):
            held.places.setdefault(shown.casefold(), (shown, []))[1].append((start, end))
    return _laid_out(found, min_count)


def common_words(units: pa.Table, share: float = COMMON) -> frozenset[str]:
    """The words that stand in more than a share of the texts, in lower case: what says nothing of one of them, in any
    language. Raises SpecError for fewer than 20 texts, of which nobody can say that."""
    ranges = text_ranges(units)
    if len(ranges) < ENOUGH:
        raise SpecError(
            f"which words are common cannot be told from {len(ranges)} texts, {ENOUGH} are needed: give a file of "
            "stop words"
        )
    surfaces = units["surface"].to_pylist()
    counts = Counter(word for low, high in ranges for word in {one.casefold() for one in surfaces[low:high]})
    return frozenset(word for word, n in counts.items() if n > share * len(ranges))


@dataclass(frozen=True, slots=True)
class _Term:
    """A word, or several that a joiner holds together. `after_gap`: whether anything lies between it and the one
    before; `is_break`: whether no phrase may hold it; `begins`: whether a sentence begins with it."""

    start: int
    end: int
    surface: str
    after_gap: bool
    is_break: bool
    begins: bool


def _terms(units: pa.Table, low: int, ends: Sequence[int]) -> list[_Term]:
    """The terms of one text, whose first row is row `low` of all."""
    surfaces, starts = units["surface"].to_pylist(), units["start"].to_pylist()
    gaps = [True, *(start > end for end, start in zip(units["end"].to_pylist(), starts[1:], strict=False))]
    is_word = [any(map(str.isalnum, surface)) for surface in surfaces]
    begins = frozenset(np.searchsorted(np.asarray(starts, np.int64), np.asarray(ends, np.int64)).tolist())
    terms: list[_Term] = []
    place = 0
    while place < len(surfaces):
        end = place + 1
        while is_word[place] and end + 1 < len(surfaces) and surfaces[end] in JOINERS and is_word[end + 1]:
            if gaps[end] or gaps[end + 1] or {end, end + 1} & begins:
                break
            end += 2
        surface = "".join(surfaces[place:end])
        terms.append(_Term(low + place, low + end, surface, gaps[place], not is_word[place], place in begins))
        place = end
    return terms


def _runs(terms: Sequence[_Term], max_words: int, stops: frozenset[str]) -> Iterator[tuple[int, int, str]]:
    """Rows and name of each phrase, those that begin first first, short before long."""
    is_stop = [term.surface.casefold() in stops for term in terms]
    for start, first in enumerate(terms):
        if is_stop[start]:
            continue
        name, has_letter = "", False
        for place in range(start, min(start + max_words, len(terms))):
            term = terms[place]
            if term.is_break or (place > start and term.begins):
                break
            name += (" " if term.after_gap and place > start else "") + term.surface
            has_letter = has_letter or any(map(str.isalpha, term.surface))
            if has_letter and not is_stop[place]:
                yield first.start, term.end, name


def _sentence_ends(sentences: pa.Table | None) -> dict[int, list[int]]:
    """Where the sentences of each text begin, but for its first one."""
    found: dict[int, list[int]] = {}
    if sentences is None:
        return found
    ids, starts = sentences["text_id"].to_pylist(), sentences["start"].to_pylist()
    for (before, _), (text, start) in pairwise(zip(ids, starts, strict=True)):
        if before == text:
            found.setdefault(text, []).append(start)
    return found


@dataclass(frozen=True, slots=True)
class _Held:
    """What is found of a document: texts (id, rows from, to); by a phrase in lower case, how it stands and where."""

    texts: list[tuple[int, int, int]]
    places: dict[str, tuple[str, list[tuple[int, int]]]]


def _laid_out(found: dict[int | str, _Held], min_count: int) -> Phrases:
    held = [
        (number, name, places)
        for number, of_one in enumerate(found.values())
        for name, places in of_one.places.values()
        if len(places) >= min_count
    ]
    places = [(number, *place) for number, (_, _, of_one) in enumerate(held) for place in of_one]
    texts = [(number, *text) for number, of_one in enumerate(found.values()) for text in of_one.texts]
    phrase, first, last = np.array(places, np.int64).reshape(-1, 3).T
    document = np.array([number for number, _, _ in held], np.int64)
    names = tuple(name for _, name, _ in held)
    return Phrases(tuple(found), document, names, phrase, first, last, np.array(texts, np.int64).reshape(-1, 4))
