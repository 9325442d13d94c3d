"""A task's head as a module: the steps of the table in `model/heads.py`, their tensors under the checkpoint's names.

What the checkpoint has of the head is taken from it; the rest is drawn as before pretraining. Shapes: N states of width
D, C labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.engine.torch_operations import ACTIVATE
from lamina.errors import CheckpointError
from lamina.model.architecture import ACTIVATIONS
from lamina.model.heads import HEADS, WORD_TABLE, HeadRow, LinearRow, NormRow, Task, Width
from lamina.model.operations import Activation
from lamina.model.random_weights import DEVIATION
from lamina.model.weights import ITEM_BYTES, FloatArray
from lamina.train.start import Start

DROPS = ("sequence_classification", "token_classification")  # before their last step, as `transformers` does


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a head: the names of its tensors, and the activation after a product.

    weight  None: the word embeddings, the other way round.
    """

    weight: str | None
    bias: str | None
    is_norm: bool
    activation: Activation | None = None


class TaskLayers(nn.Module):
    """A head: states [N, D] to logits [N, C]."""

    def __init__(self, steps: Sequence[Step], values: dict[str, FloatArray], *, eps: float, dropout: float) -> None:
        """`dropout`: the share of the last step's input that is dropped while training."""
        super().__init__()
        self.steps, self.eps, self.dropout = tuple(steps), eps, dropout
        self.weights = nn.ParameterDict(  # its keys must not have dots
            {name.replace(".", "/"): nn.Parameter(torch.from_numpy(value.copy())) for name, value in values.items()}
        )

    def forward(self, states: Tensor, words: Tensor | None = None) -> Tensor:
        """`words`: the word embeddings [V, D], for a step that takes them."""
        x = states
        for place, step in enumerate(self.steps):
            if place == len(self.steps) - 1 and self.training and self.dropout:
                x = functional.dropout(x, self.dropout)
            weight = words if step.weight is None else self._tensor(step.weight)
            assert weight is not None
            bias = None if step.bias is None else self._tensor(step.bias)
            if step.is_norm:
                x = functional.layer_norm(x, x.shape[-1:], weight, bias, self.eps)
            else:
                x = functional.linear(x, weight, bias)
            x = ACTIVATE[step.activation](x) if step.activation else x
        return x

    def values(self) -> dict[str, FloatArray]:
        """A copy of the tensors, by their names in a checkpoint."""
        return {name.replace("/", "."): one.detach().float().cpu().numpy().copy() for name, one in self.weights.items()}

    def _tensor(self, name: str) -> Tensor:
        parameter: Tensor = self.weights[name.replace(".", "/")]
        return parameter


def new_head(start: Start, task: Task, *, labels: Sequence[str], dropout: float, seed: int) -> TaskLayers:
    """The head of a task. Of labels, the checkpoint's last step is taken where it has the same ones in the same order.

    Raises CheckpointError where no such head is known of the family.
    """
    rows = HEADS.get(start.architecture.family, {})
    if task not in rows:
        known = ", ".join(rows) or "none"
        raise CheckpointError(f"no {task} head is known of {start.architecture.family}; known: {known}")
    made = _Making(start, task, tuple(labels), seed, {})
    steps = made.steps(rows[task])
    return TaskLayers(steps, made.values, eps=start.architecture.eps, dropout=dropout if task in DROPS else 0.0)


@dataclass(frozen=True, slots=True)
class _Making:
    """A head in the making; `values` fills."""

    start: Start
    task: Task
    labels: tuple[str, ...]
    seed: int
    values: dict[str, FloatArray]

    def steps(self, row: HeadRow) -> list[Step]:
        arch = self.start.architecture
        widths: dict[Width, int] = {
            "encoder": arch.width, "embedding": arch.embedding_width or arch.width, "labels": len(self.labels),
            "vocabulary": arch.vocab_size,
        }  # fmt: skip
        width, steps = arch.width, list[Step]()
        for one in row.steps:
            if isinstance(one, NormRow):
                steps.append(self._norm(one, width))
            else:
                steps.append(self._linear(one, width, widths[one.width]))
                width = widths[one.width]
        return steps

    def _norm(self, row: NormRow, width: int) -> Step:
        has_bias = "norm" not in self.start.architecture.without_bias
        return Step(
            self._value(f"{row.name}.weight", (width,), np.ones(width, np.float32)),
            self._value(f"{row.name}.bias", (width,), np.zeros(width, np.float32)) if has_bias else None,
            is_norm=True,
        )

    def _linear(self, row: LinearRow, n_in: int, n_out: int) -> Step:
        has_bias = row.bias_key is None or bool(self.start.config.optional(*row.bias_key))
        bias_name = row.bias or f"{row.name}.bias"
        is_new = row.width == "labels" and not self._has_same_labels()
        bias = self._value(bias_name, (n_out,), np.zeros(n_out, np.float32), is_new=is_new) if has_bias else None
        if row.width == "vocabulary" and self._is_tied(row):
            return Step(None, bias, is_norm=False)
        name = f"{row.name}.weight"
        weight = self._value(name, (n_out, n_in), self._drawn(name, (n_out, n_in)), is_new=is_new)
        return Step(weight, bias, is_norm=False, activation=self._activation(row.activation))

    def _activation(self, word: str | None) -> Activation | None:
        if word is None:
            return None
        if word == "encoder":
            return self.start.architecture.activation
        return ACTIVATIONS[word if word in ACTIVATIONS else self.start.config.optional(word, "gelu")]

    def _is_tied(self, row: LinearRow) -> bool:
        """Whether the checkpoint has no matrix of its own for the vocabulary."""
        stored = self.start.weights.others.get(f"{row.name}.weight")
        words = self.start.weights[WORD_TABLE]
        return stored is None or (stored.shape == words.shape and np.array_equal(stored.float32(), words))

    def _has_same_labels(self) -> bool:
        named = self.start.config.optional("id2label", {})
        return self.labels == tuple(str(named.get(str(i))) for i in range(len(self.labels))) and len(named) > 0

    def _value(self, name: str, shape: tuple[int, ...], fresh: FloatArray, *, is_new: bool = False) -> str:
        stored = self.start.weights.others.get(name)
        if not is_new and stored is not None and stored.shape == shape and stored.dtype in ITEM_BYTES:
            fresh = stored.float32()
        self.values[name] = fresh
        return name

    def _drawn(self, name: str, shape: tuple[int, int]) -> FloatArray:
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        drawn: FloatArray = np.random.default_rng([self.seed, number]).standard_normal(shape, np.float32)
        return drawn * np.float32(DEVIATION)
