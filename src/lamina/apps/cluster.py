"""Groups of units that lie together at a layer, what each is about, and how well they agree with labels, by layer.

Comes in: units and their vectors. Goes out: a `Clustering`, its `Cluster`s described by words and central texts.
Shapes: U units, D width, C clusters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import log
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.mix import Data, Float32, Layer, Mix, mixes_of, usable, vectors_of
from lamina.embeddings import unit_length
from lamina.errors import MissingExtraError, SpecError

Int64 = npt.NDArray[np.int64]
Method = Literal["kmeans", "density"]

LARGE = 50_000  # rows from which k-means looks at a batch at a time
SAMPLE = 2_000  # rows on which a number of clusters is judged
MOST = 100  # clusters, at most, where nobody says how many
WORDS, CENTRAL = 6, 3  # that describe a cluster


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """Which cluster each unit is in.

    layer       the layer or mix.
    assigned    [U] the cluster's number from 0, the largest cluster first; -1: in none (noise, a unit without vector).
    centres     [C, D] the mean of each cluster's vectors.
    silhouette  how much nearer units are to their own cluster than to the next one, -1 to 1, on a sample (Rousseeuw
                1987); None where there is but one cluster.
    """

    layer: str
    assigned: Int64
    centres: Float32
    silhouette: float | None

    def __len__(self) -> int:
        return len(self.centres)

    def __repr__(self) -> str:
        return f"Clustering(layer {self.layer}: {len(self.assigned)} units in {len(self)} clusters)"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster is about: words that stand in it more than elsewhere, and the units nearest to its centre."""

    number: int
    size: int
    words: tuple[str, ...]
    central: tuple[str, ...]


def cluster(
    data: Data,
    *,
    layer: Layer = -1,
    k: int | None = None,
    method: Method = "kmeans",
    normalize: bool = True,
    starts: int = 10,
    min_size: int = 5,
    seed: int = 0,
) -> Clustering:
    """Group units by their vectors at a layer or mix.

    k          how many clusters; None: the number up to 100 whose silhouette is the best. Not for `density`.
    method     `kmeans` (Lloyd 1982; from 50,000 units on by batches, Sculley 2010) or `density` (HDBSCAN: Campello et
               al. 2013), which finds their number itself and leaves out what lies alone.
    normalize  compare by direction: each vector is first scaled to unit length.
    starts     of k-means, of which the tightest counts.
    min_size   of `density`: fewer units than this are no cluster.

    Raises SpecError for what the data does not hold or allow.
    """
    mix = Mix.parse(layer)
    return _clustered(str(mix), mix.vectors(data), data.units, k, method, normalize, starts, min_size, seed)


