"""Key phrases: those nearest to what a whole document says, and unlike one another.

Comes in: words with their vectors, their phrases, perhaps vectors of the texts and of the phrases by themselves. Goes
out: `Keyword`s. Shapes: W words, P phrases, N documents, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lamina.apps.keywords.phrases import Phrases
from lamina.apps.mix import Data, Layer, Mix, usable
from lamina.apps.ranges import Float64, Int64, token_counts, token_sums
from lamina.errors import SpecError

CONSIDERED = 10  # times k: so many of the nearest are looked at for unlikeness, and at least
AT_LEAST = 100


@dataclass(frozen=True, slots=True)
class Keyword:
    """A key phrase of a document.

    document  the text's number, or the value of the column that makes documents.
    rank      from 1.
    phrase    as it stands at its first place.
    score     the cosine with the document, -1 to 1.
    places    text, start and end (characters) of each place.
    """

    document: int | str
    rank: int
    phrase: str
    score: float
    places: tuple[tuple[int, int, int], ...]


def keywords(
    words: Data,
    phrases: Phrases,
    *,
    layer: Layer = -1,
    texts: Data | None = None,
    alone: Data | None = None,
    k: int = 10,
    mmr_lambda: float = 0.7,
    centre: bool = False,
) -> list[Keyword]:
    """The k best phrases of each document at a layer or mix.

    words       with their vectors; `phrases` are what `find_phrases` found in their units.
    texts       vectors of the same texts; a document is the mean of its texts, each of unit length. None: the mean over
                the tokens of its words.
    alone       vectors of texts that are the phrases' names: each phrase read by itself, as KeyBERT does (Grootendorst
                2020). None: in context, the mean over its tokens at all its places.
    mmr_lambda  maximal marginal relevance (Carbonell and Goldstein 1998): of what is left, the phrase with the largest
                lambda * cosine with the document - (1 - lambda) * largest cosine with a phrase chosen before comes
                next. 1: by the cosine with the document alone.
    centre      documents' vectors and phrases' each less their mean over all documents: what tells a document from the
                others. Of one document nothing would be left.

    A phrase without a token has no vector and is left out. Raises SpecError for what the data does not hold or allow.
    """
    if k < 1 or not 0 <= mmr_lambda <= 1:
        raise SpecError(f"k must be at least 1, and lambda from 0 to 1, not {k} and {mmr_lambda}")
    if centre and len(phrases.documents) < 2:
        raise SpecError("centring takes away what documents have in common: there must be several")
    mix = Mix.parse(layer)
    units, vectors = words.units, mix.vectors(words)
    n_tokens = np.where(usable(units, vectors), units["n_tokens"].to_numpy(), 0).astype(np.int64)
    text_id, start, end = (units[name].to_numpy() for name in ("text_id", "start", "end"))
    held = _Held(vectors, n_tokens, text_id, start, end, phrases)
    documents = held.documents() if texts is None else _of_texts(texts, mix, phrases)
    given = None if alone is None else _by_name(alone, mix)
    common: Float64 = np.zeros(1)
    if centre:
        documents = documents - np.nanmean(documents, axis=0)
        common = held.mean() if given is None else given.mean()
    ends = np.searchsorted(phrases.document, np.arange(len(phrases.documents) + 1))
    found: list[Keyword] = []
    for number, (low, high) in enumerate(pairwise(ends.tolist())):
        own = held.phrases(low, high) if given is None else given.phrases(phrases.names[low:high])
        for rank, (row, score) in enumerate(_chosen(_unit(own - common), _unit(documents[number]), k, mmr_lambda), 1):
            name = phrases.names[low + row]
            found.append(Keyword(phrases.documents[number], rank, name, score, held.places(low + row)))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """Words: vectors [W, D], tokens [W], texts and characters [W]; and their phrases."""

    vectors: npt.NDArray[np.float32]
    n_tokens: Int64
    text_id: Int64
    start: Int64
    end: Int64
    of: Phrases

    def places(self, phrase: int) -> tuple[tuple[int, int, int], ...]:
        """Text and characters of each place of a phrase."""
        low, high = np.searchsorted(self.of.phrase, (phrase, phrase + 1))
        first, last = self.of.first[low:high], self.of.last[low:high] - 1
        return tuple(
            zip(self.text_id[first].tolist(), self.start[first].tolist(), self.end[last].tolist(), strict=True)
        )

    def phrases(self, low: int, high: int) -> Float64:
        """The means over the tokens of some phrases [high - low, D]; NaN where there is none."""
        places = slice(*np.searchsorted(self.of.phrase, (low, high)))
        first, last, group = self.of.first[places], self.of.last[places], self.of.phrase[places] - low
        return self._means(first, last, group, high - low)

    def documents(self) -> Float64:
        """The means over the tokens of the documents' words [N, D]."""
        document, _, first, last = self.of.texts.T
        return self._means(first, last, document, len(self.of.documents))

    def mean(self) -> Float64:
        """The mean over all tokens [D]."""
        _, _, first, last = self.of.texts.T
        found: Float64 = self._means(first, last, np.zeros_like(first), 1)[0]
        return found

    def _means(self, first: Int64, last: Int64, group: Int64, n: int) -> Float64:
        counts = np.bincount(group, token_counts(self.n_tokens, first, last), minlength=n)
        sums = token_sums(self.vectors, self.n_tokens, first, last, group, n)
        with np.errstate(invalid="ignore"):
            means: Float64 = sums / counts[:, None]
        return means


