"""The kinds of classifiers, a row each: how scikit-learn fits one, what is kept of it, and what numpy makes of that.

What is kept are arrays; a fitted estimator is neither stored nor needed again, so predicting asks for numpy only.
Scores are larger where a class is likelier; `lamina.apps.classify.calibration` turns them into probabilities.
Shapes: U rows, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.errors import MissingExtraError, TrainedError

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]

NEIGHBOURS = 15
TREES = 100
MAX_STEPS = 1000  # of L-BFGS; it needs about 100 on standardised vectors
BLOCK = 512  # rows compared with all neighbours at once


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table.

    fit        standardised vectors [U, D], classes [U] 0 .. C - 1 each of which occurs, a strength -> tensors.
    scores     tensors, standardised vectors [U, D] -> float64 [U, C].
    check      tensors, D, C: raises TrainedError for tensors that cannot be these.
    strengths  how weakly its weights are held down, tried from the strongest hold on; one value where there is no
               choice.
    """

    fit: Callable[[Float32, Int64, float], dict[str, Array]]
    scores: Callable[[Tensors, Float32], Float64]
    check: Callable[[Tensors, int, int], None]
    strengths: tuple[float, ...] = (1.0,)


def _fit_logistic(vectors: Float32, classes: Int64, strength: float) -> dict[str, Array]:
    from sklearn.linear_model import LogisticRegression

    return _linear(LogisticRegression(C=strength, max_iter=MAX_STEPS).fit(vectors, classes))


def _fit_svm(vectors: Float32, classes: Int64, strength: float) -> dict[str, Array]:
    from sklearn.svm import LinearSVC

    return _linear(LinearSVC(C=strength, dual=False).fit(vectors, classes))


def _linear(fitted: Any) -> dict[str, Array]:
    """weight [C, D], bias [C]; of two classes scikit-learn keeps the second one's only, and the first one's are
    zeros."""
    weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
    if len(weight) == 1:
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return {"weight": weight.astype(np.float64), "bias": bias.astype(np.float64)}


def _linear_scores(tensors: Tensors, vectors: Float32) -> Float64:
    scores: Float64 = vectors.astype(np.float64) @ tensors["weight"].T + tensors["bias"]
    return scores


def _fit_bayes(vectors: Float32, classes: Int64, _: float) -> dict[str, Array]:
    """Gaussian: the vectors have negative numbers, so counts (multinomial, complement) do not describe them."""
    from sklearn.naive_bayes import GaussianNB

    fitted = GaussianNB().fit(vectors, classes)
    return {"mean": fitted.theta_, "variance": fitted.var_, "prior": fitted.class_prior_}


def _bayes_scores(tensors: Tensors, vectors: Float32) -> Float64:
    mean, variance, x = tensors["mean"], tensors["variance"], vectors.astype(np.float64)
    constant = np.log(tensors["prior"]) - 0.5 * (np.log(2 * np.pi * variance) + mean**2 / variance).sum(axis=1)
    scores: Float64 = constant - 0.5 * (x**2) @ (1 / variance).T + x @ (mean / variance).T
    return scores


def _fit_centroid(vectors: Float32, classes: Int64, _: float) -> dict[str, Array]:
    from sklearn.neighbors import NearestCentroid

    return {"mean": NearestCentroid().fit(vectors, classes).centroids_.astype(np.float64)}


def _centroid_scores(tensors: Tensors, vectors: Float32) -> Float64:
    """Less half the squared distance, but for what is the same for all classes."""
    mean = tensors["mean"]
    scores: Float64 = vectors.astype(np.float64) @ mean.T - 0.5 * (mean**2).sum(axis=1)
    return scores


def _fit_knn(vectors: Float32, classes: Int64, _: float) -> dict[str, Array]:
    """Nothing is fitted: the vectors are kept, of unit length, so that near is by cosine."""
    return {"vectors": _of_unit_length(vectors), "classes": classes.astype(np.int64)}


