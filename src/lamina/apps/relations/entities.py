"""Entities: what mentions name, gathered from a stream of texts of any length with one running mean for each.

Comes in: words with their vectors, their mentions, perhaps their sentences; part by part. Goes out: `Entities`.
Shapes: E entities, D width.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pyarrow as pa

from lamina.apps.mix import Data, Mix, usable
from lamina.apps.ranges import Float64, Int64, token_counts, token_sums
from lamina.apps.relations.mentions import Mention
from lamina.embeddings import Vectors

CROWDED = 100  # entities in one sentence: beyond it is a list, and its pairs, which grow as their square, say nothing


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing that is named.

    name         as it is written most often.
    kind         its type; empty where none is known.
    count        mentions.
    n_sentences  sentences that hold one.
    text_id, start, end  where the first one stands, in characters.
    """

    name: str
    kind: str
    count: int
    n_sentences: int
    text_id: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Entities:
    """All that is named, in the order of first mentions.

    vectors      layer or mix -> [E, D] the mean over the tokens of all mentions; NaN where no mention has any.
    pairs        (entity, entity), the smaller number first -> sentences that hold both.
    n_sentences  in all; without sentences, texts.
    n_crowded    sentences with more than 100 entities, whose pairs were not counted.
    """

    entities: tuple[Entity, ...]
    vectors: Mapping[str, Float64]
    pairs: Mapping[tuple[int, int], int]
    n_sentences: int
    n_crowded: int

    def __len__(self) -> int:
        return len(self.entities)

    def __repr__(self) -> str:
        return f"Entities({len(self)}, {len(self.pairs)} pairs in {self.n_sentences} sentences)"


@dataclass(slots=True)
class _Seen:
    """What is known of an entity so far."""

    kind: str
    place: tuple[int, int, int]
    names: Counter[str] = field(default_factory=Counter)
    n_sentences: int = 0


@dataclass(slots=True)
class Gathering:
    """Mentions come in part by part (`add`), `Entities` go out (`entities`). Memory grows with the entities and their
    pairs, not with the text: of a vector only its running sum is kept.

    mixes  the layers or mixes whose vectors are gathered, named as they were asked for.
    """

    mixes: Sequence[Mix]
    _number: dict[tuple[str, str], int] = field(default_factory=dict)
    _seen: list[_Seen] = field(default_factory=list)
    _sums: dict[str, Float64] = field(default_factory=dict)
    _n_tokens: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    _pairs: Counter[tuple[int, int]] = field(default_factory=Counter)
    _n_sentences: int = 0
    _n_crowded: int = 0

    def add(self, words: Data, mentions: Sequence[Mention], *, sentences: pa.Table | None = None) -> None:
        """The mentions of some whole texts, in the order of their words.

        words      their vectors are means over each word's tokens.
        sentences  the units table of the sentences of the same texts; None: a text is a sentence.
        """
        units = words.units
        named = [(one, name) for one in mentions if (name := _name(units, one))]
        numbers = [self._numbered(units, one, name) for one, name in named]
        self._add_vectors(words, units, [one for one, _ in named], numbers)
        first = np.array([one.first for one, _ in named], np.int64)
        self._add_pairs(units, first, numbers, sentences)

    def entities(self, *, min_count: int = 1) -> Entities:
        """What was gathered, of entities with at least `min_count` mentions."""
        kept = [number for number, one in enumerate(self._seen) if one.names.total() >= min_count]
        place = {number: row for row, number in enumerate(kept)}
        with np.errstate(invalid="ignore"):
            vectors = {
                name: sums[: len(self._seen)][kept] / self._n_tokens[kept][:, None] for name, sums in self._sums.items()
            }
        pairs = {(place[a], place[b]): n for (a, b), n in self._pairs.items() if a in place and b in place}
        return Entities(
            tuple(_entity(self._seen[number]) for number in kept), vectors, pairs, self._n_sentences, self._n_crowded
        )

    def _numbered(self, units: pa.Table, mention: Mention, name: str) -> int:
        key = (normalised(name), mention.kind)
        number = self._number.setdefault(key, len(self._seen))
        if number == len(self._seen):
            where = (units["text_id"][mention.first], units["start"][mention.first], units["end"][mention.last - 1])
            text, start, end = (value.as_py() for value in where)
            self._seen.append(_Seen(mention.kind, (text, start, end)))
        self._seen[number].names[name] += 1
        return number

    def _add_vectors(self, words: Data, units: pa.Table, mentions: Sequence[Mention], numbers: Sequence[int]) -> None:
        order = np.argsort(np.array(numbers, np.int64), kind="stable")
        group = np.array(numbers, np.int64)[order]
        first = np.array([one.first for one in mentions], np.int64)[order]
        last = np.array([one.last for one in mentions], np.int64)[order]
        met, group = np.unique(group, return_inverse=True)
        self._n_tokens = _grown(self._n_tokens, len(self._seen))
        n_tokens = units["n_tokens"].to_numpy().astype(np.int64)
        for k, mix in enumerate(self.mixes):
            vectors: Vectors = mix.vectors(words)
            counted = np.where(usable(units, vectors), n_tokens, 0)
            if not k:
                np.add.at(self._n_tokens, met[group], token_counts(counted, first, last))
            sums = self._sums.get(str(mix), np.zeros((0, vectors.shape[1])))
            self._sums[str(mix)] = sums = _grown(sums, len(self._seen))
            sums[met] += token_sums(vectors, counted, first, last, group, met.size)

    def _add_pairs(self, units: pa.Table, first: Int64, numbers: Sequence[int], sentences: pa.Table | None) -> None:
        for numbers_in_one, n_sentences in _by_sentence(units, first, numbers, sentences):
            self._n_sentences += n_sentences
            held = sorted(set(numbers_in_one))
            for number in held:
                self._seen[number].n_sentences += 1
            if len(held) > CROWDED:
                self._n_crowded += 1
            else:
                self._pairs.update(combinations(held, 2))


