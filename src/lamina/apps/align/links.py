"""Which word of a sentence is which word of its translation, by layer.

Comes in: words of source and target sentences with their vectors. Goes out: links for each pair of sentences. The
methods are those of Jalili Sabet et al. 2020, "SimAlign" (intersection, there called argmax; itermax; match), and of
Dou and Neubig 2021, "Word Alignment by Fine-tuning Embeddings on Parallel Corpora" (softmax).

Shapes: m words of a source sentence, n of its target, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lamina.apps.align.score import Links
from lamina.apps.mix import Bool, Float32, Layer, mixes_of, usable
from lamina.embeddings import Embeddings, unit_length
from lamina.errors import MissingExtraError, SpecError

Int64 = npt.NDArray[np.int64]
Method = Literal["intersection", "itermax", "softmax", "match"]
METHODS = get_args(Method)
THRESHOLD = 0.001  # of softmax: Dou and Neubig 2021, section 3.1
ALPHA = 0.9  # of itermax: what a word that has a link is worth (Jalili Sabet et al. 2020, section 2.3)
ROUNDS = 2  # likewise: how often links are looked for


@dataclass(frozen=True, slots=True)
class Aligned:
    """The links of pairs of sentences, found at one layer (or mix) by one method."""

    layer: str
    method: str  # one of METHODS, or whatever made the links
    links: tuple[Links, ...]

    def __repr__(self) -> str:
        n_links = sum(map(len, self.links))
        return f"Aligned(layer {self.layer}, {self.method}: {n_links:,} links in {len(self.links):,} pairs)"


def align(
    source: Embeddings,
    target: Embeddings,
    *,
    layers: str | int | Iterable[Layer] = "all",
    methods: Method | Iterable[Method] = "intersection",
    threshold: float = THRESHOLD,
) -> list[Aligned]:
    """The links of each pair of sentences, for each layer and method.

    source, target  units of `word`: text k of the source is translated by text k of the target. A word without a
                    token is counted and never linked.
    layers          `all` that are held, `0,3,6`, a mix such as `mean:-4..-1`, or a list of those.
    methods         `intersection`: words that are each other's most similar one. `itermax`: the same once more among
                    what is left, where words that have a link count 0.9. `match`: one to one, the sum of similarities
                    the largest. `softmax`: both probabilities above `threshold`, of the products of vectors.

    Raises SpecError for what is not held, for tokens, for texts that are not as many; MissingExtraError (match).
    """
    wanted = _methods(methods, threshold)
    if source.n_texts != target.n_texts:
        raise SpecError(f"{source.n_texts:,} source texts and {target.n_texts:,} target texts are no pairs")
    places = [_places(side) for side in (source, target)]
    found = []
    for mix, other in zip(mixes_of(source, layers), mixes_of(target, layers), strict=True):
        vectors = mix.vectors(source), other.vectors(target)
        sides = [list(_words(side, of, at)) for side, of, at in zip((source, target), vectors, places, strict=True)]
        links: Mapping[Method, list[Links]] = {method: [] for method in wanted}
        for one, two in zip(*sides, strict=True):
            for method in wanted:
                links[method].append(_linked(one, two, method, threshold))
        found += [Aligned(str(mix), method, tuple(links[method])) for method in wanted]
    return found


def joined(parts: Iterable[Sequence[Aligned]]) -> list[Aligned]:
    """What was aligned part by part, as if at once."""
    return [
        Aligned(of_one[0].layer, of_one[0].method, tuple(links for one in of_one for links in one.links))
        for of_one in zip(*parts, strict=True)
    ]


def link_matrix(source: Float32, target: Float32, method: Method, *, threshold: float = THRESHOLD) -> Bool:
    """Which words are linked, [m, n], given their vectors [m, D] and [n, D]."""
    if not len(source) or not len(target):
        return np.zeros((len(source), len(target)), bool)
    if method == "softmax":
        return _softmax(source @ target.T, threshold)
    cosines = unit_length(source) @ unit_length(target).T
    similarity = np.asarray((cosines + 1) / 2, np.float32)  # in 0 to 1, as ALPHA asks for
    if method == "match":
        return _match(similarity)
    return _itermax(similarity) if method == "itermax" else _intersection(similarity)


def _intersection(similarity: Float32) -> Bool:
    """Each other's best; of equal ones the first counts."""
    m, n = similarity.shape
    forward, backward = np.zeros((2, m, n), bool)
    forward[np.arange(m), similarity.argmax(axis=1)] = True
    backward[similarity.argmax(axis=0), np.arange(n)] = True
    return forward & backward


