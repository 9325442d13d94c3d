"""What attention heads do: how widely, how far and at what each of them looks, averaged over texts.

Comes in: attention weights by layer and head, as `Extractor.attention` gives them. Goes out: a row of figures for each
head. Shapes: L layers, H heads, U units of a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from lamina.apps.mix import Bool, Float32
from lamina.errors import SpecError


class Weights(Protocol):
    """How the units of one text look at one another: `lamina.extraction.attention.Attention`."""

    @property
    def units(self) -> pa.Table: ...
    @property
    def layers(self) -> tuple[int, ...]: ...
    @property
    def heads(self) -> tuple[int, ...]: ...
    @property
    def weights(self) -> Float32: ...


@dataclass(frozen=True, slots=True)
class HeadFigures:
    """What a head does, averaged over the units that look; special tokens are looked at but do not look.

    entropy   of the weights of one unit, in bits: 0 looks at one place, log2(U) everywhere alike.
    distance  in units, to what is looked at, special tokens and the share on them left out.
    cls, sep  the share of the weights on the special token that begins a text, and on the others.
    special   on all of them: cls + sep.
    previous, itself, next  the share on the neighbours, where these are no special tokens, and on the unit itself.
    """

    layer: int
    head: int
    entropy: float
    distance: float
    special: float
    cls: float
    sep: float
    previous: float
    itself: float
    next: float


MEASURES = tuple(field.name for field in fields(HeadFigures) if field.name not in ("layer", "head"))


def head_figures(texts: Iterable[Weights]) -> list[HeadFigures]:
    """The figures of every head held, layer by layer, without those that `lamina compress` has taken out. Texts are
    read one by one, so they may be a stream.

    The measures are those of Clark et al. 2019 (What does BERT look at?), sections 3 and 4. Raises SpecError where the
    texts hold different layers or heads, or no unit looks at anything.
    """
    total, n_rows, held = None, 0, None
    for text in texts:
        if held not in (None, (text.layers, text.heads)):
            raise SpecError("the texts' attention holds different layers or heads: ask for the same ones")
        held = (text.layers, text.heads)
        sums, n = _sums(text)
        total, n_rows = sums if total is None else total + sums, n_rows + n
    if total is None or held is None or not n_rows:
        raise SpecError("there is no attention to count: the texts hold no words")
    means = total / n_rows  # [measures, L, H]
    return [
        HeadFigures(layer, head, *means[:, i, j].tolist())
        for i, layer in enumerate(held[0])
        for j, head in enumerate(held[1])
        if not np.isnan(means[:, i, j]).any()
    ]


def by_layer(figures: Sequence[HeadFigures]) -> list[dict[str, Any]]:
    """A row for each layer: the mean of its heads."""
    rows: list[dict[str, Any]] = []
    for layer in dict.fromkeys(one.layer for one in figures):
        heads = [one for one in figures if one.layer == layer]
        rows.append({"layer": layer, **{name: _mean(getattr(one, name) for one in heads) for name in MEASURES}})
    return rows


def by_head(figures: Sequence[HeadFigures]) -> list[dict[str, Any]]:
    """A row for each head."""
    return [asdict(one) for one in figures]


def _sums(text: Weights) -> tuple[Any, int]:
    """Each measure summed over the units of a text that look, [measures, L, H], and how many they are."""
    special: Bool = np.asarray(text.units.column("special").to_numpy(zero_copy_only=False), bool)
    weights = text.weights.astype(np.float64)
    U = special.size
    unknown = np.all(np.isnan(weights).any(axis=3), axis=(0, 1)) if U else special  # a unit without a token
    looking = np.flatnonzero(~special & ~unknown)
    rows = weights[:, :, looking]  # [L, H, looking, U]
    logarithm = np.log2(rows, out=np.zeros_like(rows), where=rows > 0)
    at = np.where(special, 0.0, rows)
    far = np.abs(looking[:, None] - np.arange(U))
    near = at.sum(axis=-1)
    distance = np.divide((at * far).sum(axis=-1), near, out=np.zeros_like(near), where=near > 0)
    first = special & (np.arange(U) == 0)
    places = [(far == 1) & (np.arange(U) < looking[:, None]), far == 0, (far == 1) & (np.arange(U) > looking[:, None])]
    measures = [
        -(rows * logarithm).sum(axis=-1),
        distance,
        rows[..., special].sum(axis=-1),
        rows[..., first].sum(axis=-1),
        rows[..., special & ~first].sum(axis=-1),
        *((at * place).sum(axis=-1) for place in places),
    ]
    return np.stack([measure.sum(axis=-1) for measure in measures]), looking.size


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return sum(held) / len(held)
