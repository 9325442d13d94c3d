"""A student beside its teacher, layer by layer: how alike their states are on texts held out, before and after; and
what a linear probe finds in each of their layers, where tasks are given.

Shapes: T tokens, D hidden width, L layers of the student, N of the teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lamina.engine.torch_encoder import Named, TorchEncoder
from lamina.model.weights import FloatArray
from lamina.train.batching import in_batches
from lamina.train.loop import CPU_TOKENS
from lamina.train.passages import Passages
from lamina.train.start import Start
from lamina.train.watch import Row, Task, extractor_of

COMPARED = 1_024  # passages held out, at most, spread evenly


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Who is compared on what. `match`: the teacher's layer that each of the student's is to be like."""

    teacher: Start
    student: Start
    match: tuple[int, ...]
    held_out: Passages | None
    tasks: tuple[Task, ...]


def compare(comparison: Comparison, values: Mapping[str, FloatArray], *, device: str = "cpu") -> dict[str, Any]:
    """The report as one JSON document: under `rows` the student's layers, each with the layer that it is to be like,
    cosines of their tokens' states and of their texts' means, `before` it learnt and after; under `teacher_rows` what
    probes find in the teacher's layers. `values` are the finished encoder's."""
    rows: list[Row] = [{"layer": k, "teacher_layer": layer} for k, layer in enumerate((0, *comparison.match))]
    if comparison.held_out is not None:
        before = _cosines(comparison, comparison.student.weights, device)
        after = _cosines(comparison, values, device)
        for row in rows:
            row |= {**{f"{name}_before": one for name, one in before[row["layer"]].items()}, **after[row["layer"]]}
    teacher_rows: list[Row] = [{"layer": k} for k in range(comparison.teacher.architecture.n_layers + 1)]
    if comparison.tasks:
        theirs = _probed(comparison.tasks, comparison.teacher, _values(comparison.teacher), device)
        mine = _probed(comparison.tasks, comparison.student, values, device)
        before_it = _probed(comparison.tasks, comparison.student, _values(comparison.student), device)
        for row in rows:
            row["probes"] = mine[row["layer"]]
            row["probes_before"] = before_it[row["layer"]]
        for row in teacher_rows:
            row["probes"] = theirs[row["layer"]]
    return {"teacher_name": comparison.teacher.checkpoint.name, "rows": rows, "teacher_rows": teacher_rows}


def _cosines(comparison: Comparison, values: Named, device: str) -> list[dict[str, float]]:
    """For each of the student's layers, 0 to L: the mean cosine and the lowest twentieth of it, of tokens; the mean
    cosine of texts, each the mean of its tokens."""
    layers = (0, *comparison.match)
    teacher = TorchEncoder(comparison.teacher.architecture, comparison.teacher.weights).to(device).eval()
    student = TorchEncoder(comparison.student.architecture, values).to(device).eval()
    tokens: list[list[Tensor]] = [[] for _ in layers]
    texts: list[list[Tensor]] = [[] for _ in layers]
    with torch.inference_mode():
        for batch, lengths in _batches(comparison.held_out):
            theirs, mine = teacher(batch, set(layers)), student(batch, range(len(layers)))
            for k, layer in enumerate(layers):
                tokens[k].append(functional.cosine_similarity(mine[k], theirs[layer], dim=-1).cpu())
                mine_mean, their_mean = (
                    torch.segment_reduce(x, "mean", lengths=lengths.to(x.device)) for x in (mine[k], theirs[layer])
                )
                texts[k].append(functional.cosine_similarity(mine_mean, their_mean, dim=-1).cpu())
    return [
        {"cosine": _mean(of_tokens), "cosine_low": float(np.quantile(torch.cat(of_tokens).numpy(), 0.05)),
         "text_cosine": _mean(of_texts)}
        for of_tokens, of_texts in zip(tokens, texts, strict=True)
    ]  # fmt: skip


def _batches(passages: Passages | None) -> Iterator[tuple[Any, Tensor]]:
    assert passages is not None
    lengths = passages.lengths()
    rows = np.unique(np.linspace(0, lengths.size - 1, min(COMPARED, lengths.size)).round().astype(np.int64))
    for which in in_batches(lengths[rows], CPU_TOKENS):
        flat = passages.examples(rows[which].tolist(), np.random.default_rng(0))
        yield flat.batch(flat.ids), torch.from_numpy(np.diff(flat.bounds))


def _probed(
    tasks: tuple[Task, ...], start: Start, values: Mapping[str, FloatArray], device: str
) -> list[dict[str, Row]]:
    """For each layer: task -> its score."""
    extractor = extractor_of(start, values, device=device)
    layers: list[dict[str, Row]] = [{} for _ in range(start.architecture.n_layers + 1)]
    for task in tasks:
        for row in task.scores(extractor):
            layers[row["layer"]][task.name] = {key: row[key] for key in ("metric", "score", "low", "high")}
    return layers


def _values(start: Start) -> dict[str, FloatArray]:
    return {name: start.weights[name] for name in start.weights.tensors}


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).double().mean())