@dataclass(frozen=True, slots=True, eq=False)
class _Alone:
    """Vectors [P', D] of phrases that were read by themselves, and the row of each."""

    vectors: npt.NDArray[np.float32]
    rows: Mapping[str, int]

    def phrases(self, names: Sequence[str]) -> Float64:
        missing = next((name for name in names if name not in self.rows), None)
        if missing is not None:
            raise SpecError(f"the phrase {missing!r} has no vector among those of phrases read alone")
        return np.asarray(self.vectors[[self.rows[name] for name in names]], np.float64)

    def mean(self) -> Float64:
        found: Float64 = np.nanmean(np.asarray(self.vectors, np.float64), axis=0)
        return found


def _by_name(alone: Data, mix: Mix) -> _Alone:
    return _Alone(mix.vectors(alone), {name: row for row, name in enumerate(alone.units["surface"].to_pylist())})


def _of_texts(texts: Data, mix: Mix, phrases: Phrases) -> Float64:
    """The mean of each document's texts [N, D], each of unit length; NaN where no text says anything."""
    vectors = mix.vectors(texts)
    rows = np.flatnonzero(usable(texts.units, vectors))
    row_of = dict(zip(texts.units["text_id"].to_numpy()[rows].tolist(), rows.tolist(), strict=True))
    there = np.array([text in row_of for text in phrases.texts[:, 1].tolist()], np.bool_)
    document = phrases.texts[there, 0]
    row = np.array([row_of[text] for text in phrases.texts[there, 1].tolist()], np.int64)
    sums = np.zeros((len(phrases.documents), vectors.shape[1]))
    np.add.at(sums, document, _unit(np.asarray(vectors[row], np.float64)))
    with np.errstate(invalid="ignore"):
        return sums / np.bincount(document, minlength=len(sums))[:, None]


def _chosen(vectors: Float64, document: Float64, k: int, mmr_lambda: float) -> Iterator[tuple[int, float]]:
    """Row and score of the best phrases [P, D], in the order in which they are chosen."""
    scores = vectors @ document
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")[: max(AT_LEAST, CONSIDERED * k)]
    order = order[~np.isnan(scores[order])]
    like = np.zeros(order.size)
    left = np.ones(order.size, np.bool_)
    for _ in range(min(k, order.size)):
        value = np.where(left, mmr_lambda * scores[order] - (1 - mmr_lambda) * like, -np.inf)
        best = int(value.argmax())
        left[best] = False
        yield int(order[best]), float(scores[order[best]])
        alike = vectors[order] @ vectors[order[best]]
        like = alike if left.sum() == order.size - 1 else np.maximum(like, alike)


def _unit(vectors: Float64) -> Float64:
    """Rows of unit length; a row of zeros stays as it is."""
    length = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    scaled = vectors.copy()
    np.divide(vectors, length, out=scaled, where=length != 0)
    return scaled
