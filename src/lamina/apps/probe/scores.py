"""How good predictions are, and how far chance may have moved that: metrics, and resampling of the examples.

Every metric is a function of sums over examples, so that a resample of the examples is one product of its counts with
what each example adds. Shapes: N examples, G clusters of them that are drawn together, B resamples, R sets of
predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.apps.spans import scheme_of, spans_of

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Values = npt.NDArray[Any]  # [N]: classes as numbers, or numbers

RESAMPLES = 1000
FEW = 8  # sums that are multiplied faster as a dense matrix
CELLS = 1 << 23  # counts held at once: 64 MB
TAILS = (2.5, 97.5)  # per cent: intervals are of 95 %


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What is predicted of.

    truth    [N] the right labels.
    classes  the names of the classes; empty for numbers.
    texts    [N] which text each stands in; its examples are in a row.
    """

    truth: Values
    classes: tuple[str, ...]
    texts: Int64

    def some(self, chosen: npt.NDArray[np.bool_]) -> Examples:
        """Some of them [N]."""
        return Examples(self.truth[chosen], self.classes, self.texts[chosen])

    def fitting(self) -> list[str]:
        """The metrics that fit, the one that says most first."""
        task = "numbers" if not self.classes else "classes"
        names = [name for name, metric in METRICS.items() if metric.task == task]
        is_spans = scheme_of(self.classes) != "none" and np.unique(self.texts).size < self.texts.size
        return ["span-f1", *names] if is_spans else names


@dataclass(frozen=True, slots=True)
class Metric:
    """A score.

    parts  what each example adds: its place among K sums and how much, [N, P] and [N, P], and K.
    value  the score of sums [..., K].
    task   what labels it is for: `classes`, `numbers`, or `spans`: classes that say where spans begin and end.
    low    the least that it can be; the most is 1.
    """

    parts: Callable[[Examples, Values], tuple[Int64, Float64, int]]
    value: Callable[[Float64], Float64]
    task: str
    low: float = 0.0


