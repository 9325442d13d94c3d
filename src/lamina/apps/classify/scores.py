"""How well units are classified: by class, what is taken for what with example texts, and how far probabilities
hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lamina.apps.classify.calibration import Bin, bins_of, calibration_error, log_loss
from lamina.apps.classify.classifier import Predictions
from lamina.apps.labels import Labels, numbered
from lamina.apps.spans import Score
from lamina.errors import SpecError

EXAMPLES = 3  # texts of each confusion, those it was surest of
CONFUSIONS = 20  # the commonest
CHARACTERS = 160  # of an example
NOTHING = "(no prediction)"


@dataclass(frozen=True, slots=True)
class Mistake:
    """`n` units of the class `gold` that were taken for `found`; the texts of some, the surest first."""

    gold: str
    found: str
    n: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ClassScores:
    """What predictions score against labels that are known.

    n           rows with a label; one without a prediction counts as wrong.
    n_left_out  rows without a label.
    n_nothing   rows with a label and no prediction (an empty text).
    classes     name -> score, of every class that is known or was found.
    macro_f1    the mean of F1 over the classes that the data has or that were found, as scikit-learn has it.
    log_loss, calibration_error, bins   of rows with a prediction, the label of which was learnt; 0 and none without
                                        such.
    unseen      labels that the classifier never learnt -> how many rows have them. They count as wrong.
    counts      [C, C'] gold by found, of `names` each.
    """

    n: int
    n_left_out: int
    n_nothing: int
    accuracy: float
    macro_f1: float
    classes: dict[str, Score]
    log_loss: float
    calibration_error: float
    bins: tuple[Bin, ...]
    unseen: dict[str, int]
    names: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    mistakes: tuple[Mistake, ...]


def score_classes(predictions: Predictions, gold: Labels) -> ClassScores:
    """Score predictions against the known labels [U]; rows without one (None) are left out.

    Raises SpecError where no row has a label.
    """
    if len(gold) != len(predictions):
        raise SpecError(f"{len(gold):,} labels for {len(predictions):,} rows")
    rows = np.array([row for row, label in enumerate(gold) if label is not None], np.int64)
    if not rows.size:
        raise SpecError("no row has a label, so nothing can be scored")
    truth = [label for label in gold if label is not None]
    found = [name or NOTHING for name in (predictions.names[row] for row in rows.tolist())]
    right = Counter(mine for mine, theirs in zip(truth, found, strict=True) if mine == theirs)
    n, n_found = Counter(truth), Counter(found)
    names = tuple(dict.fromkeys([*sorted(set(predictions.labels) | set(truth)), *sorted(n_found)]))
    classes = {name: Score(n[name], n_found[name], right[name]) for name in names if name != NOTHING}
    place = numbered(truth, predictions.labels)
    judged = (place >= 0) & predictions.there[rows]
    likely = predictions.probabilities[rows[judged]]
    bins = bins_of(likely.max(axis=1), likely.argmax(axis=1) == place[judged]) if judged.any() else ()
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (numbered(truth, names), numbered(found, names)), 1)
    return ClassScores(
        len(truth), len(gold) - len(truth), n_found[NOTHING],
        right.total() / len(truth),
        float(np.mean([one.f1 for one in classes.values() if one.n or one.n_found])), classes,
        log_loss(likely, place[judged]) if judged.any() else 0.0, calibration_error(bins), bins,
        dict(Counter(label for label in truth if label not in predictions.labels).most_common()),
        names, counts, _mistakes(predictions, rows, truth, found),
    )  # fmt: skip


def _mistakes(
    predictions: Predictions, rows: npt.NDArray[np.int64], truth: list[str], found: list[str]
) -> tuple[Mistake, ...]:
    of_pair: dict[tuple[str, str], list[int]] = {}
    for row, mine, theirs in zip(rows.tolist(), truth, found, strict=True):
        if mine != theirs:
            of_pair.setdefault((mine, theirs), []).append(row)
    commonest = sorted(of_pair.items(), key=lambda one: (-len(one[1]), one[0]))[:CONFUSIONS]
    sureness = np.nan_to_num(predictions.probabilities).max(axis=1)
    surfaces = predictions.units.column("surface")
    mistakes = []
    for (mine, theirs), there in commonest:
        surest = sorted(there, key=lambda row: -sureness[row])[:EXAMPLES]
        mistakes.append(Mistake(mine, theirs, len(there), tuple(_short(surfaces[row].as_py()) for row in surest)))
    return tuple(mistakes)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 2]} …"
