"""A dataset as pictures of two dimensions, one for each layer, turned so that points travel from picture to picture.

Comes in: units and their vectors. Goes out: a `Map`. The pictures are drawn elsewhere: `map_page` (HTML), `map_chart`
(PNG, SVG), `map_export` (other programs). Shapes: U units, P points drawn, L layers or mixes, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lamina.apps.mix import Bool, Data, Float32, Layer, Mix, mixes_of, usable
from lamina.embeddings import unit_length
from lamina.errors import MissingExtraError, SpecError

Method = Literal["pca", "tsne", "umap"]
Int64 = npt.NDArray[np.int64]
Draw = Callable[[Float32, Float32 | None], Float32]

POINTS = 50_000  # the most that are drawn unless more are asked for; a browser drags 20,000 at its full frame rate
REDUCED = 50  # dimensions that t-SNE and UMAP see; van der Maaten and Hinton 2008, section 4.2, took 30
ALONE = 3000  # points that t-SNE draws with one thread
NEIGHBOURS, PROBED = 10, 500  # nearest points, and how many points are asked for theirs


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """Pictures of the same points at several layers.

    method      `pca`, `tsne` or `umap`.
    layers      [L] the layers or mixes, in the order asked for.
    rows        [P] the rows of the data that are points, ascending.
    points      float32 [L, P, 2]: each picture centred, of root-mean-square radius 1, turned to match the next one.
    variance    [L] share of the vectors' variance that a linear function of the picture explains; with PCA that is
                what its two components hold.
    neighbours  [L] share of a point's 10 nearest that are among its 10 nearest in the picture, over 500 points.
    moved       [L] root-mean-square distance from the picture before; 0 for the first.
    n_unusable  rows left out because they have no vector.
    n_thinned   rows left out because there were more than `most`.
    """

    method: Method
    layers: tuple[str, ...]
    rows: Int64
    points: Float32
    variance: tuple[float, ...]
    neighbours: tuple[float, ...]
    moved: tuple[float, ...]
    n_unusable: int
    n_thinned: int

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Map({self.method}, {len(self):,} points; layers {', '.join(self.layers)})"

    def table(self) -> list[dict[str, Any]]:
        """A row for each layer: what its picture keeps."""
        columns = zip(self.layers, self.variance, self.neighbours, self.moved, strict=True)
        return [
            {"layer": layer, "variance": variance, "neighbours": neighbours, "moved": moved}
            for layer, variance, neighbours, moved in columns
        ]


def make_map(
    data: Data,
    *,
    layers: str | int | Iterable[Layer] = "all",
    method: Method = "pca",
    normalize: bool = True,
    rows: Sequence[int] | npt.NDArray[np.int64] | None = None,
    most: int = POINTS,
    seed: int = 0,
) -> Map:
    """A picture of the units for each layer.

    layers     `all` that are held, `0,3,6`, a mix such as `mean:-4..-1`, or a list of those: a picture for each.
    method     `pca`; `tsne` (scikit-learn) and `umap` (umap-learn) see the first 50 principal components, and each
               layer begins where the one after it ended.
    normalize  vectors scaled to unit length first, so that near means a large cosine.
    rows       which units are drawn; None: all of them.
    most       more units than this are thinned at random.
    seed       of the thinning and of t-SNE and UMAP.

    Raises SpecError for fewer than 3 units with a vector, and for what the data does not hold; MissingExtraError.
    """
    draw = _method(method, seed)
    mixes = mixes_of(data, layers)
    chosen, n_unusable, n_thinned = _chosen(data, mixes[-1], rows, most, seed)
    pictures: list[Float32] = []
    variance, neighbours = [], []
    after: Float32 | None = None
    for mix in reversed(mixes):  # the last layer is the one that the others are turned to
        vectors = mix.vectors(data)[chosen]
        vectors = unit_length(vectors) if normalize else vectors
        vectors -= vectors.mean(axis=0)
        after = draw(vectors, after)
        picture = standardised(after)
        pictures.append(turned(picture, to=pictures[-1]) if pictures else picture)
        variance.append(variance_kept(vectors, picture))
        neighbours.append(neighbours_kept(vectors, picture, seed=seed))
    points = np.stack(pictures[::-1])
    steps = np.sqrt(((points[1:] - points[:-1]) ** 2).sum(axis=2).mean(axis=1))
    return Map(
        method=method,
        layers=tuple(map(str, mixes)),
        rows=chosen,
        points=points,
        variance=tuple(variance[::-1]),
        neighbours=tuple(neighbours[::-1]),
        moved=(0.0, *steps.tolist()),
        n_unusable=n_unusable,
        n_thinned=n_thinned,
    )


def principal(vectors: Float32, n: int) -> Float32:
    """Centred vectors [P, D] on their first `n` principal directions: [P, n], zeros beyond the rank.

    A direction's sign is that which makes its largest entry positive: the same on every machine.
    """
    P, D = vectors.shape
    exact = vectors.astype(np.float64)
    if P < D:  # the smaller of the two products has the same eigenvalues
        values, left = np.linalg.eigh(exact @ exact.T)
        axes = exact.T @ left[:, ::-1][:, :n]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    else:
        values, right = np.linalg.eigh(exact.T @ exact)
        axes = right[:, ::-1][:, :n]
    axes[:, values[::-1][: axes.shape[1]] <= 1e-12 * max(values[-1], 1e-300)] = 0
    axes *= np.where(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0) < 0, -1, 1)
    result = np.zeros((P, n), np.float32)
    result[:, : axes.shape[1]] = exact @ axes
    return result


def standardised(picture: Float32) -> Float32:
    """A picture [P, 2] with its mean at 0 and a root-mean-square radius of 1; one without any extent stays at 0."""
    centred = picture - picture.mean(axis=0)
    radius = float(np.sqrt((centred**2).sum(axis=1).mean()))
    return np.asarray(centred / radius if radius > 0 else centred, np.float32)


def turned(picture: Float32, *, to: Float32) -> Float32:
    """A picture [P, 2] rotated, and mirrored where that is nearer, onto another one of the same points.

    The orthogonal matrix that makes the sum of squared distances least: Schönemann 1966, the Procrustes problem. Both
    must be centred; sizes stay as they are, since `standardised` has made them equal.
    """
    u, _, vt = np.linalg.svd(picture.T.astype(np.float64) @ to)
    return np.asarray(picture @ (u @ vt), np.float32)


def variance_kept(vectors: Float32, picture: Float32) -> float:
    """The share of the variance of centred vectors [P, D] that a linear function of a picture [P, 2] can explain."""
    basis, _, _ = np.linalg.svd(picture.astype(np.float64), full_matrices=False)
    basis = basis[:, np.linalg.norm(picture.T @ basis, axis=0) > 1e-9]
    total = float((vectors.astype(np.float64) ** 2).sum())
    return float(((basis.T @ vectors) ** 2).sum()) / total if total > 0 else 0.0


def neighbours_kept(vectors: Float32, picture: Float32, *, seed: int = 0) -> float:
    """The share of a point's 10 nearest that are among its 10 nearest in the picture, over at most 500 points."""
    P = len(vectors)
    k = min(NEIGHBOURS, P - 1)
    probed = np.random.default_rng(seed).permutation(P)[:PROBED]
    found = [_nearest(space, probed, k) for space in (vectors, picture)]
    kept = sum(len(set(near) & set(drawn)) for near, drawn in zip(*(rows.tolist() for rows in found), strict=True))
    return kept / (k * probed.size)


