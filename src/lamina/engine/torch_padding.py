"""Attention in training: sequences of about equal lengths in one product, padded to the longest of them.

Elsewhere nothing is padded. A group for each length, as the extracting engine has it for the sake of equal bits, made a
training step on the CPU twice as long: 25 lengths of short texts are 25 times a dozen small kernels, forward and back,
in each layer, while a padded place costs a short text next to nothing where it only attends.
Shapes: R packed rows, P padded rows, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.engine.batch import Int32
from lamina.engine.torch_attention import Layout
from lamina.engine.torch_packed import Group, Packed

SHARE, FREE = 0.25, 1 << 16  # scores of a head that may be wasted on padding: of those needed, or this many


@dataclass(frozen=True, slots=True)
class Padding:
    """Where each packed row stands among the padded ones, and the reverse.

    spread  int64 [P]; the packed row of each padded one, R (none) where it is padding.
    gather  int64 [R]; the padded row of each packed one, P (none) for those that only fill a tile.
    layout  of the padded rows.
    """

    spread: Tensor
    gather: Tensor
    layout: Layout

    def padded(self, x: Tensor) -> Tensor:
        """Packed rows [R, D] as padded ones [P, D], zeros where they are padding."""
        return _moved(x, self.spread, self.gather)

    def unpadded(self, x: Tensor) -> Tensor:
        """The reverse."""
        return _moved(x, self.gather, self.spread)


def make_padding(packed: Packed, layout: Layout) -> Padding | None:
    """How to pad a batch; None where it needs none, since sequences of one length are together anyway."""
    lengths = np.diff(packed.bounds)
    buckets = _buckets(lengths)
    if len(buckets) == len(layout.groups):
        return None
    groups, spread, n_padded = [], [], 0
    for low, high in buckets:
        length = int(lengths[low])
        within = np.arange(length)
        rows = packed.bounds[low:high, None] + within  # [n, S]
        spread.append(np.where(within < lengths[low:high, None], rows, packed.n_rows).ravel())
        groups.append(Group(n_padded, high - low, length))
        n_padded += (high - low) * length
    source = np.concatenate(spread).astype(np.int64)
    gather = np.full(packed.n_rows, n_padded, np.int64)
    is_token = source < packed.n_rows
    gather[source[is_token]] = np.flatnonzero(is_token)
    device = layout.bounds.device
    index, back, mask = (torch.from_numpy(array).to(device) for array in (source, gather, is_token))
    return Padding(index, back, Layout(groups, layout.bounds, n_padded, n_padded, layout.max_tokens, mask))


def _buckets(lengths: Int32) -> list[tuple[int, int]]:
    """Runs of sequences, the longest first, whose padding costs little."""
    runs: list[tuple[int, int]] = []
    low, needed = 0, 0
    for place, length in enumerate(lengths.tolist()):
        needed_now = needed + length**2
        wasted = (place + 1 - low) * int(lengths[low]) ** 2 - needed_now
        if wasted > max(SHARE * needed_now, FREE):
            runs.append((low, place))
            low, needed_now = place, length**2
        needed = needed_now
    return [*runs, (low, lengths.size)]


class _Move(torch.autograd.Function):
    """Rows moved, each at most to one place: the gradient moves back, where that of an index would add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, to: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(to, back)
        return _with_none(x).index_select(0, to)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        _, back = ctx.saved_tensors
        return _with_none(gradients[0]).index_select(0, back), None, None


def _moved(x: Tensor, to: Tensor, back: Tensor) -> Tensor:
    found: Tensor = _Move.apply(x, to, back)  # type: ignore[no-untyped-call]
    return found


def _with_none(x: Tensor) -> Tensor:
    """The rows and one of zeros, which stands for none."""
    return torch.nn.functional.pad(x, (0, 0, 0, 1))
