"""A linear-chain conditional random field over dense vectors, exact, in numpy; trained by L-BFGS.

    score(tags | words) = first[t0] + sum weight[:, ti] . x_i + bias[ti] + sum transitions[t(i-1), ti] + last[tn]

Source: Lafferty, McCallum and Pereira 2001. The libraries for it take named features (sklearn-crfsuite) or need torch
(pytorch-crf); for vectors without torch there is none. Sums over all taggings run in probabilities that are rescaled at
each word (Rabiner 1989, section V.A), over all sentences at once: rows are laid out word by word, the first words of
all sentences, then the second ones, so each step is one small product.
Shapes: U words of N sentences, D width, K tags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.errors import MissingExtraError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Rules = tuple[Bool, Bool, Bool]  # which tags may stand first [K], follow one another [K, K], and stand last [K]

TRANSITION_L2 = 1.0  # on first, transitions and last: what is never seen stays finite
MEMORY = 10  # steps that L-BFGS looks back on
TOLERANCE = 1e-5  # of the loss, from one step to the next: then it has converged
SENTENCES = 1024  # decoded at once: a step holds that many [K, K]


@dataclass(frozen=True, slots=True, eq=False)
class Crf:
    """weight [D, K], bias [K], first [K], transitions [K, K] (from row to column), last [K]; all float64."""

    weight: Float64
    bias: Float64
    first: Float64
    transitions: Float64
    last: Float64

    def scores(self, vectors: Float32) -> Float64:
        """[U, K] what each word says of its own tag."""
        scores: Float64 = vectors.astype(np.float64) @ self.weight + self.bias
        return scores


@dataclass(frozen=True, slots=True)
class Packed:
    """Words of N sentences laid out place by place; longer sentences first.

    rows    [U] where each word stands in the original order.
    counts  [S] how many sentences have a word at each place; never more than before.
    """

    rows: Int64
    counts: Int64

    @classmethod
    def of(cls, lengths: Int64) -> Packed:
        """Of sentences with `lengths` [N] words, laid end to end; those without words have no place."""
        order = np.argsort(-lengths, kind="stable")
        starts = (np.cumsum(lengths) - lengths)[order]
        n_places = int(lengths.max(initial=0))
        counts = np.array([np.count_nonzero(lengths > place) for place in range(n_places)], np.int64)
        rows = [starts[:count] + place for place, count in enumerate(counts)]
        return cls(np.concatenate(rows) if rows else np.empty(0, np.int64), counts)

    @property
    def bounds(self) -> list[slice]:
        """The words of each place."""
        ends = np.cumsum(self.counts)
        return [slice(int(end - count), int(end)) for end, count in zip(ends, self.counts, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What the field expects of its tags, summed over sentences: of each word [U, K], first [K], transitions [K, K] and
    last [K]; and the logarithm of the sum over all taggings."""

    log_sum: float
    words: Float64
    first: Float64
    transitions: Float64
    last: Float64


def expected(scores: Float64, crf: Crf, packed: Packed) -> Expected:
    """Forward and backward over all sentences at once. `scores` [U, K] in the order of `packed`.

    Each place's weights are divided by their largest, so one of them is 1 and no sum can vanish.
    """
    top = scores.max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - top)
    follow, ending = np.exp(crf.transitions), np.exp(crf.last)
    bounds, counts = packed.bounds, packed.counts
    forward, scale = np.empty_like(weights), np.empty(len(weights))
    for place, rows in enumerate(bounds):
        before = np.exp(crf.first) if place == 0 else forward[bounds[place - 1]][: counts[place]] @ follow
        reached = before * weights[rows]
        scale[rows] = reached.sum(axis=1)
        forward[rows] = reached / scale[rows, None]
    log_sum = float(np.log(scale).sum() + top.sum())
    words, transitions, last = np.empty_like(weights), np.zeros_like(follow), np.zeros_like(ending)
    after = np.empty((0, len(ending)))  # of the next place, times its weights
    for rows in reversed(bounds):
        n_going_on, alpha = len(after), forward[rows]
        ends = alpha[n_going_on:] @ ending
        log_sum += float(np.log(ends).sum())
        backward = np.concatenate([after @ follow.T, ending / ends[:, None]])
        transitions += follow * (alpha[:n_going_on].T @ after)
        words[rows] = alpha * backward
        last += words[rows][n_going_on:].sum(axis=0)
        after = backward * weights[rows] / scale[rows, None]
    first = words[bounds[0]].sum(axis=0) if bounds else np.zeros_like(ending)
    return Expected(log_sum, words, first, transitions, last)


def fit_crf(
    vectors: Float32,
    lengths: Int64,
    tags: Int64,
    n_tags: int,
    *,
    l2: float,
    start: Crf | None = None,
    max_steps: int = 200,
    on_step: Callable[[int, float], None] | None = None,
) -> Crf:
    """The field that makes the tags likeliest, less l2 / 2 times the squared weights.

    vectors  [U, D] finite, best standardised; `lengths` [N] of the sentences, laid end to end; `tags` [U].
    start    where to begin: the optimum is the same (the loss is convex), the way there shorter.
    on_step  hears the number of each step and the loss a word.
    """
    try:
        from scipy.optimize import minimize
    except ImportError:
        raise MissingExtraError("training needs scipy, which comes with: pip install 'lamina[apps]'") from None

    packed = Packed.of(lengths)
    loss = _Loss.of(vectors[packed.rows], tags[packed.rows], packed, n_tags, l2)
    step = [0]

    def heard(intermediate_result: Any) -> None:
        step[0] += 1
        if on_step is not None:
            on_step(step[0], float(intermediate_result.fun))

    begin = np.zeros(loss.n_numbers) if start is None else _flat(start)
    options = {"maxiter": max_steps, "maxcor": MEMORY, "ftol": TOLERANCE, "gtol": 1e-6}
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", callback=heard, options=options)
    return _crf(found.x, vectors.shape[1], n_tags)


