"""A checkpoint's own task head at work: logits of texts, tokens or the vocabulary, from any layer's states.

Comes in: texts, whose states the extractor computes. Goes out: `Logits`, a row a unit. Rows are multiplied in blocks
of one shape, so that their bits do not depend on how many there are: a product of matrices depends on that.
Shapes: U units, D hidden width, C labels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from lamina.embeddings import Embeddings
from lamina.engine.batch import Float32
from lamina.engine.reference import ACTIVATE
from lamina.errors import SpecError
from lamina.model.heads import Linear, Norm, TaskHead
from lamina.spec import Long
from lamina.text.source import rows_of
from lamina.text.text import Text, as_text

if TYPE_CHECKING:
    from lamina.extraction.extractor import Extractor

BLOCK = 32  # rows multiplied at once: a vocabulary's matrix is read once for them, and a block of it is 4 MB
MASKS = ("[MASK]", "<mask>")
At = Literal["mask", "all"]


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """What a head says of units, before any softmax.

    units   the units table, [U] rows: a text (or pair) each for a head that classifies texts, else a token each.
    values  float32 [U, C]; NaN where a token was cut off.
    labels  [C] names from the checkpoint's config; `start` and `end` for answers; none where C is the vocabulary.
    """

    units: pa.Table
    values: Float32
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.units.num_rows)

    def __repr__(self) -> str:
        labels = ", ".join(self.labels[:4]) + (" …" if len(self.labels) > 4 else "")
        return f"Logits({list(self.values.shape)}: {labels or 'the vocabulary'})"

    def text(self, text_id: int) -> Float32:
        """The rows of one text, [U_i, C], by its position in the input."""
        rows = np.flatnonzero(self.units["text_id"].to_numpy() == text_id)
        if not rows.size:
            raise SpecError(f"there is no row of text {text_id!r}")
        return self.values[rows[0] : rows[-1] + 1]


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint's task head on its encoder; `Extractor.head` makes one."""

    extractor: Extractor
    head: TaskHead

    def __repr__(self) -> str:
        shown = ", ".join(self.labels[:4]) + (" …" if len(self.labels) > 4 else "")
        return f"Head({self.task}{f': {shown}' if shown else ''}; {self.extractor!r})"

    @property
    def task(self) -> str:
        """`sequence_classification`, `token_classification`, `question_answering` or `masked_lm`."""
        return self.head.task

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its numbers; none for a masked language model."""
        return self.head.labels

    def logits(self, texts: Iterable[str | Text], *, layer: int = -1, long: Long = "error") -> Logits:
        """What the head says of each text, or of each token: [U, C].

        layer  whose states the head is put on. It was trained on the last one; for a masked language model any other
               one is the logit lens (nostalgebraist 2020), the vocabulary as that layer has it.
        long   as in `extract`; a text is classified by one window, so there `window` is refused.

        Raises SpecError for a layer that does not exist, TextError for a text that is too long.
        """
        parts = [(part.units, self._of(part, slice(None))) for part in self._states(texts, layer, long)]
        units = pa.concat_tables([units for units, _ in parts], promote_options="default")
        return Logits(units, np.concatenate([values for _, values in parts]), self.labels)

    def of_states(self, states: Embeddings) -> Logits:
        """What the head says of the states of one layer that are extracted already: [U, C].

        A head for tokens was trained on the first piece of each word: words come with `unit="word", pool="first"`.
        """
        return Logits(states.units, self._of(states, slice(None)), self.labels)

    def top(
        self,
        texts: Iterable[str | Text],
        k: int = 5,
        *,
        layer: int = -1,
        at: At = "mask",
        long: Long = "error",
    ) -> pa.Table:
        """The k likeliest tokens of the vocabulary at each [MASK], or `at="all"` tokens: k rows for each place.

        The columns of the units table say where; then come `rank` (from 1), `candidate`, `candidate_id`, `logit` and
        `probability` (of a softmax over the vocabulary). Equal logits stand by token id. Raises SpecError for
        another head, or where the tokenizer has no mask; else what `logits` raises.
        """
        if self.task != "masked_lm":
            raise SpecError(f"only a masked_lm head has likeliest tokens, and this one is for {self.task}: use logits")
        n_ids = self.extractor.architecture.vocab_size
        if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= n_ids:
            raise SpecError(f"k must be a whole number from 1 to {n_ids:,}, not {k!r}")
        if at not in ("mask", "all"):
            raise SpecError(f"at must be 'mask' or 'all', not {at!r}")
        mask = self._mask_id() if at == "mask" else None
        parts = [self._top(part, k, mask) for part in self._states(texts, layer, long)]
        return pa.concat_tables(parts, promote_options="default")

    def _states(self, texts: Iterable[str | Text], layer: int, long: Long) -> Iterator[Embeddings]:
        """The states that the head takes, part by part, the first one even where there is no text."""
        if isinstance(layer, bool) or not hasattr(layer, "__index__"):
            raise SpecError(f"layer must be one number, such as 4 or -1 for the last one, not {layer!r}")
        pool = self.head.pool
        held = [as_text(text) for rows in rows_of(texts) for text in rows.texts]
        if pool != "token" and long == "window":
            raise SpecError("a text is classified by one window: long='truncate' cuts it, long='error' refuses it")
        stream = self.extractor.stream
        if not held:
            return iter([self.extractor.extract([], layers=layer, unit="token" if pool == "token" else "text")])
        if pool == "token":
            return stream(held, layers=layer, unit="token", long=long)
        unit: Literal["text", "pair"] = "pair" if any(text.pair is not None for text in held) else "text"
        return stream(held, layers=layer, unit=unit, pool=pool, long=long)

    def _of(self, part: Embeddings, rows: slice | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Float32:
        """The logits of some rows of one layer's states, [U, C]."""
        (layer,) = part.layers
        steps = self.head.steps
        if layer < self.extractor.architecture.n_layers:
            steps = (*self.head.below, *steps)
        return apply_steps(np.asarray(part.layer(layer)[rows], np.float32), steps)

    def _top(self, part: Embeddings, k: int, mask: int | None) -> pa.Table:
        chosen = part.units["status"].to_numpy(zero_copy_only=False) != "cut"
        if mask is not None:
            chosen &= part.units["token_id"].to_numpy() == mask
        rows = np.flatnonzero(chosen)
        best, logits, probabilities = np.empty((rows.size, k), np.int64), *np.empty((2, rows.size, k), np.float32)
        for low in range(0, rows.size, BLOCK):  # so that the vocabulary's logits are held for few rows at once
            values = self._of(part, rows[low : low + BLOCK])
            for row, of_row in enumerate(values, start=low):
                best[row] = likeliest(of_row, k)
                logits[row] = of_row[best[row]]
                shifted = of_row.astype(np.float64) - of_row.max()
                probabilities[row] = np.exp(shifted[best[row]]) / np.exp(shifted).sum()
        table = part.units.take(pa.array(np.repeat(rows, k)))
        kinds, place = np.unique(best, return_inverse=True)
        names = pa.array([self.extractor.tokenizer.piece(int(kind)) for kind in kinds], pa.string())
        columns = {
            "rank": pa.array(np.tile(np.arange(1, k + 1), rows.size), pa.int32()),
            "candidate": names.take(pa.array(place.ravel())),
            "candidate_id": pa.array(best.ravel(), pa.int32()),
            "logit": pa.array(logits.ravel()),
            "probability": pa.array(probabilities.ravel()),
        }
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table

    def _mask_id(self) -> int:
        for name in MASKS:
            found = self.extractor.tokenizer.backend.token_to_id(name)
            if found is not None:
                return int(found)
        raise SpecError(f"the tokenizer has no {' or '.join(MASKS)}: use at='all'")