def score(metric: str, examples: Examples, predicted: Values) -> float:
    """A metric by its name in METRICS, of predictions [N]."""
    place, amount, k = METRICS[metric].parts(examples, predicted)
    return float(METRICS[metric].value(np.bincount(place.ravel(), amount.ravel(), minlength=k).astype(np.float64)))


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Scores with intervals, all from the same resamples, so that differences between predictions are paired.

    clusters  [N] what is drawn together: words of one text, rows of one group.
    widening  by how much intervals are wider than the resamples', see `widening_of`.
    """

    metric: str
    examples: Examples
    clusters: Int64
    widening: float = 1.0
    seed: int = 0

    def spreads(self, predictions: Sequence[Values]) -> Float64:
        """The score of each set of predictions in each resample [B, R]. Spearman's ranks stay those of all examples."""
        metric, cluster = METRICS[self.metric], np.unique(self.clusters, return_inverse=True)[1]
        n_clusters = int(cluster.max()) + 1
        added = [self._added(metric, predicted, cluster, n_clusters) for predicted in predictions]
        found = [
            np.stack([metric.value(counts @ sums) for sums in added], axis=1) for counts in self._counts(n_clusters)
        ]
        return np.concatenate(found)

    def interval(self, value: float, spread: Float64) -> tuple[float, float]:
        """The 95 % interval around a score, from its resamples [B].

        Where all is right, or all wrong, every resample is too: it then holds what so many clusters of one kind still
        allow (Clopper and Pearson 1934).
        """
        low, high = np.percentile(spread, TAILS)
        least = METRICS[self.metric].low
        allowed = 1 - (TAILS[0] / 100) ** (1 / np.unique(self.clusters).size)
        below = allowed if value == low == 1.0 else max(0.0, value - low)
        above = allowed if value == high == least else max(0.0, high - value)
        return float(max(least, value - self.widening * below)), float(min(1.0, value + self.widening * above))

    def noise(self, spread: Float64, other: Float64) -> float:
        """How large a difference between two scores may be by chance: half its 95 % interval's width."""
        low, high = np.percentile(spread - other, TAILS)
        return float(self.widening * (high - low) / 2)

    def _added(self, metric: Metric, predicted: Values, cluster: Int64, n_clusters: int) -> Any:
        """What each cluster adds to the metric's sums [G, K]; sparse where they are many."""
        from scipy.sparse import csr_array

        place, amount, k = metric.parts(self.examples, predicted)
        rows = np.broadcast_to(cluster[:, None], place.shape)
        sums = csr_array((amount.ravel(), (rows.ravel(), place.ravel())), shape=(n_clusters, k))
        return sums.toarray() if k <= FEW else sums

    def _counts(self, n_clusters: int) -> Iterator[Float64]:
        """How often each cluster is drawn in each resample [b, G], some resamples at a time."""
        rng = np.random.default_rng(self.seed)
        at_once = max(1, CELLS // n_clusters)
        for first in range(0, RESAMPLES, at_once):
            drawn = range(min(at_once, RESAMPLES - first))
            counts = [np.bincount(rng.integers(n_clusters, size=n_clusters), minlength=n_clusters) for _ in drawn]
            yield np.stack(counts).astype(np.float64)


def widening_of(n_folds: int) -> float:
    """How much wider a cross-validated score's interval is than resampling its examples says.

    The folds' probes share most of their training rows. Nadeau and Bengio (2003) put the variance of a mean over J
    splits at (1/J + n_test/n_train) S², S² a split's own variance. Here S² is J times the variance that resampling
    gives to the mean over all examples (a better estimate than the spread of five numbers): the variance grows by
    1 + J n_test/n_train = 1 + J/(J - 1). Five folds: intervals 1.5 times as wide. One split (1): not at all.
    """
    return float(np.sqrt(1 + n_folds / (n_folds - 1))) if n_folds > 1 else 1.0


def _accuracy_parts(examples: Examples, predicted: Values) -> tuple[Int64, Float64, int]:
    """Hits, then all."""
    truth = examples.truth
    return np.tile([0, 1], (truth.size, 1)), np.stack([truth == predicted, np.ones(truth.size)], axis=1), 2


def _accuracy(sums: Float64) -> Float64:
    share: Float64 = sums[..., 0] / sums[..., 1]
    return share


def _f1_parts(examples: Examples, predicted: Values) -> tuple[Int64, Float64, int]:
    """Of each class: hits, then members and guesses together."""
    truth, n_classes = examples.truth, len(examples.classes)
    place = np.stack([truth, truth + n_classes, predicted + n_classes], axis=1).astype(np.int64)
    amount = np.ones(place.shape)
    amount[:, 0] = truth == predicted
    return place, amount, 2 * n_classes


def _macro_f1(sums: Float64) -> Float64:
    """The mean over the classes that are there; their F1 is twice the hits over members and guesses together."""
    hits, both = np.split(sums, 2, axis=-1)
    of_class = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
    found: Float64 = of_class.sum(axis=-1) / np.maximum(1, (both > 0).sum(axis=-1))
    return found


def _span_parts(examples: Examples, predicted: Values) -> tuple[Int64, Float64, int]:
    """Spans right in start, end and type; then those there and those found together. Each counts at its first word."""
    amount = np.zeros((examples.truth.size, 2))
    edges = np.flatnonzero(np.diff(examples.texts, prepend=np.nan, append=np.nan))
    names = examples.classes
    for start, stop in pairwise(edges.tolist()):
        there, found = (
            {(span.start, span) for span in spans_of([names[value] for value in values[start:stop].tolist()])}
            for values in (examples.truth, predicted)
        )
        for spans, column in ((there & found, 0), (there, 1), (found, 1)):
            for first, _ in spans:
                amount[start + first, column] += 1
    return np.tile([0, 1], (amount.shape[0], 1)), amount, 2


def _f1(sums: Float64) -> Float64:
    hits, both = np.split(sums, 2, axis=-1)
    found: Float64 = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)[..., 0]
    return found


def _moments(truth: Values, predicted: Values) -> tuple[Int64, Float64, int]:
    x, y = (values - truth.mean(dtype=np.float64) for values in (truth, predicted))  # so that squares stay exact
    amount = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return np.tile(np.arange(6), (x.size, 1)), amount, 6


def _rank_parts(examples: Examples, predicted: Values) -> tuple[Int64, Float64, int]:
    from scipy.stats import rankdata

    n = examples.truth.size
    return _moments(rankdata(examples.truth) / n, rankdata(predicted) / n)


def _correlation(sums: Float64) -> Float64:
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = np.maximum(0, (xx - x * x / n) * (yy - y * y / n))
    found: Float64 = np.divide(xy - x * y / n, np.sqrt(spread), out=np.zeros_like(spread), where=spread > 1e-24 * n * n)
    return found  # what is the same everywhere goes with nothing: 0


def _number_parts(examples: Examples, predicted: Values) -> tuple[Int64, Float64, int]:
    return _moments(examples.truth, predicted)


def _r2(sums: Float64) -> Float64:
    n, x, _, xx, yy, xy = np.moveaxis(sums, -1, 0)
    total = xx - x * x / n
    found: Float64 = 1 - np.divide(xx + yy - 2 * xy, total, out=np.full_like(total, np.inf), where=total > 0)
    return found


METRICS = {
    "accuracy": Metric(_accuracy_parts, _accuracy, "classes"),
    "macro-f1": Metric(_f1_parts, _macro_f1, "classes"),
    "span-f1": Metric(_span_parts, _f1, "spans"),
    "spearman": Metric(_rank_parts, _correlation, "numbers", low=-1.0),
    "r2": Metric(_number_parts, _r2, "numbers", low=-np.inf),
}
