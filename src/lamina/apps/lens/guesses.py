"""The lens: what each layer takes a token for, when the masked-language-model head is put on that layer's states.

The idea is the logit lens (nostalgebraist 2020). Comes in: logits over the vocabulary, layer by layer. Goes out: the
likeliest tokens, their probabilities, and the rank of the token that stands there.
Shapes: L layers, T tokens of a text, V vocabulary, k candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.mix import Float32
from lamina.errors import SpecError

Int64 = npt.NDArray[np.int64]
NO_TRUTH = -1


@dataclass(frozen=True, slots=True, eq=False)
class Lens:
    """What the layers take the tokens of one text for.

    units          [T] rows of the units table, tokens.
    layers         [L] numbers of the layers.
    truth          [T] id of the token that stands there, -1 where that is not known (a [MASK]).
    candidates     [L, T, k] ids of the likeliest tokens, the likeliest first, equal ones by id.
    probabilities  [L, T, k] of a softmax over the vocabulary; NaN where a token was cut off.
    probability    [L, T] of the token that stands there, NaN where that is not known.
    ranks          [L, T] its rank from 1; 0 where that is not known.
    names          id -> token, of all ids above.
    """

    units: pa.Table
    layers: tuple[int, ...]
    truth: Int64
    candidates: Int64
    probabilities: Float32
    probability: Float32
    ranks: Int64
    names: Mapping[int, str]

    def __repr__(self) -> str:
        return f"Lens({self.units.num_rows} tokens; layers {', '.join(map(str, self.layers))})"


@dataclass(frozen=True, slots=True)
class View:
    """One layer's logits [T, V] read: the likeliest tokens, and how the true one stands. NaN rows stay unknown."""

    candidates: Int64
    probabilities: Float32
    probability: Float32
    ranks: Int64


def look(logits: Float32, truth: Int64, *, k: int = 5) -> View:
    """Read the logits [T, V] of one layer; `truth` [T] is -1 where it is not known. Raises SpecError for k."""
    T, V = logits.shape
    if not 1 <= k <= V:
        raise SpecError(f"k must be from 1 to {V:,}, not {k}")
    candidates, ranks = np.zeros((T, k), np.int64), np.zeros(T, np.int64)
    probabilities, probability = np.full((T, k), np.nan, np.float32), np.full(T, np.nan, np.float32)
    for t, row in enumerate(logits):
        if np.isnan(row).any():
            continue
        least = np.partition(row, -k)[-k]
        among = np.flatnonzero(row >= least)  # k of them, and those equal to the last one
        candidates[t] = among[np.argsort(-row[among], kind="stable")][:k]
        chances = np.exp(row.astype(np.float64) - row.max())
        chances /= chances.sum()
        probabilities[t] = chances[candidates[t]]
        if truth[t] >= 0:
            true = int(truth[t])
            probability[t] = chances[true]
            ranks[t] = 1 + (row > row[true]).sum() + (row[:true] == row[true]).sum()
    return View(candidates, probabilities, probability, ranks)


def lens_of(units: pa.Table, truth: Int64, views: Mapping[int, View], *, names: Mapping[int, str]) -> Lens:
    """The views of all layers, by their numbers, as one."""
    if not views:
        raise SpecError("a lens needs one layer at least")
    held = list(views.values())
    return Lens(
        units=units,
        layers=tuple(views),
        truth=truth,
        candidates=np.stack([view.candidates for view in held]),
        probabilities=np.stack([view.probabilities for view in held]),
        probability=np.stack([view.probability for view in held]),
        ranks=np.stack([view.ranks for view in held]),
        names=names,
    )


def by_layer(lenses: Sequence[Lens]) -> list[dict[str, Any]]:
    """A row for each layer, over the ordinary tokens of all texts.

    `tokens` are those whose truth is known; `right` is the share of them that come first, `mrr` the mean of 1 / rank,
    `median_rank` and `probability` (mean) of the true token; None where no truth is known. `confidence` is the mean
    probability of whatever comes first.
    """
    if not lenses:
        raise SpecError("there is no text to look at")
    return [_row(lenses, place) for place in range(len(lenses[0].layers))]


def records(lens: Lens) -> list[dict[str, Any]]:
    """A record for each token, with its layers: what `--json` prints."""
    columns = {name: lens.units.column(name).to_pylist() for name in ("token", "surface", "start", "end", "special")}
    return [
        {name: values[t] for name, values in columns.items()}
        | {"layers": [_cell(lens, i, t) for i in range(len(lens.layers))]}
        for t in range(lens.units.num_rows)
    ]


def _row(lenses: Sequence[Lens], place: int) -> dict[str, Any]:
    def over(values: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([array[keep] for array, keep in zip(values, ordinary, strict=True)])

    ordinary = [~np.asarray(lens.units.column("special").to_numpy(zero_copy_only=False), bool) for lens in lenses]
    ranks = over(lens.ranks[place] for lens in lenses)
    known = ranks > 0
    ranks = ranks[known]
    chances = over(lens.probability[place] for lens in lenses)[known]
    first = over(lens.probabilities[place, :, 0] for lens in lenses)
    first = first[~np.isnan(first)]
    return {
        "layer": lenses[0].layers[place],
        "tokens": int(known.sum()),
        "right": float((ranks == 1).mean()) if ranks.size else None,
        "mrr": float((1 / ranks).mean()) if ranks.size else None,
        "median_rank": float(np.median(ranks)) if ranks.size else None,
        "probability": float(chances.mean()) if ranks.size else None,
        "confidence": float(first.mean()) if first.size else None,
    }


def _cell(lens: Lens, place: int, t: int) -> dict[str, Any]:
    rank = int(lens.ranks[place, t])
    first = zip(lens.candidates[place, t].tolist(), lens.probabilities[place, t].tolist(), strict=True)
    return {
        "layer": lens.layers[place],
        "candidates": [{"token": lens.names[token], "probability": chance} for token, chance in first],
        "rank": rank or None,
        "probability": float(lens.probability[place, t]) if rank else None,
    }
