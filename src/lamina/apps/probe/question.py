"""A question about layers: the same rows and folds for every layer, pool and mix, so that only layers differ.

Comes in: units in one or several pools, labels, `Parts`. Goes out: predictions of rows by probes that never saw them,
and what is made of one choice: its learning curve, its confusions, its score on a test. Shapes: U units, N labelled
rows, C classes, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.folds import Parts, dealt
from lamina.apps.mix import Data, Mix, usable
from lamina.apps.probe.baselines import bag_of_words, commonest, of_type, types_of
from lamina.apps.probe.descent import Float32, Int64
from lamina.apps.probe.features import Bool, Dense, Layout
from lamina.apps.probe.labels import Labelled, labelled, tenths
from lamina.apps.probe.learned import learn
from lamina.apps.probe.linear import Targets, held_out
from lamina.apps.probe.scores import Examples, Judge, score, widening_of
from lamina.apps.probe.verdict import LEARNED, Confusion, Point, Row, Test
from lamina.errors import SpecError

Values = npt.NDArray[Any]
Views = Mapping[str, Data]

WHOLE = ("text", "pair")  # units of which a text has one
DRAWS = 3  # of each size on the learning curve
SMALLEST = 32  # rows on the learning curve
GROUPS = 4  # of rows, a fold, that its smallest size has at least
N_CONFUSIONS, N_EXAMPLES = 12, 3


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is to be found out; `lamina.apps.probe.asking` makes one.

    views     the same U units in each pool.
    surfaces  [N] what the rows stand for; `texts` [N] in which text.
    labels    of N units.
    groups    [N] rows of one number are never parted.
    parts     [N] what is never seen together.
    tested    [U] labels of units that are kept for the end, None for the others, and the groups that were given; or
              none at all.
    """

    views: Views
    unit: str
    surfaces: list[str]
    texts: Int64
    labels: Labelled
    groups: Int64
    parts: Parts
    metric: str
    folds: int
    seed: int
    tested: tuple[list[object], Sequence[object] | None] | None

    @property
    def asked(self) -> Bool:
        """[N] which rows are predicted."""
        return np.isin(self.parts.of, self.parts.held)

    @property
    def how(self) -> str:
        """How predictions are made, in words."""
        if self.parts.never:
            n = int(self.asked.sum())
            return f"a probe fitted on {self.asked.size - n:,} {self.unit}s and scored on the {n:,} of the dev part"
        return f"{self.parts.n_folds}-fold cross-validation over {self.asked.size:,} {self.unit}s"

    @property
    def n_classes(self) -> int:
        return len(self.labels.classes)

    @property
    def n_layers(self) -> int:
        """The highest layer held."""
        return max((max(data.layers, default=0) for data in self.views.values()), default=0)

    def held(self, data: Data, mix: Mix, values: Values | None = None, may_fit: Bool | None = None) -> Values:
        """[N] what probes say of the rows of held parts, of a mix of some data.

        values   [N] instead of the labels' own.
        may_fit  [N] rows that may be seen; None: all.
        """
        layout = Layout.of(self.parts, may_fit)
        scale = _Scale.of(self.labels.values if values is None else values, self.n_classes)
        features = Dense.of(mix.vectors(data, self.labels.rows[layout.order]))
        return scale.back(held_out(features, scale.targets(layout), layout, self.parts).scores)

    def learned(self, data: Data) -> tuple[Values, Mix, dict[int, float]]:
        """[N] what probes of a learned mix of all layers say, the mix, and each layer's share of it."""
        layout, scale = Layout.of(self.parts), _Scale.of(self.labels.values, self.n_classes)
        rows = self.labels.rows[layout.order]
        found = learn(
            lambda number: Mix(str(number)).vectors(data, rows), data.layers, scale.targets(layout), layout, self.parts
        )
        weights = ",".join(f"{weight:.6g}" for weight in found.weights)
        mix = Mix(",".join(map(str, data.layers)), weights)
        return scale.back(found.held.scores), mix, dict(zip(data.layers, found.shares, strict=True))

    def examples(self, values: Values | None = None) -> Examples:
        """What is predicted; `values` [N] instead of the labels' own."""
        truth = self.labels.values if values is None else values
        return Examples(truth, self.labels.classes, self.texts).some(self.asked)

    def judge(self) -> Judge:
        """Scores of the asked rows, with intervals."""
        widening = 1.0 if self.parts.never else widening_of(self.parts.n_folds)
        return Judge(self.metric, self.examples(), self.groups[self.asked], widening, self.seed)

    def score(self, predicted: Values, metric: str | None = None, values: Values | None = None) -> float:
        """The score of predictions [N] on the asked rows; `values` [N] instead of the labels' own."""
        return score(metric or self.metric, self.examples(values), predicted[self.asked])

    def others(self, predicted: Values) -> dict[str, float]:
        """The other metrics that fit."""
        return {name: self.score(predicted, name) for name in self.examples().fitting() if name != self.metric}

    def baselines(self) -> dict[str, float]:
        """Scores without any vector: what is commonest, and what the words say by themselves. The mean of all numbers
        is no baseline: its R² is 0, and it ranks nothing."""
        values, layout = self.labels.values, Layout.of(self.parts)
        scale = _Scale.of(values, self.n_classes)
        found = {"majority": commonest(values, self.n_classes, self.parts)} if self.n_classes else {}
        if self.unit in ("word", "token", "span"):
            name = "commonest label of each word" if self.n_classes else "mean of each word"
            found[name] = of_type(types_of(self.surfaces), values, self.n_classes, self.parts)
        else:
            said = bag_of_words(self.surfaces, scale.targets(layout), layout, self.parts)
            found |= {} if said is None else {"bag of words": scale.back(said)}
        return {name: self.score(predicted) for name, predicted in found.items()}

    def curve(self, row: Row) -> Iterator[Point]:
        """The score of a row's layer and pool by the number of labelled rows that its probes see, the smallest first.

        Each size halves the next; its rows are drawn by lot, whole groups at a time, in three ways.
        """
        data, mix = self.views[row.pool], Mix.parse(row.mix)
        seen = [~np.isin(self.parts.of, list(self.parts.unseen(held))) for held in self.parts.held]
        n_seen = float(np.mean([one.sum() for one in seen]))
        group = np.unique(self.groups, return_inverse=True)[1]
        n_groups = int(group.max()) + 1
        halved = min(n_seen / max(SMALLEST, 2 * self.n_classes), n_groups / (GROUPS * self.parts.n))
        for halvings in range(int(np.log2(max(1.0, halved))), 0, -1):
            scores, sizes = [], []
            for draw in range(DRAWS):
                place = np.random.default_rng([self.seed, draw]).permutation(n_groups)
                may_fit = (place < n_groups * 0.5**halvings)[group]
                sizes.append(np.mean([(one & may_fit).sum() for one in seen]))
                scores.append(self.score(self.held(data, mix, may_fit=may_fit)))
            yield Point(round(float(np.mean(sizes))), float(np.mean(scores)), min(scores), max(scores))
        yield Point(round(n_seen), row.score, row.score, row.score)

    def confusions(self, predicted: Values) -> tuple[Confusion, ...]:
        """What is most often taken for what, with the units of some; of numbers, those that are farthest off."""
        rows = np.flatnonzero(self.asked)
        truth, said = self.labels.values[rows], predicted[rows]
        name = self.labels.name
        if not self.n_classes:
            far = np.argsort(-np.abs(truth - said), kind="stable")[:N_CONFUSIONS]
            return tuple(Confusion(name(truth[k]), f"{said[k]:.4g}", 1, (int(self.labels.rows[rows[k]]),)) for k in far)
        wrong = np.flatnonzero(truth != said)
        pairs, which, count = np.unique(
            truth[wrong] * self.n_classes + said[wrong], return_inverse=True, return_counts=True
        )
        found = []
        for k in np.argsort(-count, kind="stable")[:N_CONFUSIONS].tolist():
            examples = self.labels.rows[rows[wrong[which == k][:N_EXAMPLES]]]
            true, other = divmod(int(pairs[k]), self.n_classes)
            found.append(Confusion(name(true), name(other), int(count[k]), tuple(examples.tolist())))
        return tuple(found)

    def test(self, row: Row, data: Data, labels: Sequence[object], groups: Sequence[object] | None = None) -> Test:
        """A row's layer and pool, fitted on all labelled rows and scored once on other units.

        labels  [U'] of the other units, None where there is none; a class not seen before counts as wrong.
        groups  [U'] rows of one value are resampled together, for the interval; None: as `ask` has them.
        Raises SpecError where none has a label.
        """
        mix, values = Mix.parse(row.mix), self.labels.values
        found = labelled(labels, usable=usable_units(data), task=self.labels.task, classes=self.labels.classes or None)
        strata = values if self.n_classes else tenths(values)
        folds = min(self.folds, max(2, np.unique(self.groups).size))  # fewer groups suffice where the folds are given
        of = np.concatenate([
            dealt(strata, folds=folds, groups=self.groups, seed=self.seed), np.full(found.rows.size, folds)
        ])  # fmt: skip
        parts = Parts(of, (folds,), (folds,))
        layout, scale = Layout.of(parts), _Scale.of(values, self.n_classes, n_more=found.rows.size)
        vectors = np.concatenate([mix.vectors(self.views[row.pool], self.labels.rows), mix.vectors(data, found.rows)])
        said = scale.back(held_out(Dense.of(vectors[layout.order]), scale.targets(layout), layout, parts).scores)
        clusters = groups_of(data.units, self.unit, groups)[found.rows]
        return self._tested(found, said[values.size :], data.units, clusters)

    def _tested(self, found: Labelled, said: Values, units: pa.Table, clusters: Int64) -> Test:
        examples = Examples(found.values, found.classes, units["text_id"].to_numpy()[found.rows])
        judge = Judge(self.metric, examples, clusters, seed=self.seed)
        scores = {name: score(name, examples, said) for name in (self.metric, *examples.fitting())}
        value = scores.pop(self.metric)
        low, high = judge.interval(value, judge.spreads([said])[:, 0])
        n_unseen = int((found.values >= self.n_classes).sum()) if self.n_classes else 0
        return Test(found.rows.size, value, low, high, scores, found.left_out, n_unseen)


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """Labels as targets and scores as labels: numbers are standardised, so that one range of penalties suits all.

    values  [N] of all rows, those without a label last.
    """

    values: Values
    n_classes: int
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, values: Values, n_classes: int, n_more: int = 0) -> _Scale:
        more = np.concatenate([values, np.zeros(n_more, values.dtype)])
        if n_classes:
            return cls(more, n_classes)
        return cls(more, 0, float(values.mean()), float(values.std()) or 1.0)

    def targets(self, layout: Layout) -> Targets:
        values = self.values[layout.order]
        return Targets(
            values if self.n_classes else ((values - self.mean) / self.deviation).astype(np.float32), self.n_classes
        )

    def back(self, scores: Float32) -> Values:
        """[N] labels of scores [N, C]."""
        if self.n_classes:
            return np.where(np.isnan(scores[:, 0]), -1, scores.argmax(axis=1)).astype(np.int64)
        return scores[:, 0].astype(np.float64) * self.deviation + self.mean


def mixes_asked(data: Data, words: Sequence[str]) -> list[Mix]:
    """Every layer that the data holds, then the mixes of `words` but the learned one, with the layers' own numbers."""
    if not data.layers:
        return [Mix("")]
    layers = [Mix(str(number)) for number in data.layers]
    return [*layers, *(Mix.parse(word).numbered(data.layers) for word in words if word != LEARNED)]


def usable_units(data: Data) -> Bool:
    """[U] which units have a vector."""
    return usable(data.units, data.layer(data.layers[0]) if data.layers else data.combined)


def groups_of(units: pa.Table, unit: str, groups: Sequence[object] | None = None) -> Int64:
    """[U] the number of the group that each row belongs to: of words their text, of texts those that are the same."""
    if groups is None and unit not in WHOLE:
        return np.asarray(units["text_id"].to_numpy(), np.int64)
    if groups is not None and len(groups) != units.num_rows:
        raise SpecError(f"{len(groups)} groups for {units.num_rows} units: give one for each unit")
    return types_of(units["surface"].to_pylist() if groups is None else [str(value) for value in groups])