def _knn_scores(tensors: Tensors, vectors: Float32) -> Float64:
    """The logarithm of the nearest ones' votes, with one more vote that the classes share (Laplace)."""
    known, classes = tensors["vectors"], tensors["classes"]
    n_classes, k = int(classes.max()) + 1, min(NEIGHBOURS, len(classes))
    votes = np.zeros((len(vectors), n_classes))
    for low in range(0, len(vectors), BLOCK):
        near = _of_unit_length(vectors[low : low + BLOCK]) @ known.T
        nearest = np.argpartition(-near, k - 1, axis=1)[:, :k]
        np.add.at(votes[low : low + BLOCK], (np.arange(len(near))[:, None], classes[nearest]), 1)
    scores: Float64 = np.log((votes + 1 / n_classes) / (k + 1))
    return scores


def _of_unit_length(vectors: Float32) -> Float32:
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    scaled: Float32 = vectors / np.maximum(length, np.float32(1e-12))
    return scaled


def _fit_forest(vectors: Float32, classes: Int64, _: float) -> dict[str, Array]:
    """All trees' nodes laid end to end. `left` and `right` are nodes, a leaf's own; a leaf's share of each class lies
    in `classes` and `shares` from `starts` on: most leaves hold one class, so a dense [nodes, C] would be C times as
    large."""
    from sklearn.ensemble import RandomForestClassifier

    fitted = RandomForestClassifier(TREES, random_state=0, n_jobs=-1).fit(vectors, classes)
    parts: dict[str, list[Array]] = {name: [] for name in FOREST}
    n_nodes = 0
    for tree in (one.tree_ for one in fitted.estimators_):
        is_leaf = tree.children_left < 0
        own = np.arange(tree.node_count)
        shares = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True)
        node, kind = np.nonzero(shares * is_leaf[:, None])
        parts["roots"].append(np.array([n_nodes]))
        parts["left"].append(n_nodes + np.where(is_leaf, own, tree.children_left))
        parts["right"].append(n_nodes + np.where(is_leaf, own, tree.children_right))
        parts["feature"].append(np.where(is_leaf, 0, tree.feature))
        parts["threshold"].append(np.where(is_leaf, 0.0, tree.threshold))
        parts["counts"].append(np.bincount(node, minlength=tree.node_count))
        parts["classes"].append(kind)
        parts["shares"].append(shares[node, kind])
        n_nodes += tree.node_count
    return {name: np.concatenate(parts[name]).astype(dtype) for name, dtype in FOREST.items()}


FOREST = {
    "roots": np.int32, "left": np.int32, "right": np.int32, "feature": np.int32, "threshold": np.float64,
    "counts": np.int32, "classes": np.int32, "shares": np.float32,
}  # fmt: skip