def _itermax(similarity: Float32) -> Bool:
    """As the authors' own program: no second round for two words, or once all words of a side have a link."""
    linked = _intersection(similarity)
    if min(similarity.shape) <= 2:
        return linked
    for _ in range(ROUNDS - 1):
        row, column = (np.asarray(linked.any(axis=axis, keepdims=True), bool) for axis in (1, 0))
        if row.all() or column.all():
            break
        worth = np.where(row & column, 0.0, np.where(row | column, ALPHA, 1.0)).astype(np.float32)
        linked |= _intersection(similarity * worth) & ~(row & column)
    return linked


def _match(similarity: Float32) -> Bool:
    """The assignment of the largest sum: min(m, n) links."""
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise MissingExtraError(
            "the method match needs scipy, which comes with scikit-learn: pip install 'lamina[apps]'"
        ) from None
    linked = np.zeros(similarity.shape, bool)
    linked[linear_sum_assignment(similarity, maximize=True)] = True
    return linked


def _softmax(products: Float32, threshold: float) -> Bool:
    """Where the probability of the target word given the source word, and the reverse, are both above the threshold."""
    forward, backward = (_probabilities(products, axis) for axis in (1, 0))
    return np.asarray((forward > threshold) & (backward > threshold), bool)


def _probabilities(products: Float32, axis: int) -> npt.NDArray[np.float64]:
    wide = np.exp(products.astype(np.float64) - products.max(axis=axis, keepdims=True))
    return np.asarray(wide / wide.sum(axis=axis, keepdims=True), np.float64)


def _linked(one: tuple[Int64, Float32], two: tuple[Int64, Float32], method: Method, threshold: float) -> Links:
    """The links of one pair, given which words have a vector, and these."""
    rows, columns = np.nonzero(link_matrix(one[1], two[1], method, threshold=threshold))
    return tuple(zip(one[0][rows].tolist(), two[0][columns].tolist(), strict=True))


def _places(side: Embeddings) -> Int64:
    """[n_texts + 1] where each text's words begin."""
    units = side.units
    if np.asarray(units.column("special").to_numpy(zero_copy_only=False), bool).any() or "token" in units.column_names:
        raise SpecError("words are aligned: extract both sides with unit='word'")
    texts = units.column("text_id").to_numpy()
    return np.searchsorted(texts, np.arange(side.n_texts + 1)).astype(np.int64)


def _words(side: Embeddings, vectors: Float32, places: Int64) -> Iterator[tuple[Int64, Float32]]:
    """The numbers within its text and the vectors of each text's words that have one."""
    there = usable(side.units, vectors)
    for low, high in pairwise(places.tolist()):
        words = np.flatnonzero(there[low:high])
        yield words, vectors[low + words]


def _methods(methods: Method | Iterable[Method], threshold: float) -> list[Method]:
    wanted: list[Method] = [methods] if isinstance(methods, str) else list(dict.fromkeys(methods))
    for method in wanted:
        if method not in METHODS:
            raise SpecError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if not wanted:
        raise SpecError(f"no method is named: {', '.join(METHODS)}")
    if not 0 <= threshold < 1:
        raise SpecError(f"threshold is a probability from 0 to below 1, not {threshold}")
    return wanted