def likeliest(logits: Float32, k: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The k token ids with the largest of the logits [V], the largest first, equal ones by id."""
    least = np.partition(logits, -k)[-k]
    found = np.flatnonzero(logits >= least)  # k, and those equal to the last of them
    return found[np.argsort(-logits[found], kind="stable")][:k]


def apply_steps(states: Float32, steps: tuple[Linear | Norm, ...]) -> Float32:
    """Rows [U, D] through the steps, block by block: [U, C]. A row of NaN stays one."""
    width = next((len(step.weight) for step in reversed(steps) if isinstance(step, Linear)), states.shape[1])
    result = np.empty((len(states), width), np.float32)
    block = np.zeros((BLOCK, states.shape[1]), np.float32)
    for low in range(0, len(states), BLOCK):
        n = min(BLOCK, len(states) - low)
        block[:n] = states[low : low + n]
        block[n:] = 0
        x = block
        for step in steps:
            x = _normed(x, step) if isinstance(step, Norm) else _multiplied(x, step)
        result[low : low + n] = x[:n]
    return result


def _multiplied(x: Float32, step: Linear) -> Float32:
    y = x @ step.weight.T
    if step.bias is not None:
        y += step.bias
    return ACTIVATE[step.activation](y) if step.activation else y


def _normed(x: Float32, step: Norm) -> Float32:
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    y: Float32 = (x - mean) / np.sqrt(variance + np.float32(step.eps)) * step.weight
    return y if step.bias is None else y + step.bias
