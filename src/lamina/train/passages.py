"""Passages of a corpus: which tokens are read together, and pairs of sentences that follow one another or do not.

Comes in: a `Corpus`. Goes out: `Flat` examples, as many as asked for, laid end to end with their special tokens. No
passage holds tokens of two documents, but for the second half of a pair that was put together by lot (Liu et al. 2019,
section 4.2: better than passages that go on into the next document).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lamina.engine.batch import Batch, Int32
from lamina.errors import SpecError
from lamina.text.text import Text
from lamina.text.tokenizer import Tokenizer
from lamina.train.batching import Int64
from lamina.train.corpus import Corpus
from lamina.train.masking import Bool

NEXT, OTHER = 0, 1  # as transformers' next-sentence head numbers its two classes
FOLLOWS = 0.5  # of the pairs that could

Part = Int32 | tuple[int, int]  # special tokens, or a range of the corpus


@dataclass(frozen=True, slots=True)
class Around:
    """The special tokens that a tokenizer puts before a text, between two and after them."""

    before: Int32
    middle: Int32
    after: Int32

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Around:
        tokens = tokenizer.encode(["a", Text("a", pair="a")])
        end = int(tokens.bounds[1])
        one, two, template = tokens.ids[:end], tokens.ids[end:], tokenizer.template
        middle = one.size - template.suffix  # where the first string of the pair ends, too
        return cls(one[: template.prefix], two[middle : middle + template.middle], one[middle:])

    @property
    def n_single(self) -> int:
        return self.before.size + self.after.size

    @property
    def n_pair(self) -> int:
        return self.n_single + self.middle.size


@dataclass(frozen=True, slots=True)
class Flat:
    """B passages laid end to end.

    ids, types  [T].
    special     [T]; inside [T]: which tokens go on with a word.
    bounds      [B + 1].
    follows     [B]; of pairs NEXT or OTHER, else empty.
    """

    ids: Int32
    types: Int32
    special: Bool
    inside: Bool
    bounds: Int64
    follows: Int64

    def batch(self, ids: Int32) -> Batch:
        """As the encoder takes them, with other ids [T]."""
        lengths = np.diff(self.bounds)
        rows = np.repeat(np.arange(lengths.size), lengths)
        columns = np.arange(ids.size) - np.repeat(self.bounds[:-1], lengths)
        padded = np.zeros((2, lengths.size, int(lengths.max(initial=1))), np.int32)
        padded[0, rows, columns] = ids
        padded[1, rows, columns] = self.types
        return Batch(padded[0], padded[1], lengths.astype(np.int32), ())


class Passages(Protocol):
    """Which examples there are, and their tokens."""

    def lengths(self) -> Int32:
        """[N]; the most tokens that each example has, special ones included."""
        ...

    def examples(self, which: Sequence[int], rng: np.random.Generator) -> Flat:
        """Some of them, by their numbers; what is drawn by lot is drawn from `rng`."""
        ...


class OverPassages:
    """An objective whose examples are the passages `learnt`."""

    __slots__ = ()
    learnt: Passages

    def __len__(self) -> int:
        return self.learnt.lengths().size

    def lengths(self) -> Int32:
        return self.learnt.lengths()


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Documents, long ones in pieces of about equal length: no piece of three words is left over.

    starts, ends  [N]; the tokens of each.
    """

    corpus: Corpus
    around: Around
    starts: Int64
    ends: Int64

    @classmethod
    def of(cls, corpus: Corpus, around: Around, documents: Int64, *, max_tokens: int) -> Pieces:
        """Of some documents, by their numbers; no piece has more than `max_tokens`, special ones included."""
        room = _room(max_tokens, around.n_single)
        bounds = corpus.document_bounds
        low, length = bounds[documents], np.diff(bounds)[documents]
        n = -(-length // room)
        number = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)  # of each piece in its document
        low, length, n = np.repeat(low, n), np.repeat(length, n), np.repeat(n, n)
        return cls(corpus, around, low + number * length // n, low + (number + 1) * length // n)

    def lengths(self) -> Int32:
        return (self.ends - self.starts + self.around.n_single).astype(np.int32)

    def examples(self, which: Sequence[int], rng: np.random.Generator) -> Flat:
        before, after = self.around.before, self.around.after
        ranges = [(int(self.starts[i]), int(self.ends[i])) for i in which]
        return _laid(self.corpus, [[(before, 0), (own, 0), (after, 0)] for own in ranges], np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Runs of sentences, cut in two at a sentence drawn by lot; half of the second parts are another document's.

    documents    the numbers of those that are used.
    first, last  [N]; the sentences of each run, one alone where it is too long for two.
    home         [N]; its document's place in `documents`.
    room         tokens for both parts.

    A run of one sentence cannot be cut, so its second part is always another's (as in the code of Devlin et al. 2019).
    """

    corpus: Corpus
    around: Around
    documents: Int64
    first: Int64
    last: Int64
    home: Int64
    room: int

    @classmethod
    def of(cls, corpus: Corpus, around: Around, documents: Int64, *, max_tokens: int) -> Pairs:
        """Of some documents, by their numbers. Raises SpecError where there are not two of them."""
        if documents.size < 2:
            raise SpecError("pairs of sentences need two documents at least: give more, or leave out next sentences")
        room = 1 + _room(max_tokens, around.n_pair + 1)  # for one token of each part at least
        runs = [(*run, home) for home, number in enumerate(documents.tolist()) for run in _runs(corpus, number, room)]
        first, last, homes = np.array(runs, np.int64).reshape(-1, 3).T
        return cls(corpus, around, documents, first, last, homes, room)

    def lengths(self) -> Int32:
        """What a run and its pair take at most: another document's sentences may be fewer tokens, and never more."""
        own = self.corpus.sentences[self.last] - self.corpus.sentences[self.first]
        own = np.where(self.last - self.first > 1, own, 2 * own)
        return np.asarray(np.minimum(own, self.room) + self.around.n_pair, np.int32)

    def examples(self, which: Sequence[int], rng: np.random.Generator) -> Flat:
        around, follows = self.around, np.full(len(which), NEXT, np.int64)
        parts: list[list[tuple[Part, int]]] = []
        for k, i in enumerate(which):
            one, two, follows[k] = self._pair(i, rng)
            parts.append([(around.before, 0), (one, 0), (around.middle, 0), (two, 1), (around.after, 1)])
        return _laid(self.corpus, parts, follows)

    def _pair(self, i: int, rng: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int], int]:
        """The tokens of both parts, and whether they follow one another."""
        sentences = self.corpus.sentences
        first, last = int(self.first[i]), int(self.last[i])
        cut = int(rng.integers(first + 1, last)) if last - first > 1 else last
        low, middle, high = int(sentences[first]), int(sentences[cut]), int(sentences[last])
        if cut < last and rng.random() < FOLLOWS:
            return (low, middle), (middle, high), NEXT
        if cut == last:  # as much of another's, as far as both fit
            length = min(2 * (high - low), self.room)
            middle, high = low + length // 2, low + length
        return (low, middle), self._other(i, high - middle, rng), OTHER

    def _other(self, i: int, n: int, rng: np.random.Generator) -> tuple[int, int]:
        """At most n tokens of another document, from a sentence drawn by lot on."""
        place = (int(self.home[i]) + int(rng.integers(1, self.documents.size))) % self.documents.size
        first, last = self.corpus.documents[self.documents[place] :][:2].tolist()
        start, end = int(self.corpus.sentences[rng.integers(first, last)]), int(self.corpus.sentences[last])
        return start, min(start + n, end)


def split_documents(n: int, *, held_out: float, seed: int, least: int = 1) -> tuple[Int64, Int64]:
    """The numbers of the documents that are learnt from, and of a share by lot (of at least `least`) that is not, both
    ascending.

    Raises SpecError for a share that cannot be, or that leaves nothing to learn from.
    """
    if not 0 <= held_out < 1:
        raise SpecError(f"held_out must be a share from 0 to below 1, not {held_out!r}")
    n_out = max(least, round(n * held_out)) if held_out else 0
    if n_out and n_out > n - least:
        raise SpecError(f"{n} documents are too few to hold {held_out:g} of them out: held_out=0 learns from all")
    order = np.random.default_rng([seed, n]).permutation(n)
    return np.sort(order[n_out:]), np.sort(order[:n_out])


def _runs(corpus: Corpus, document: int, room: int) -> list[tuple[int, int]]:
    """A document's sentences in runs that fit, each as long as it can be."""
    first, last = corpus.documents[document : document + 2].tolist()
    sentences = np.asarray(corpus.sentences[first : last + 1])
    runs, at, n = [], 0, last - first
    while at < n:
        fits = int(np.searchsorted(sentences, sentences[at] + room, side="right")) - 1
        runs.append((first + at, first + max(at + 1, fits)))
        at = runs[-1][1] - first
    return runs


def _room(max_tokens: int, n_special: int) -> int:
    if max_tokens <= n_special:
        raise SpecError(f"max_tokens must be more than {n_special}, which special tokens take, not {max_tokens}")
    return max_tokens - n_special


def _laid(corpus: Corpus, examples: Sequence[Sequence[tuple[Part, int]]], follows: Int64) -> Flat:
    """Examples of parts, each with its segment."""
    ids, inside, types, special, lengths = [], [], [], [], []
    for example in examples:
        for part, segment in example:
            if is_special := isinstance(part, np.ndarray):
                ids.append(part)
                inside.append(np.zeros(part.size, bool))
            else:
                ids.append(corpus.ids[slice(*part)].astype(np.int32))
                inside.append(np.asarray(corpus.inside[slice(*part)]))
            types.append(np.full(ids[-1].size, segment, np.int32))
            special.append(np.full(ids[-1].size, is_special))
        lengths.append(sum(one.size for one in ids[-len(example) :]))
    bounds = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return Flat(
        np.concatenate(ids), np.concatenate(types), np.concatenate(special), np.concatenate(inside), bounds, follows
    )