def forest_shares(tensors: Tensors, vectors: Float32) -> Float64:
    """[U, C] the mean over trees of the classes in the leaf that a row falls into: scikit-learn's `predict_proba`."""
    left, right, feature, threshold = (tensors[name] for name in ("left", "right", "feature", "threshold"))
    starts = np.cumsum(tensors["counts"]) - tensors["counts"]
    rows, n_classes = np.arange(len(vectors)), int(tensors["classes"].max()) + 1
    total = np.zeros((len(vectors), n_classes))
    for root in tensors["roots"]:
        node = np.full(len(vectors), root, np.int64)
        going = rows
        while going.size:
            here = node[going]
            goes_left = vectors[going, feature[here]] <= threshold[here]
            node[going] = np.where(goes_left, left[here], right[here])
            going = going[node[going] != here]
        counts = tensors["counts"][node]
        entry = np.repeat(starts[node] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        np.add.at(total, (np.repeat(rows, counts), tensors["classes"][entry]), tensors["shares"][entry])
    return total / len(tensors["roots"])


def _forest_scores(tensors: Tensors, vectors: Float32) -> Float64:
    """The logarithm of the shares, with one more tree that spreads evenly."""
    shares = forest_shares(tensors, vectors)
    n_trees = len(tensors["roots"])
    scores: Float64 = np.log((shares * n_trees + 1 / shares.shape[1]) / (n_trees + 1))
    return scores


def _check_shapes(**shapes: tuple[str, ...]) -> Callable[[Tensors, int, int], None]:
    """A check that tensors have axes of `C` classes and `D` numbers, or any size (`*`), and are finite."""

    def check(tensors: Tensors, width: int, n_classes: int) -> None:
        for name, axes in shapes.items():
            found = tensors.get(name)
            wanted = [{"C": n_classes, "D": width}.get(axis) for axis in axes]
            if found is None or found.ndim != len(axes):
                raise TrainedError(f"the stored classifier has no tensor {name!r} of {len(axes)} axes")
            if any(size not in (None, there) for size, there in zip(wanted, found.shape, strict=True)):
                raise TrainedError(f"the stored tensor {name!r} is {list(found.shape)}; expected {wanted}")
            if not np.isfinite(found).all():
                raise TrainedError(f"the stored tensor {name!r} holds numbers that are not finite")

    return check


def _check_knn(tensors: Tensors, width: int, n_classes: int) -> None:
    _check_shapes(vectors=("*", "D"), classes=("*",))(tensors, width, n_classes)
    classes = tensors["classes"]
    if (
        len(classes) != len(tensors["vectors"])
        or not len(classes)
        or classes.min() < 0
        or classes.max() != n_classes - 1
    ):
        raise TrainedError("the stored neighbours and their classes do not fit each other")


def _check_forest(tensors: Tensors, width: int, n_classes: int) -> None:
    """Every walk must end: a node's children come after it, and stay in the arrays."""
    _check_shapes(**dict.fromkeys(FOREST, ("*",)))(tensors, width, n_classes)
    n = len(tensors["left"])
    own = np.arange(n)
    ok = all(len(tensors[name]) == n for name in ("right", "feature", "threshold", "counts"))
    ok = (
        ok
        and len(tensors["classes"]) == len(tensors["shares"]) == int(tensors["counts"].sum())
        and len(tensors["roots"]) > 0
    )
    ok = (
        ok
        and all(_within(tensors[name], 0, n) for name in ("left", "right", "roots"))
        and _within(tensors["feature"], 0, width)
    )
    ok = ok and _within(tensors["classes"], 0, n_classes) and tensors["classes"].max(initial=-1) == n_classes - 1
    ok = ok and bool((tensors["counts"] >= 0).all())
    if not ok or not all((tensors[name] >= own).all() for name in ("left", "right")):
        raise TrainedError("the stored trees are none: their nodes do not fit each other")


def _within(numbers: Array, low: int, high: int) -> bool:
    return bool(((numbers >= low) & (numbers < high)).all())


def _needs_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise MissingExtraError("training needs scikit-learn: pip install 'lamina[apps]'") from None


def one_thread() -> Any:
    """A context in which products of matrices use one thread. These are small: on two cores that others used too, two
    threads that wait for each other took 20 times as long (5,452 x 384, 6 classes, 78 steps of L-BFGS: 8.5 s against
    0.4)."""
    _needs_sklearn()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


_LINEAR = _check_shapes(weight=("C", "D"), bias=("C",))

KINDS: dict[str, Kind] = {
    "logistic": Kind(_fit_logistic, _linear_scores, _LINEAR, (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
    "svm": Kind(_fit_svm, _linear_scores, _LINEAR, (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.1, 1.0)),
    "bayes": Kind(_fit_bayes, _bayes_scores, _check_shapes(mean=("C", "D"), variance=("C", "D"), prior=("C",))),
    "forest": Kind(_fit_forest, _forest_scores, _check_forest),
    "centroid": Kind(_fit_centroid, _centroid_scores, _check_shapes(mean=("C", "D"))),
    "knn": Kind(_fit_knn, _knn_scores, _check_knn),
}