def by_layer(
    data: Data,
    labels: Sequence[str | None] | None = None,
    *,
    layers: Sequence[Layer] = ("all",),
    k: int | None = None,
    method: Method = "kmeans",
    normalize: bool = True,
    starts: int = 10,
    min_size: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row for each layer: `layer`, `clusters`, `silhouette`, and with labels what `agreement` says.

    With labels and no `k` there are as many clusters as different labels. Raises what `cluster` raises.
    """
    if labels is not None and k is None and method == "kmeans":
        k = len({label for label in labels if label is not None})
    rows = []
    for mix in mixes_of(data, layers):
        found = _clustered(str(mix), mix.vectors(data), data.units, k, method, normalize, starts, min_size, seed)
        row: dict[str, Any] = {"layer": str(mix), "clusters": len(found), "silhouette": found.silhouette}
        rows.append(row if labels is None else row | agreement(found.assigned, labels))
    return rows


def agreement(assigned: Int64, labels: Sequence[str | None]) -> dict[str, float]:
    """How well clusters agree with labels, of the units that have both: 0 to 1.

    `v_measure` (Rosenberg and Hirschberg 2007), `nmi` (normalised by the larger entropy), `adjusted_rand` (Hubert and
    Arabie 1985), and `accuracy` where each cluster is given one label in the best way (Kuhn 1955).
    """
    _sklearn()
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, v_measure_score
    from sklearn.metrics.cluster import contingency_matrix

    kept = [k for k, label in enumerate(labels) if label is not None and assigned[k] >= 0]
    if not kept:
        raise SpecError("no unit has both a label and a cluster")
    names, clusters = [labels[k] for k in kept], assigned[kept]
    counts = contingency_matrix(names, clusters)
    return {
        "v_measure": float(v_measure_score(names, clusters)),
        "nmi": float(normalized_mutual_info_score(names, clusters, average_method="max")),
        "adjusted_rand": float(adjusted_rand_score(names, clusters)),
        "accuracy": float(counts[linear_sum_assignment(-counts)].sum() / len(kept)),
    }


def described(
    found: Clustering,
    data: Data,
    *,
    texts: Sequence[str] | None = None,
    split: Callable[[str], list[str]] | None = None,
    n_words: int = WORDS,
    n_central: int = CENTRAL,
) -> list[Cluster]:
    """What each cluster is about.

    texts  [U] what the words are taken from; None: the units' own characters.
    split  a text's words; None: runs of letters and digits.

    A word counts in a cluster by its share of the cluster's words times log(1 + A / f), A the words of a cluster on
    average and f how often it stands in all of them (class-based tf-idf: Grootendorst 2022, section 3).
    """
    held = data.units.column("surface").to_pylist() if texts is None else list(texts)
    words = _naming_words(found, held, split or _runs, n_words)
    central = _central(found, unit_length(np.nan_to_num(vectors_of(data, found.layer))), n_central)
    return [
        Cluster(number, int((found.assigned == number).sum()), words[number], tuple(held[k] for k in central[number]))
        for number in range(len(found))
    ]


def _clustered(
    name: str,
    vectors: Float32,
    units: pa.Table,
    k: int | None,
    method: Method,
    normalize: bool,
    starts: int,
    min_size: int,
    seed: int,
) -> Clustering:
    if method not in get_args(Method):
        raise SpecError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}")
    if k is not None and method == "density":
        raise SpecError("method 'density' finds the number of clusters itself: leave k out, or use 'kmeans'")
    kept = usable(units, vectors)
    points = unit_length(vectors[kept]) if normalize else vectors[kept]
    if len(points) < 2 or (k is not None and not 1 <= k <= len(points)):
        raise SpecError(f"{len(points):,} units with vectors cannot make {k or 'several'} clusters")
    _sklearn()
    with _few_threads(len(points)):
        if method == "density":
            numbers = _density(points, min_size)
        else:
            numbers = _kmeans(points, k or _best_number(points, seed), starts, seed)
        numbers = _by_size(numbers)
        silhouette = _silhouette(points, numbers, seed)
    assigned = np.full(len(kept), -1, np.int64)
    assigned[kept] = numbers
    centres = [points[numbers == number].mean(axis=0) for number in range(numbers.max(initial=-1) + 1)]
    return Clustering(name, assigned, np.array(centres, np.float32).reshape(-1, points.shape[1]), silhouette)


def _kmeans(points: Float32, k: int, starts: int, seed: int) -> Int64:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kind = MiniBatchKMeans if len(points) > LARGE else KMeans
    numbers: Int64 = kind(k, n_init=starts, random_state=seed).fit_predict(points).astype(np.int64)
    return numbers


def _density(points: Float32, min_size: int) -> Int64:
    from sklearn.cluster import HDBSCAN

    numbers: Int64 = HDBSCAN(min_cluster_size=min_size, copy=True).fit_predict(points).astype(np.int64)
    return numbers


def _best_number(points: Float32, seed: int) -> int:
    """The number of clusters with the best silhouette, of numbers that grow by a third, on a sample."""
    sample = points[_chosen(len(points), seed)]
    tried, k = [], 2
    while k <= min(MOST, len(sample) - 1):
        score = _silhouette(sample, _kmeans(sample, k, 3, seed), seed)
        tried.append((-1.0 if score is None else score, k))
        k = max(k + 1, k * 4 // 3)
    return max(tried, key=lambda one: (one[0], -one[1]))[1] if tried else 1


def _silhouette(points: Float32, numbers: Int64, seed: int) -> float | None:
    from sklearn.metrics import silhouette_score

    rows = _chosen(len(points), seed)
    rows = rows[numbers[rows] >= 0]
    if not 2 <= len(np.unique(numbers[rows])) < len(rows):
        return None
    return float(silhouette_score(points[rows], numbers[rows]))


def _chosen(n: int, seed: int) -> Int64:
    return np.sort(np.random.default_rng(seed).permutation(n)[:SAMPLE])


def _by_size(numbers: Int64) -> Int64:
    """The same clusters, the largest called 0; of two of a size, the one that stands first."""
    counts = Counter(numbers[numbers >= 0].tolist())
    first = {number: k for k, number in reversed(list(enumerate(numbers.tolist())))}
    order = sorted(counts, key=lambda number: (-counts[number], first[number]))
    called = {number: k for k, number in enumerate(order)} | {-1: -1}
    return np.array([called[number] for number in numbers.tolist()], np.int64)


def _naming_words(
    found: Clustering, texts: Sequence[str], split: Callable[[str], list[str]], n: int
) -> list[tuple[str, ...]]:
    counts: list[Counter[str]] = [Counter() for _ in range(len(found))]
    for number, text in zip(found.assigned.tolist(), texts, strict=True):
        if number >= 0:
            counts[number].update(word.lower() for word in split(text or ""))
    total = sum(counts, Counter[str]())
    average = total.total() / max(1, len(counts))
    rare = {word: log(1 + average / count) for word, count in total.items()}
    return [
        tuple(sorted(of_one, key=lambda word: (-of_one[word] * rare[word], word))[:n]) for of_one in counts
    ]  # the share of the cluster's words is the same factor for all of them


def _central(found: Clustering, vectors: Float32, n: int) -> list[list[int]]:
    chosen = []
    for number, centre in enumerate(found.centres):
        rows = np.flatnonzero(found.assigned == number)
        nearest = rows[np.argsort(-(vectors[rows] @ centre), kind="stable")[:n]]
        chosen.append(nearest.tolist())
    return chosen


def _runs(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


@contextmanager
def _few_threads(n_points: int) -> Iterator[None]:
    """On few points the threads of scikit-learn wait for one another longer than they work."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if n_points < SAMPLE else None, user_api="openmp"):
        yield


def _sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise MissingExtraError("clustering needs scikit-learn: pip install 'lamina[apps]'") from None
