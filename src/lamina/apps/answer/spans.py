"""Answers: the part of a passage that answers a question.

Where a checkpoint has a head for it, the span of tokens with the largest sum of its start's and end's logits (Devlin et
al. 2019, section 4.2); else the sentence that is most similar to the question. Comes in: units of passages and what a
head or a layer says of them. Shapes: Q questions, U units, D width, T tokens of a passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.search.exact import Float32, Int64, pair_scores, prepared
from lamina.errors import SpecError

LONGEST = 30  # tokens of an answer at most, as in the authors' own program


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a passage answers: its characters start to end - 1, and how good that is (a sum of logits, or a cosine)."""

    text: str
    start: int
    end: int
    score: float


def best_span(starts: Float32, ends: Float32, *, longest: int = LONGEST) -> tuple[int, int, float]:
    """First and last token, and their logits' sum, of the best span among the tokens [T] of a passage: the end not
    before the start, at most `longest` tokens. The first of equal ones; NaN is never taken.

    Raises SpecError where there is no token.
    """
    best = (-np.inf, 0, 0)  # the sum, then the places, backwards: so the first of equal ones is the largest
    for length in range(min(longest, starts.size)):
        sums = starts[: starts.size - length] + ends[length:]
        if not np.isnan(sums).all():
            first = int(np.nanargmax(sums))
            best = max(best, (float(sums[first]), -first, -first - length))
    if best[0] == -np.inf:
        raise SpecError("a passage without tokens has no span")
    return -best[1], -best[2], best[0]


def head_answers(units: pa.Table, values: Float32, passages: Sequence[str]) -> list[Answer]:
    """The answer in each passage, by what a question-answering head says of the pairs (question, passage).

    units, values  of `Head.logits`: the tokens of all pairs, and the logits [U, 2] of start and end.
    """
    number, side = units.column("text_id").to_numpy(), units.column("side").to_numpy()
    special = np.asarray(units.column("special"), np.bool_)
    start, end = units.column("start").to_numpy(), units.column("end").to_numpy()
    answers = []
    for pair, passage in enumerate(passages):
        rows = np.flatnonzero((number == pair) & (side == 1) & ~special)
        if not rows.size:
            answers.append(Answer("", 0, 0, float("-inf")))
            continue
        first, last, score = best_span(values[rows, 0], values[rows, 1])
        low, high = int(start[rows[first]]), int(end[rows[last]])
        answers.append(Answer(passage[low:high], low, high, score))
    return answers


@dataclass(frozen=True, slots=True, eq=False)
class Sentences:
    """The sentences of some passages: their units table (its `text_id` is the passage's number) and vectors [U, D]."""

    units: pa.Table
    vectors: Float32

    def answers(self, questions: Float32, passages: npt.ArrayLike) -> list[Answer]:
        """For each question [Q, D], the sentence of its passage [Q] with the largest cosine; the first of equal ones.

        A passage without a sentence gives an empty answer.
        """
        wanted = np.asarray(passages, np.int64)
        number = self.units.column("text_id").to_numpy()
        said = np.flatnonzero(~np.isnan(self.vectors[:, 0]))
        first, last = _ranges(number[said], wanted)
        query = np.repeat(np.arange(wanted.size), last - first)
        row = said[_runs(first, last)]
        ready, held = prepared(np.asarray(questions, np.float32), "cosine"), prepared(self.vectors, "cosine")
        best = _best_rows(wanted.size, query, row, pair_scores(ready, held, query, row))
        units = self.units.select(["surface", "start", "end"]).take(
            pa.array([row for row, _ in best if row >= 0], pa.int64())
        )
        found = iter(units.to_pylist())
        return [_answer(next(found), score) if row >= 0 else Answer("", 0, 0, score) for row, score in best]


def _ranges(number: Int64, wanted: Int64) -> tuple[Int64, Int64]:
    """Where the units of each wanted passage begin and end; the units stand in order of their passages."""
    return np.searchsorted(number, wanted, side="left"), np.searchsorted(number, wanted, side="right")


def _runs(first: Int64, last: Int64) -> Int64:
    """first[0], …, last[0] - 1, first[1], …"""
    counts = last - first
    runs: Int64 = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    return runs


def _best_rows(n: int, query: Int64, row: Int64, score: npt.NDArray[np.float64]) -> list[tuple[int, float]]:
    best = [(-1, float("-inf"))] * n
    for q, r, s in zip(query.tolist(), row.tolist(), score.tolist(), strict=True):
        if s > best[q][1]:
            best[q] = (r, s)
    return best


def _answer(unit: dict[str, object], score: float) -> Answer:
    return Answer(str(unit["surface"]), int(str(unit["start"])), int(str(unit["end"])), score)