def _nearest(space: Float32, rows: Int64, k: int) -> Int64:
    """The k rows of `space` [P, D] nearest to each of `rows`, itself not counted: [rows, k]."""
    squares = (space**2).sum(axis=1)
    found = np.empty((rows.size, k), np.int64)
    for low in range(0, rows.size, 100):
        some = rows[low : low + 100]
        distances = squares - 2 * (space[some] @ space.T)  # less the row's own square, which changes no order
        distances[np.arange(some.size), some] = np.inf
        found[low : low + 100] = np.argpartition(distances, k - 1, axis=1)[:, :k]
    return found


def _chosen(data: Data, mix: Mix, rows: Any, most: int, seed: int) -> tuple[Int64, int, int]:
    """The rows that become points, and how many were left out: without a vector, and thinned."""
    asked = np.arange(len(data)) if rows is None else np.unique(np.asarray(rows, np.int64))
    if asked.size and not 0 <= asked[0] <= asked[-1] < len(data):
        raise SpecError(f"rows must be from 0 to {len(data) - 1}, not {asked[0]} to {asked[-1]}")
    said: Bool = usable(data.units, mix.vectors(data))
    there = asked[said[asked]]
    if most < 3:
        raise SpecError(f"most must be at least 3 points, not {most}")
    kept = there if there.size <= most else np.sort(np.random.default_rng(seed).permutation(there)[:most])
    if kept.size < 3:
        raise SpecError(f"a map needs 3 units with a vector at least; of {asked.size:,} there are {kept.size}")
    return kept, int(asked.size - there.size), int(there.size - kept.size)


def _method(method: Method, seed: int) -> Draw:
    """How vectors [P, D] become a picture [P, 2], beginning at the picture of the layer after where there is one."""
    if method == "pca":
        return lambda vectors, _: principal(vectors, 2)
    if method == "tsne":
        return _tsne(seed)
    if method == "umap":
        return _umap(seed)
    raise SpecError(f"method must be one of {', '.join(get_args(Method))}, not {method!r}")


def _tsne(seed: int) -> Draw:
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError:
        raise MissingExtraError("t-SNE needs scikit-learn: pip install 'lamina[apps]'") from None

    def draw(vectors: Float32, after: Float32 | None) -> Float32:
        reduced = principal(vectors, min(REDUCED, vectors.shape[1]))
        options: dict[str, Any] = {"perplexity": min(30.0, (len(vectors) - 1) / 3), "random_state": seed}
        if after is None:  # a small principal picture keeps what is far apart so: Kobak and Berens 2019
            options["init"] = standardised(reduced[:, :2]) * 1e-4
        else:  # on from there, without the early exaggeration that would tear it: points move half as far
            options |= {"init": after, "early_exaggeration": 1.0, "max_iter": 500}
        # The threads meet after each of hundreds of small steps, and wait there longer than they work on few points.
        with threadpool_limits(1 if len(vectors) < ALONE else None, user_api="openmp"):
            return np.asarray(TSNE(**options).fit_transform(reduced), np.float32)

    return draw


def _umap(seed: int) -> Draw:
    try:
        from umap import UMAP
    except ImportError:
        raise MissingExtraError("UMAP needs umap-learn: pip install 'lamina[umap]'") from None

    def draw(vectors: Float32, after: Float32 | None) -> Float32:
        reduced = principal(vectors, min(REDUCED, vectors.shape[1]))
        begin = reduced[:, :2] if after is None else after
        near = min(15, len(vectors) - 1)
        found = UMAP(init=begin, n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(reduced)
        return np.asarray(found, np.float32)

    return draw