def normalised(name: str) -> str:
    """A name as names are compared: compatible characters as one (NFKC), without case, spaces as one."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _name(units: pa.Table, mention: Mention) -> str:
    """The words of a mention, a space wherever anything lies between; empty where none is a word."""
    words = units.slice(mention.first, mention.last - mention.first)
    surfaces, starts, ends = (words[name].to_pylist() for name in ("surface", "start", "end"))
    if not any(character.isalnum() for surface in surfaces for character in surface):
        return ""
    gaps = ["", *(" " if start > end else "" for start, end in zip(starts[1:], ends, strict=False))]
    return " ".join("".join(gap + surface for gap, surface in zip(gaps, surfaces, strict=True)).split())


def _entity(seen: _Seen) -> Entity:
    text, start, end = seen.place
    name = max(seen.names.items(), key=lambda one: one[1])[0]  # of two as often, the one that came first
    return Entity(name, seen.kind, seen.names.total(), seen.n_sentences, text, start, end)


def _by_sentence(
    units: pa.Table, first: Int64, numbers: Sequence[int], sentences: pa.Table | None
) -> Iterable[tuple[list[int], int]]:
    """The entities of each sentence that has any, and 1 for it; then none, and how many sentences have none."""
    texts, starts = units["text_id"].to_numpy()[first], units["start"].to_numpy()[first]
    if sentences is None:
        keys: list[tuple[int, int]] = [(text, 0) for text in texts.tolist()]
        total = len(np.unique(units["text_id"].to_numpy()))
    else:
        begins = np.stack([sentences["text_id"].to_numpy(), sentences["start"].to_numpy()], axis=1)
        place = _last_at_most(begins, np.stack([texts, starts], axis=1))
        keys = [(0, row) for row in place.tolist()]
        total = sentences.num_rows
    found: dict[tuple[int, int], list[int]] = {}
    for key, number in zip(keys, numbers, strict=True):
        found.setdefault(key, []).append(number)
    for held in found.values():
        yield held, 1
    yield [], total - len(found)


def _last_at_most(begins: Int64, wanted: Int64) -> Int64:
    """The row of `begins` [S, 2], ascending, that is the last one not after each of `wanted` [M, 2]."""
    width = 1 + max(int(begins[:, 1].max(initial=0)), int(wanted[:, 1].max(initial=0)))
    found: Int64 = np.searchsorted(begins @ [width, 1], wanted @ [width, 1], side="right") - 1
    return found


def _grown(array: np.ndarray, n: int) -> np.ndarray:
    """An array with room for n rows at least; new ones are zeros."""
    if len(array) >= n:
        return array
    larger = np.zeros((max(n, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
