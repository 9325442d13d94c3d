"""A class for each text (or other unit), from its vector at a layer or mix.

Comes in: `Embeddings` or a `Dataset`, and a label for each row. Goes out: a `Classifier` with its predictions on rows
that it had not seen (`Training`), and its `Predictions` of other data. One label a row: several at once are not
offered. Shapes: U units, N of them with a label, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.classify.calibration import fit_temperature, log_loss, softmax
from lamina.apps.classify.kinds import KINDS, Array, Float32, Float64, Int64, one_thread
from lamina.apps.folds import dealt
from lamina.apps.labels import Labels, numbered
from lamina.apps.mix import Data, Layer, usable
from lamina.apps.standard import Standard
from lamina.apps.trained import Place, Trained, place_of, read_trained, tensor, write_trained
from lamina.errors import SpecError, TrainedError

FOLDS = 5
FEWEST = 10  # labelled rows; of fewer, none is spared to calibrate on

OnFit = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a classifier says of units.

    units          the units table, [U] rows.
    labels         [C] the names of the classes.
    probabilities  float64 [U, C]; NaN where a unit says nothing (an empty text): it has no prediction.
    """

    units: pa.Table
    labels: tuple[str, ...]
    probabilities: Float64

    def __len__(self) -> int:
        return len(self.probabilities)

    @property
    def names(self) -> Labels:
        """[U] the likeliest class of each unit; None where there is no prediction."""
        best = np.nan_to_num(self.probabilities).argmax(axis=1)
        return [self.labels[k] if there else None for k, there in zip(best, self.there, strict=True)]

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        """[U] whether there is a prediction."""
        found: npt.NDArray[np.bool_] = ~np.isnan(self.probabilities[:, 0])
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A trained classifier; `train_classifier` makes one.

    kind         a name of `KINDS`.
    temperature  by which scores are divided before they become probabilities.
    about        its options, what it was trained on and what it scored on rows held out, as JSON values.
    """

    place: Place
    labels: tuple[str, ...]
    kind: str
    temperature: float
    standard: Standard
    tensors: Mapping[str, Array]
    about: Mapping[str, Any]

    def __repr__(self) -> str:
        place = self.place
        return f"Classifier({self.kind}, {len(self.labels)} classes; layer {place.layer}, pool {place.spec.pool})"

    def predict(self, data: Data) -> Predictions:
        """The probabilities of each row. Raises SpecError where the data does not hold the layers."""
        vectors = self.place.mix.vectors(data)
        there = usable(data.units, vectors)
        probabilities = np.full((len(vectors), len(self.labels)), np.nan)
        if there.any():
            scores = KINDS[self.kind].scores(self.tensors, self.standard.apply(vectors[there]))
            probabilities[there] = softmax(scores, self.temperature)
        return Predictions(data.units, self.labels, probabilities)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write it into a folder that is new or empty, or with `overwrite` in place of another. Raises TrainedError."""
        tensors = {f"{self.kind}.{name}": tensor for name, tensor in self.tensors.items()}
        tensors |= {"mean": self.standard.mean, "scale": self.standard.scale}
        about = {**self.about, "kind": self.kind, "temperature": self.temperature}
        write_trained(folder, Trained("classify", self.place, self.labels, about, tensors), overwrite=overwrite)


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A classifier, and how its like did on rows held out in turn, which tells what to expect of it.

    held_out  the predictions of labelled rows by classifiers that had not seen them; None where there were too few
              rows.
    labels    the true labels of those rows.
    """

    classifier: Classifier
    held_out: Predictions | None
    labels: Labels


def read_classifier(folder: str | Path) -> Classifier:
    """The inverse of `Classifier.save`. Raises TrainedError for what is not there, damaged or no classifier."""
    found = read_trained(folder, app="classify")
    kind, temperature = found.about.get("kind"), found.about.get("temperature")
    if kind not in KINDS or not isinstance(temperature, float) or not temperature > 0:
        raise TrainedError(
            f"{folder} has the kind {kind!r} and the temperature {temperature!r}, which mean nothing here"
        )
    mean = tensor(found, "mean", None)
    standard = Standard(mean, tensor(found, "scale", len(mean)))
    prefix = f"{kind}."
    tensors = {name.removeprefix(prefix): part for name, part in found.tensors.items() if name.startswith(prefix)}
    KINDS[kind].check(tensors, len(mean), len(found.labels))
    return Classifier(found.place, found.labels, kind, temperature, standard, tensors, found.about)


def train_classifier(
    data: Data,
    labels: Labels,
    *,
    layer: Layer = -1,
    kind: str = "logistic",
    strength: float | None = None,
    groups: Sequence[object] | None = None,
    folds: int = FOLDS,
    place: Place | None = None,
    on_fit: OnFit | None = None,
) -> Training:
    """Train a classifier on the rows of `data` and their labels [U]; a row without one (None) or without a vector is
    left out.

    layer     a layer's number or a mix's word.
    kind      logistic, svm, bayes, forest, centroid or knn.
    strength  how weakly the weights of `logistic` and `svm` are held down (scikit-learn's C); None: what gives the rows
              of each fold, by those outside it, the best probabilities.
    groups    [U] rows of one group are never parted by the folds, such as reviews by one author; None: rows of one
              text, such as its sentences.
    folds     how many parts the rows are dealt into, to choose the strength and the temperature.
    place     where the vectors come from, if `data` does not say so itself (a Dataset does).

    Raises SpecError for one class only, labels that are all missing, a kind that there is not, and a strength that is
    not above 0 or is not for that kind.
    """
    _check(kind, strength)
    if len(labels) != len(data):
        raise SpecError(f"{len(labels):,} labels for {len(data):,} rows")
    where = place or place_of(data, layer)
    vectors = where.mix.vectors(data)
    has_label = np.array([label is not None for label in labels], bool)
    rows = np.flatnonzero(has_label & usable(data.units, vectors))
    names = tuple(sorted({label for row in rows.tolist() if (label := labels[row]) is not None}))
    if len(names) < 2:
        only = f"all have the label {names[0]!r}" if names else f"none of {len(data):,} rows has a label and a vector"
        raise SpecError(f"there is nothing to learn: {only}")
    given = _Given(vectors[rows], numbered([labels[row] for row in rows.tolist()], names), len(names), kind)
    alike = data.units["text_id"].to_numpy() if groups is None else np.array([str(group) for group in groups])
    fold = _folds(given, alike[rows], folds)
    with one_thread():
        tried = [] if fold is None else _try(given, fold, strength, on_fit)
        best = min(tried, key=lambda one: one.loss) if tried else None
        chosen = best.strength if best else strength or KINDS[kind].strengths[len(KINDS[kind].strengths) // 2]
        if on_fit is not None:
            on_fit(f"{kind} on all {len(rows):,} rows")
        standard = Standard.of(given.vectors)
        tensors = KINDS[kind].fit(standard.apply(given.vectors), given.classes, chosen)
    about = _about(given, tried, chosen, n_left_out=len(data) - len(rows))
    classifier = Classifier(where, names, kind, best.temperature if best else 1.0, standard, tensors, about)
    if best is None:
        return Training(classifier, None, [])
    units = data.units.take(pa.array(rows))
    return Training(classifier, Predictions(units, names, best.probabilities), [labels[row] for row in rows.tolist()])


def _check(kind: str, strength: float | None) -> None:
    if kind not in KINDS:
        raise SpecError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if strength is not None and not 0 < strength < inf:
        raise SpecError(f"strength must be a number above 0, not {strength:g}")
    if strength is not None and len(KINDS[kind].strengths) == 1:
        raise SpecError(f"strength holds weights down, and {kind} has none: leave it out")


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """What is learnt from: vectors [N, D], and classes [N] 0 .. C - 1."""

    vectors: Float32
    classes: Int64
    n_classes: int
    kind: str

    def scores(self, seen: npt.NDArray[np.bool_], strength: float) -> Float64:
        """[N', C] of the rows not seen, by a classifier of those seen; minus infinity for a class that it did not
        see."""
        standard = Standard.of(self.vectors[seen])
        present, classes = np.unique(self.classes[seen], return_inverse=True)
        kind = KINDS[self.kind]
        scores = np.full((int((~seen).sum()), self.n_classes), -np.inf)
        if len(present) == 1:
            scores[:, present] = 0
            return scores
        tensors = kind.fit(standard.apply(self.vectors[seen]), classes, strength)
        scores[:, present] = kind.scores(tensors, standard.apply(self.vectors[~seen]))
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """A strength, and what came out on rows held out: probabilities [N, C] at the best temperature."""

    strength: float
    temperature: float
    loss: float
    accuracy: float
    probabilities: Float64


def _folds(given: _Given, alike: Array, folds: int) -> Int64 | None:
    """[N] the fold of each row; None where there are too few rows, or groups, to hold any out: of no label could a
    classifier that had not seen those held out know anything."""
    group = np.unique(alike, return_inverse=True)[1]
    folds = min(folds, int(group.max()) + 1)
    if len(alike) < FEWEST or folds < 2:
        return None
    fold = dealt(given.classes, folds=folds, groups=group)
    n_folds_of = np.bincount(np.unique(np.stack([given.classes, fold]), axis=1)[0])
    return fold if n_folds_of.max() > 1 else None


def _try(given: _Given, fold: Int64, strength: float | None, on_fit: OnFit | None) -> list[_Tried]:
    """Each strength, from the strongest hold on, until one gives worse probabilities than the one before."""
    tried: list[_Tried] = []
    for one in KINDS[given.kind].strengths if strength is None else (strength,):
        if on_fit is not None:
            on_fit(f"{given.kind} {one:g}, {int(fold.max()) + 1} folds")
        scores = np.empty((len(fold), given.n_classes))
        for k in range(int(fold.max()) + 1):
            scores[fold == k] = given.scores(fold != k, one)
        tried.append(_judged(scores, given.classes, one))
        if len(tried) > 1 and tried[-1].loss > tried[-2].loss:
            break
    return tried


def _judged(scores: Float64, classes: Int64, strength: float) -> _Tried:
    """A class that a fold did not see cannot be foretold by it: such rows say nothing of the temperature."""
    known = np.isfinite(scores[np.arange(len(classes)), classes])
    temperature = fit_temperature(scores[known], classes[known])
    probabilities = softmax(scores, temperature)
    accuracy = float((probabilities.argmax(axis=1) == classes).mean())
    return _Tried(strength, temperature, log_loss(probabilities[known], classes[known]), accuracy, probabilities)


def _about(given: _Given, tried: Sequence[_Tried], strength: float, *, n_left_out: int) -> dict[str, Any]:
    return {
        "strength": strength,
        "tried": [{"strength": one.strength, "log_loss": one.loss, "accuracy": one.accuracy} for one in tried],
        "n": len(given.classes),
        "n_left_out": n_left_out,
    }
