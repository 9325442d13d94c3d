"""How well words are tagged: whole spans by type, words by tag, and what is taken for what, with examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lamina.apps.labels import Labels, text_ranges
from lamina.apps.spans import Scheme, Score, span_scores, spans_of, split, written
from lamina.apps.tag.tagger import Tagging
from lamina.errors import SpecError

AROUND = 6  # words shown on each side of an example
EXAMPLES = 3  # of each confusion
CONFUSIONS = 20  # the commonest


@dataclass(frozen=True, slots=True)
class Confusion:
    """`n` words of the type `gold` that were given the type `found`; examples with the word in brackets."""

    gold: str
    found: str
    n: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TagScores:
    """What a tagging scores against tags that are known.

    n_left_out  texts that were not scored: a word of theirs has no known tag.
    accuracy    the share of words whose tag is right.
    kinds       name -> score: of spans of each type (with a scheme), else of words of each tag; `all` is the last.
    unseen      tags that the tagger cannot give -> how many words have them. They count as wrong.
    confusions  the commonest, by type.
    """

    scheme: Scheme
    n_texts: int
    n_words: int
    n_left_out: int
    accuracy: float
    kinds: dict[str, Score]
    unseen: dict[str, int]
    confusions: tuple[Confusion, ...]

    @property
    def f1(self) -> float | None:
        """Of all spans together; None where tags have no spans."""
        return None if self.scheme == "none" else self.kinds["all"].f1


def score_tags(tagging: Tagging, gold: Labels, *, labels: Sequence[str]) -> TagScores:
    """Score a tagging against the known tags [U]; texts with a word that has none (None) are left out.

    A span is right where its start, end and type are; spans are read as by `spans_of`, the CoNLL script's way and
    seqeval's. Known tags in another scheme (or that begin spans with `I-`) are compared as the tagging writes them.
    `labels` are the tags that can be given. Raises SpecError where no text is known whole.
    """
    units = tagging.units
    if len(gold) != units.num_rows:
        raise SpecError(f"{len(gold):,} tags for {units.num_rows:,} words")
    ranges = text_ranges(units)
    known = [(low, high) for low, high in ranges if None not in gold[low:high]]
    if not known:
        raise SpecError("no text has a tag for each of its words, so nothing can be scored")
    pairs = [
        (written([tag or "" for tag in gold[low:high]], tagging.scheme), tagging.tags[low:high]) for low, high in known
    ]
    words = [(mine, theirs) for text in pairs for mine, theirs in zip(*text, strict=True)]
    if tagging.scheme == "none":
        kinds = _word_scores(words)
    else:
        kinds = span_scores([spans_of(mine) for mine, _ in pairs], [spans_of(theirs) for _, theirs in pairs])
    unseen = Counter(mine for mine, _ in words if mine not in labels)
    return TagScores(
        tagging.scheme, len(known), len(words), len(ranges) - len(known),
        sum(mine == theirs for mine, theirs in words) / len(words),
        kinds, dict(unseen.most_common()), _confusions(units, known, words),
    )  # fmt: skip


def _word_scores(words: Sequence[tuple[str, str]]) -> dict[str, Score]:
    n, found = Counter(mine for mine, _ in words), Counter(theirs for _, theirs in words)
    right = Counter(mine for mine, theirs in words if mine == theirs)
    kinds = {tag: Score(n[tag], found[tag], right[tag]) for tag in sorted(n | found)}
    return {**kinds, "all": Score(n.total(), found.total(), right.total())}


def _confusions(
    units: pa.Table, known: Sequence[tuple[int, int]], words: Sequence[tuple[str, str]]
) -> tuple[Confusion, ...]:
    places = [(low, high, place) for low, high in known for place in range(low, high)]
    of_pair: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for where, (mine, theirs) in zip(places, words, strict=True):
        gold, found = split(mine)[1], split(theirs)[1]
        if gold != found:
            of_pair.setdefault((gold, found), []).append(where)
    surfaces = units.column("surface")
    commonest = sorted(of_pair.items(), key=lambda one: (-len(one[1]), one[0]))[:CONFUSIONS]
    return tuple(
        Confusion(gold, found, len(there), tuple(_example(surfaces, *where) for where in there[:EXAMPLES]))
        for (gold, found), there in commonest
    )


def _example(surfaces: pa.ChunkedArray, low: int, high: int, place: int) -> str:
    """A word in brackets among its neighbours."""
    first, last = max(low, place - AROUND), min(high, place + AROUND + 1)
    near = [f"[{word}]" if first + k == place else word for k, word in enumerate(surfaces[first:last].to_pylist())]
    return f"{'… ' if first > low else ''}{' '.join(near)}{' …' if last < high else ''}"
