"""What a probe found: scores by layer, pool and mix, what they must beat, and what that means in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lamina.apps.mix import Mix
from lamina.apps.winner import Winner

LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Row:
    """The score of one layer, or several as one, in one pool.

    layer     its number; of a mix its layers with commas; `combined` where the data holds no others.
    combine   `none`, `mean`, `sum`, `concat`, weights, or `learned`.
    mix       the word that other apps take for it.
    top       the highest layer that must be run.
    low, high the 95 % interval of the score.
    scores    the other metrics that fit.
    behind    how far below the best row.
    noise     how large such a difference may be by chance: half its 95 % interval's width.
    control   the score of a probe with labels drawn by lot for each word (or text); of classes the accuracy, whatever
              the metric: labels drawn word by word make no spans.
    random    the score of the same layer and pool of the same model with random weights.
    """

    layer: int | str
    pool: str
    combine: str
    mix: str
    top: int
    score: float
    low: float
    high: float
    scores: Mapping[str, float] = field(default_factory=dict)
    behind: float = 0.0
    noise: float = 0.0
    control: float | None = None
    random: float | None = None

    @property
    def selectivity(self) -> float | None:
        """How much of the score (of classes, of the accuracy) is not the probe's memory (Hewitt and Liang 2019)."""
        return None if self.control is None else self.scores.get("accuracy", self.score) - self.control

    @property
    def name(self) -> str:
        """For people: `layer 4`, `mean of layers 3,4,5,6`."""
        if isinstance(self.layer, int):
            return f"layer {self.layer}"
        if self.combine == "none":
            return self.layer
        how = {"concat": "concatenation", LEARNED: "learned mix"}.get(self.combine, self.combine)
        how = how if how.replace(" ", "").isalpha() else "weighted sum"
        return f"{how} of layers {self.layer}"


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the learning curve: the mean score of some draws of so many labelled units, the lowest and highest."""

    n: int
    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Test:
    """The choice, scored once on units that no probe and no choice has seen; `n_unseen` of them have a class that the
    probe never learnt, and count as wrong."""

    n: int
    score: float
    low: float
    high: float
    scores: Mapping[str, float]
    left_out: Mapping[str, int]
    n_unseen: int = 0


@dataclass(frozen=True, slots=True)
class Confusion:
    """Units of one class that were taken for another; `rows` are some of them."""

    true: str
    predicted: str
    n: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that a probe found.

    metric     what `score` is; higher is better.
    classes    class -> members; empty for numbers.
    how        how it was measured, in words.
    rows       every layer, pool and mix.
    n_layers   the highest layer that the data holds.
    baselines  name -> score, without any vector.
    choose     `best` or `cheapest`: which row the curve, the confusions and the test are of.
    shares     of the learned mix: layer -> its softmax weight.
    """

    metric: str
    n: int
    unit: str
    classes: Mapping[str, int]
    left_out: Mapping[str, int]
    how: str
    rows: tuple[Row, ...]
    n_layers: int
    baselines: Mapping[str, float]
    choose: str = "best"
    shares: Mapping[int, float] = field(default_factory=dict)
    curve: tuple[Point, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    test: Test | None = None

    @property
    def best(self) -> Row:
        """The row with the highest score; of equals the one that needs fewer layers."""
        return max(self.rows, key=lambda row: (row.score, -row.top))

    @property
    def cheapest(self) -> Row:
        """Of the rows no farther behind the best than the noise, the best of those that need the fewest layers."""
        near = [row for row in self.rows if row.behind <= row.noise or row is self.best]
        fewest = min(row.top for row in near)
        return max((row for row in near if row.top == fewest), key=lambda row: row.score)

    @property
    def control_metric(self) -> str:
        """What `control` is."""
        return "accuracy" if self.classes else self.metric

    @property
    def chosen(self) -> Row:
        """The best row or the cheapest, as was asked for."""
        return self.cheapest if self.choose == "cheapest" else self.best

    @property
    def runner_up(self) -> Row | None:
        """The best row of another layer or mix than the best."""
        others = [row for row in self.rows if row.mix != self.best.mix]
        return max(others, key=lambda row: row.score, default=None)

    @property
    def last(self) -> Row | None:
        """The last layer, in the pool of the best."""
        return next((row for row in self.rows if row.layer == self.n_layers and row.pool == self.best.pool), None)

    def saved(self, row: Row) -> float:
        """The share of the encoder's layers that are never run, where only this row is asked for."""
        return 1 - row.top / self.n_layers if self.n_layers else 0.0

    def sentences(self) -> list[str]:
        """What it means: which layer wins, by how much, whether that is more than noise, and what is cheapest."""
        best = self.best
        said = [f"Best: {best.name}, pool {best.pool}: {self._scored(best)}."]
        compared = {row.mix: row for row in (self.runner_up, self.last) if row is not None and row.mix != best.mix}
        said += [self._compared(row) for row in compared.values()]
        said.append(self._cheapest())
        if self.baselines:
            known = ", ".join(f"{name} {score:.4f}" for name, score in self.baselines.items())
            said.append(f"Without any vector: {known}.")
        said += self._beside()
        if self.test is not None:
            of = f"{self.chosen.name}, pool {self.chosen.pool}, on {self.test.n:,} {self.unit}s never seen"
            unseen = f" ({self.test.n_unseen:,} of them of a class never learnt)" if self.test.n_unseen else ""
            said.append(f"Test: {of}{unseen}: {self._scored(self.test)}.")
        return said

    def json(self) -> dict[str, Any]:
        """As one JSON document."""
        values = asdict(self)
        values["rows"] = [_row_json(row) for row in self.rows]
        values["best"] = _row_json(self.best)
        values["cheapest"] = {**_row_json(self.cheapest), "saves": self.saved(self.cheapest)}
        values["summary"] = self.sentences()
        return values

    def winner(self, row: Row, *, model: str, label: str, special: str = "include") -> Winner:
        """A row, the one chosen, as what other apps take."""
        scores = {self.metric: row.score, "low": row.low, "high": row.high}
        if self.test is not None:
            scores["test"] = self.test.score
        return Winner(
            model=model, layer=row.mix, unit=self.unit, pool=row.pool, special=special, label=label, scores=scores
        )

    def _beside(self) -> list[str]:
        """Of the best row the control task and the random weights; of a learned mix, which has neither, the next."""
        said = []
        if controlled := [row for row in self.rows if row.control is not None]:
            row = max(controlled, key=lambda row: (row.score, -row.top))
            accuracy = "accuracy " if self.control_metric != self.metric else ""
            scored = f"{accuracy}{row.control:.4f}, so the selectivity is {row.selectivity:.4f}"
            said.append(f"Control task{self._of(row)}: {scored}.")
        if random := [row for row in self.rows if row.random is not None]:
            row = max(random, key=lambda row: (row.score, -row.top))
            said.append(f"The same model with random weights{self._of(row)}: {row.random:.4f}.")
        return said

    def _of(self, row: Row) -> str:
        return "" if row is self.best else f" of {row.name}, pool {row.pool}"

    def _scored(self, row: Row | Test) -> str:
        return f"{self.metric} {row.score:.4f} [{row.low:.4f}, {row.high:.4f}]"

    def _compared(self, row: Row) -> str:
        what = "more than" if row.behind > row.noise else "within"
        last = ", the last" if row is self.last else ""
        return (
            f"It is {row.behind:.4f} above {row.name} ({row.pool}{last}), {what} the noise of such a difference "
            f"(± {row.noise:.4f})."
        )

    def _cheapest(self) -> str:
        row = self.cheapest
        lost = f"{row.name}, pool {row.pool} ({row.behind:.4f} below, noise ± {row.noise:.4f})"
        said = "Nothing cheaper is within the noise" if row is self.best else f"Cheapest within the noise: {lost}"
        share = (
            f"; stopping there saves {self.saved(row):.0%} of the encoder's layers, and about that share of its time"
        )
        return said + (share if self.saved(row) > 0 else "") + "."


def _row_json(row: Row) -> dict[str, Any]:
    values = asdict(row)
    return {**values, "selectivity": row.selectivity}


def layer_of(mix: Mix) -> int | str:
    """What a row calls the layers of a mix."""
    if not mix.layers:
        return str(mix)
    return int(mix.layers) if mix.combine == "none" else mix.layers
