"""Which layer, which pool, for this label? Every one gets a linear probe, and the answer says what is more than noise.

Comes in: the same units in one or several pools (`Data` by the pool's name) and a label for each unit. Goes out: an
`Answer`. Shapes: U units, N of them labelled and not kept for a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lamina.apps.mix import Data, Mix
from lamina.apps.probe.asking import FOLDS, SAMPLE, ask
from lamina.apps.probe.baselines import control_values, types_of
from lamina.apps.probe.labels import Task
from lamina.apps.probe.question import Question, Values, Views, mixes_asked
from lamina.apps.probe.verdict import LEARNED, Answer, Row, layer_of
from lamina.errors import SpecError

MIXES = {"mean:-4..-1": 4, "concat:-4..-1": 4, LEARNED: 2}  # word -> layers that the data must hold
WORKERS = 2  # layers in float32 at a time

Key = tuple[str, Mix]  # the pool, and which layers
OnRow = Callable[[str, str], None]


def probe(
    views: Views | Data,
    labels: Sequence[object],
    *,
    unit: str | None = None,
    mixes: Sequence[str] | None = None,
    task: Task | None = None,
    metric: str | None = None,
    folds: int = FOLDS,
    groups: Sequence[object] | None = None,
    split: Sequence[object] | None = None,
    drop_rare: bool = False,
    sample: int = SAMPLE,
    random: Views | None = None,
    threads: int = WORKERS,
    seed: int = 0,
) -> Answer:
    """Score every layer, pool and mix by a linear probe that never saw what it is scored on.

    views    the same units in several pools, by the pool's name; or one `Embeddings` or `Dataset`.
    labels   [U] a class or a number for each unit; None where there is none.
    mixes    words of several layers as one, or `learned`; None: `MIXES`, where the data holds four layers.
    random   the same units, in the same pools, by the same model with random weights.
    threads  how many may compute.

    The other options are those of `ask`. Raises SpecError, and MissingExtraError without scikit-learn.
    """
    question = ask(
        views, labels, unit=unit, task=task, metric=metric, folds=folds, groups=groups, split=split,
        drop_rare=drop_rare, sample=sample, seed=seed,
    )  # fmt: skip
    return answer(question, mixes=mixes, random=random, threads=threads)


def answer(
    question: Question,
    *,
    mixes: Sequence[str] | None = None,
    random: Views | None = None,
    control: bool = True,
    curve: bool = True,
    choose: Literal["best", "cheapest"] = "best",
    threads: int = WORKERS,
    on_row: OnRow | None = None,
) -> Answer:
    """Answer a question; `probe` is `ask` and this.

    control  whether to probe for labels drawn by lot too.
    curve    whether to draw the learning curve of the row chosen.
    choose   which row that is, and is tested: the best, or the cheapest within the noise.
    on_row   hears the pool and the layer of each probe that is done.
    """
    words = _words(question, mixes)
    with _computing(threads) as workers:
        held = _Held(question, workers, on_row or _unheard)
        predicted = held.all(words)
        pool = max(predicted, key=lambda key: question.score(predicted[key]))[0]
        shares: dict[int, float] = {}
        if LEARNED in words:
            said, mix, shares = question.learned(question.views[pool])
            predicted[pool, mix] = said
        rows = _judged(question, predicted, learned=bool(shares))
        if control:
            values = control_values(types_of(question.surfaces), question.labels.values, seed=question.seed)
            scores = held.scores(words, pool, question.views, values, "accuracy" if question.n_classes else None)
            rows = [replace(row, control=scores.get((row.pool, row.mix))) for row in rows]
        if random is not None:
            scores = held.scores(words, pool, random)
            rows = [replace(row, random=scores.get((row.pool, row.mix))) for row in rows]
        found = _answer(question, rows, shares, choose)
        row = found.chosen
        said = next(said for (pool, mix), said in predicted.items() if (pool, str(mix)) == (row.pool, row.mix))
        return replace(
            found,
            confusions=question.confusions(said),
            curve=tuple(question.curve(row)) if curve else (),
            test=None if question.tested is None else question.test(row, question.views[row.pool], *question.tested),
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """Predictions of held parts, two layers at a time."""

    question: Question
    workers: ThreadPoolExecutor
    on_row: OnRow

    def all(self, words: Sequence[str]) -> dict[Key, Values]:
        """Of every layer and mix, in every pool."""
        keys = [(pool, mix) for pool, data in self.question.views.items() for mix in mixes_asked(data, words)]
        return self._of(keys, self.question.views, None)

    def scores(
        self, words: Sequence[str], pool: str, views: Views, values: Values | None = None, metric: str | None = None
    ) -> dict[tuple[str, str], float]:
        """Of every layer and mix in one pool of some views, for other labels [N] and by another metric perhaps:
        (pool, mix) -> score."""
        keys = [(pool, mix) for mix in mixes_asked(self.question.views[pool], words)]
        found = self._of(keys, views, values)
        return {(pool, str(mix)): self.question.score(said, metric, values) for (_, mix), said in found.items()}

    def _of(self, keys: list[Key], views: Views, values: Values | None) -> dict[Key, Values]:
        def one(key: Key) -> Values:
            found = self.question.held(views[key[0]], key[1], values)
            self.on_row(key[0], str(key[1]))
            return found

        return dict(zip(keys, self.workers.map(one, keys), strict=True))


def _unheard(pool: str, layer: str) -> None:
    """Nobody asked what is done."""


@contextmanager
def _computing(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Workers that share `threads` among them; the matrix library would start as many for each."""
    from threadpoolctl import threadpool_limits

    n_workers = min(WORKERS, max(1, threads))
    with threadpool_limits(max(1, threads // n_workers), user_api="blas"), ThreadPoolExecutor(n_workers) as workers:
        yield workers


def _words(question: Question, mixes: Sequence[str] | None) -> list[str]:
    """The mixes that are asked for; where none are, those that the data has layers for."""
    n_layers = min(len(data.layers) for data in question.views.values())
    if mixes is None:
        return [word for word, least in MIXES.items() if n_layers >= least]
    if n_layers == 0 and mixes:
        raise SpecError("the layers were combined when they were extracted: there is nothing to mix")
    return list(mixes)


def _judged(question: Question, predicted: dict[Key, Values], *, learned: bool) -> list[Row]:
    """A row for each set of predictions [N], with intervals and with how far it is behind the best."""
    judge, asked = question.judge(), question.asked
    spreads = judge.spreads([said[asked] for said in predicted.values()])
    rows = []
    for k, ((pool, mix), said) in enumerate(predicted.items()):
        value = question.score(said)
        low, high = judge.interval(value, spreads[:, k])
        rows.append(Row(
            layer=layer_of(mix), pool=pool, combine=mix.combine, mix=str(mix), score=value, low=low, high=high,
            top=max(mix.numbers(question.views[pool].layers)) if mix.layers else question.n_layers,
            scores=question.others(said),
        ))  # fmt: skip
    if learned:
        rows[-1] = replace(rows[-1], combine=LEARNED)
    best = max(range(len(rows)), key=lambda k: (rows[k].score, -rows[k].top))
    return [
        replace(row, behind=rows[best].score - row.score, noise=judge.noise(spreads[:, best], spreads[:, k]))
        for k, row in enumerate(rows)
    ]


def _answer(question: Question, rows: Sequence[Row], shares: dict[int, float], choose: str) -> Answer:
    labels = question.labels
    members = np.bincount(labels.values, minlength=len(labels.classes)).tolist() if labels.classes else []
    return Answer(
        metric=question.metric,
        n=labels.rows.size,
        unit=question.unit,
        classes=dict(zip(labels.classes, members, strict=True)),
        left_out=labels.left_out,
        how=question.how,
        rows=tuple(rows),
        n_layers=question.n_layers,
        baselines=question.baselines(),
        choose=choose,
        shares=shares,
    )