@dataclass(frozen=True, slots=True, eq=False)
class _Loss:
    """The loss a word and its gradient, as a function of all numbers in one vector."""

    vectors: Float32
    tags: Int64
    packed: Packed
    n_tags: int
    l2: float
    seen: Crf  # how often each weight was used by the tags there are

    @classmethod
    def of(cls, vectors: Float32, tags: Int64, packed: Packed, n_tags: int, l2: float) -> _Loss:
        chosen = np.eye(n_tags, dtype=np.float32)[tags]
        first, last, transitions = np.zeros(n_tags), np.zeros(n_tags), np.zeros((n_tags, n_tags))
        bounds = packed.bounds
        for place, rows in enumerate(bounds):
            here, n_going_on = tags[rows], packed.counts[place + 1] if place + 1 < len(bounds) else 0
            np.add.at(last, here[n_going_on:], 1)
            if place == 0:
                np.add.at(first, here, 1)
            else:
                np.add.at(transitions, (tags[bounds[place - 1]][: len(here)], here), 1)
        weight = (vectors.T @ chosen).astype(np.float64)
        return cls(vectors, tags, packed, n_tags, l2, Crf(weight, chosen.sum(axis=0), first, transitions, last))

    @property
    def n_numbers(self) -> int:
        return self.seen.weight.size + self.n_tags * (3 + self.n_tags)

    def __call__(self, numbers: Float64) -> tuple[float, Float64]:
        crf, seen, n_words = _crf(numbers, self.vectors.shape[1], self.n_tags), self.seen, len(self.tags)
        scores = (self.vectors @ crf.weight.astype(np.float32)).astype(np.float64) + crf.bias
        found = expected(scores, crf, self.packed)
        chosen = scores[np.arange(n_words), self.tags].sum()
        chosen += sum(float((a * b).sum()) for a, b in zip(_chain(crf), _chain(seen), strict=True))
        penalty = self.l2 * (crf.weight**2).sum() + TRANSITION_L2 * sum(float((a**2).sum()) for a in _chain(crf))
        weight = (self.vectors.T @ found.words.astype(np.float32)).astype(np.float64)
        gradient = Crf(
            weight - seen.weight + self.l2 * crf.weight,
            found.words.sum(axis=0) - seen.bias,
            found.first - seen.first + TRANSITION_L2 * crf.first,
            found.transitions - seen.transitions + TRANSITION_L2 * crf.transitions,
            found.last - seen.last + TRANSITION_L2 * crf.last,
        )
        return (found.log_sum - chosen + penalty / 2) / n_words, _flat(gradient) / n_words


def probabilities(scores: Float64, lengths: Int64, crf: Crf) -> Float64:
    """[U, K] how likely each tag of each word is, over all taggings of its sentence."""
    packed = Packed.of(lengths)
    result = np.empty_like(scores)
    result[packed.rows] = expected(scores[packed.rows], crf, packed).words
    return result


def decode(scores: Float64, lengths: Int64, crf: Crf, rules: Rules) -> Int64:
    """[U] the likeliest tagging of each sentence of those that the rules allow (Viterbi); equal ones by tag number.

    `scores` [U, K] of sentences with `lengths` [N] words, laid end to end.
    """
    may_be_first, may_follow, may_be_last = rules
    first = np.where(may_be_first, crf.first, -np.inf)
    follow = np.where(may_follow, crf.transitions, -np.inf)
    last = np.where(may_be_last, crf.last, -np.inf)
    tags = np.empty(len(scores), np.int64)
    ends = np.cumsum(lengths)
    for low in range(0, len(lengths), SENTENCES):
        some = lengths[low : low + SENTENCES]
        begin = int(ends[low] - lengths[low])
        rows = slice(begin, begin + int(some.sum()))
        tags[rows] = _best(scores[rows], Packed.of(some), first, follow, last)
    return tags


def _best(scores: Float64, packed: Packed, first: Float64, follow: Float64, last: Float64) -> Int64:
    bounds, counts, laid = packed.bounds, packed.counts, scores[packed.rows]
    best, came_from = np.empty_like(laid), np.zeros(laid.shape, np.int64)
    for place, rows in enumerate(bounds):
        if place == 0:
            best[rows] = first + laid[rows]
            continue
        ways = best[bounds[place - 1]][: counts[place], :, None] + follow
        came_from[rows] = ways.argmax(axis=1)
        best[rows] = ways.max(axis=1) + laid[rows]
    chosen, going = np.empty(len(laid), np.int64), np.empty(0, np.int64)
    for rows in reversed(bounds):
        ending = (best[rows][len(going) :] + last).argmax(axis=1)
        chosen[rows] = np.concatenate([going, ending])
        going = came_from[rows][np.arange(len(chosen[rows])), chosen[rows]]
    tags = np.empty(len(laid), np.int64)
    tags[packed.rows] = chosen
    return tags


def _chain(crf: Crf) -> tuple[Float64, Float64, Float64]:
    return crf.first, crf.transitions, crf.last


def _flat(crf: Crf) -> Float64:
    return np.concatenate([part.ravel() for part in (crf.weight, crf.bias, *_chain(crf))])


def _crf(numbers: Float64, width: int, n_tags: int) -> Crf:
    sizes = [width * n_tags, n_tags, n_tags, n_tags * n_tags]
    weight, bias, first, transitions, last = np.split(numbers, np.cumsum(sizes))
    return Crf(weight.reshape(width, n_tags), bias, first, transitions.reshape(n_tags, n_tags), last)
