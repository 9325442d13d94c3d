"""Links between the words of two sentences, in figures: precision, recall and alignment error rate against gold.

Och and Ney 2003, "A systematic comparison of various statistical alignment models", section 6: people mark links as
sure (S) or possible (P, which takes in S); found links A are precise as far as they are possible, and recall asks
for the sure ones only. Written as Pharaoh does, a line for each pair of sentences: `0-0 1-2`; gold has `1p2` where a
link is possible and not sure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lamina.errors import SourceError

Links = tuple[tuple[int, int], ...]  # word of the source, word of the target, from 0; ascending, none twice

_LINK = re.compile(r"(\d+)([-p])(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Gold:
    """What people marked in one pair: links that are sure, and all that are possible, the sure ones among them."""

    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LinkScores:
    """Links counted over pairs of sentences; the measures are None where there is nothing to divide by.

    n_links      |A|, found.
    n_sure       |S|, in the gold.
    in_sure      |A & S|.
    in_possible  |A & P|.
    """

    n_links: int = 0
    n_sure: int = 0
    in_sure: int = 0
    in_possible: int = 0

    @property
    def precision(self) -> float | None:
        """|A & P| / |A|."""
        return self.in_possible / self.n_links if self.n_links else None

    @property
    def recall(self) -> float | None:
        """|A & S| / |S|."""
        return self.in_sure / self.n_sure if self.n_sure else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall."""
        if self.precision is None or self.recall is None:
            return None
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def aer(self) -> float | None:
        """1 - (|A & S| + |A & P|) / (|A| + |S|)."""
        total = self.n_links + self.n_sure
        return 1 - (self.in_sure + self.in_possible) / total if total else None


def score_links(found: Sequence[Links], gold: Sequence[Gold]) -> LinkScores:
    """The links of pairs against gold, counted over all pairs. Raises SourceError where they are not as many."""
    if len(found) != len(gold):
        raise SourceError(f"{len(found):,} pairs have links, and the gold has {len(gold):,}: a line must be a pair")
    return LinkScores(
        sum(map(len, found)),
        sum(len(marked.sure) for marked in gold),
        sum(len(marked.sure.intersection(links)) for links, marked in zip(found, gold, strict=True)),
        sum(len(marked.possible.intersection(links)) for links, marked in zip(found, gold, strict=True)),
    )


def pharaoh(links: Links) -> str:
    """A line as Pharaoh writes it: `0-0 1-2`."""
    return " ".join(f"{i}-{j}" for i, j in links)


def read_links(
    lines: Iterable[str], *, first: int = 0, lengths: Sequence[tuple[int, int]] | None = None
) -> list[Links]:
    """Links of pairs, a line each, numbered from 0. Raises what `read_gold` raises."""
    return [tuple(sorted(marked.possible)) for marked in read_gold(lines, first=first, lengths=lengths)]


def read_gold(lines: Iterable[str], *, first: int = 0, lengths: Sequence[tuple[int, int]] | None = None) -> list[Gold]:
    """Gold links of pairs, a line each, numbered from 0.

    first    the number of the first word in the lines: 0 or 1.
    lengths  words of source and target of each pair, if known: a link to a word that is not there is refused.

    Raises SourceError for what is no link, a link out of range, or another number of lines than of lengths.
    """
    found = [_gold(line, number, first) for number, line in enumerate(lines, 1)]
    if lengths is None:
        return found
    if len(lengths) != len(found):
        raise SourceError(f"{len(found):,} lines of links for {len(lengths):,} pairs: a line must be a pair")
    for number, (marked, (n_source, n_target)) in enumerate(zip(found, lengths, strict=True), 1):
        for i, j in sorted(marked.possible):
            if i >= n_source or j >= n_target:
                hint = "; are the words counted from 1?" if first == 0 else ""
                raise SourceError(
                    f"line {number} links words {i + first} and {j + first}, counted from {first}, "
                    f"of a pair of {n_source} and {n_target} words{hint}"
                )
    return found


def _gold(line: str, number: int, first: int) -> Gold:
    sure, possible = set(), set()
    for word in line.split():
        link = _LINK.fullmatch(word)
        if link is None or len(word) > 40:  # Python refuses to read numbers of thousands of digits
            raise SourceError(f"line {number}: a link is written as 0-2, or 0p2 where it is only possible")
        place = (int(link[1]) - first, int(link[3]) - first)
        if min(place) < 0:
            raise SourceError(f"line {number} has a word 0, and the first one is said to be {first}")
        possible.add(place)
        if link[2] == "-":
            sure.add(place)
    return Gold(frozenset(sure), frozenset(possible))
