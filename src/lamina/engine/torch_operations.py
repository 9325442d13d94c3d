"""The operations in torch, on packed rows. They differentiate: the same lines compute and train.

A state is [R, D]: the tokens of all sequences laid end to end, and rows that fill the last tile. What is added to
scores is no state but a `Bias`. Shapes: H heads, K head width, n sequences of S tokens in a group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lamina.engine.torch_attention import Bias, Layout, attend, attend_seen, by_head, has_varlen
from lamina.engine.torch_packed import Group
from lamina.engine.torch_padding import Padding
from lamina.model.operations import Activation, Attention, Index
from lamina.model.positions import Distances, rotary_angles

ACTIVATE: dict[Activation, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
}


@dataclass(frozen=True, slots=True)
class Dropout:
    """The share that is set to zero at random: of a state's numbers, of the attention weights."""

    states: float = 0.0
    attention: float = 0.0


NO_DROPOUT = Dropout()


class Held(Protocol):
    """What a device holds: weights by name, and tables that depend on no text, made when they are first used."""

    def weight(self, name: str) -> Tensor: ...

    def table(self, key: Hashable, make: Callable[[], Any]) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class TorchOperations:
    """The operations on one packed batch.

    layout  where sequences lie.
    index   the number of each row in a table, by what it counts: [R], on the device.
    tile    how many rows are multiplied at once, all of one shape; R is a multiple of it. A matrix library chooses its
            kernel by the number of rows, and with it the order of a sum: with tiles a row's bits depend on no other
            row. None: all rows at once, which differentiates.
    seen    where given, takes each layer's attention weights, group by group.
    dropout_rates  what `dropout` and `attend` drop, in training.
    padding  where sequences of unequal lengths attend in one product, in training.
    """

    held: Held
    layout: Layout
    index: dict[Index, Tensor]
    tile: int | None = None
    seen: list[list[tuple[Group, Tensor]]] | None = None
    dropout_rates: Dropout = NO_DROPOUT
    padding: Padding | None = None
    made: dict[Hashable, Any] = field(default_factory=dict)  # what the layers of one batch share

    def embed(self, name: str, index: Index, rows: int, width: int) -> Tensor:
        return functional.embedding(self.index[index], self.table(name, rows, width))

    def linear(
        self, x: Tensor, name: str, width: int, activation: Activation | None = None, *, bias: bool = True
    ) -> Tensor:
        weight = self.held.weight(f"{name}.weight")
        assert weight.shape == (width, x.shape[-1])
        y = self._multiplied(x, weight, self.held.weight(f"{name}.bias") if bias else None)
        return ACTIVATE[activation](y) if activation else y

    def norm(self, x: Tensor, name: str, eps: float, *, bias: bool = True) -> Tensor:
        shift = self.held.weight(f"{name}.bias") if bias else None
        return functional.layer_norm(x, x.shape[-1:], self.held.weight(f"{name}.weight"), shift, eps)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def multiply(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y

    def dropout(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout_rates.states) if self.dropout_rates.states else x

    def convolve(self, x: Tensor, name: str, kernel: int, activation: Activation) -> Tensor:
        """As one product of matrices: the places that the kernel sees, side by side, with its weights laid flat."""
        weight = self.held.weight(f"{name}.weight")  # [D, D, kernel]
        flat = weight.transpose(1, 2).flatten(1)
        beside = torch.cat([self._shifted(x, apart - kernel // 2) for apart in range(kernel)], dim=-1)
        return ACTIVATE[activation](self._multiplied(beside, flat, self.held.weight(f"{name}.bias")))

    def table(self, name: str, rows: int, width: int) -> Tensor:
        table = self.held.weight(f"{name}.weight")
        assert table.shape == (rows, width)
        return table

    def distance_bias(self, name: str, distances: Distances, n_heads: int) -> Any:
        table = self.table(name, distances.n_rows, n_heads)

        def bias(group: Group) -> Tensor:
            found: Tensor = self._once(
                (name, group.length), lambda: table[self._rows(distances, group.length)].permute(2, 0, 1)[None]
            )
            return found

        made: Bias = bias
        return made

    def disentangle(
        self,
        q: Tensor,
        k: Tensor,
        position_k: Tensor | None,
        position_q: Tensor | None,
        distances: Distances,
        attention: Attention,
    ) -> Any:
        """Made group by group where it is used: all groups' scores would not fit."""
        if self.padding is not None:
            q, k = self.padding.padded(q), self.padding.padded(k)

        def bias(group: Group) -> Tensor:
            rows = self._once((distances, group.length), lambda: self._rows(distances, group.length))  # [S, S]
            terms = []
            if position_k is not None:
                terms.append(_looked_up(by_head(q, group, attention), position_k, rows, attention))
            if position_q is not None:
                by_key = _looked_up(by_head(k, group, attention), position_q, rows.T, attention)
                terms.append(by_key.transpose(-1, -2))
            return sum(terms[1:], terms[0]) * attention.scale

        made: Bias = bias
        return made

    def attend(self, q: Tensor, k: Tensor, v: Tensor, attention: Attention, bias: Any = None) -> Tensor:
        if attention.theta is not None:
            q, k = (self._turned(x, attention, attention.theta) for x in (q, k))
        rate = self.dropout_rates.attention
        if self.padding is not None and not (bias is None and has_varlen(q, attention, rate)):
            q, k, v = (self.padding.padded(x) for x in (q, k, v))
            context = attend(q, k, v, self.padding.layout, attention, bias, dropout=rate)
            return self.padding.unpadded(context)
        if self.seen is None:
            return attend(q, k, v, self.layout, attention, bias, dropout=rate)
        context, seen = attend_seen(q, k, v, self.layout, attention, bias)
        self.seen.append(seen)
        return context

    def _multiplied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x Wᵀ + b, tile by tile; a table's rows, whose number no batch changes, at once."""
        if self.tile is None or len(x) % self.tile:
            return functional.linear(x, weight, bias)
        y = x.new_empty(len(x), len(weight))
        for part, into in zip(torch.split(x, self.tile), torch.split(y, self.tile), strict=True):
            if bias is None:
                torch.mm(part, weight.T, out=into)
            else:
                torch.addmm(bias, part, weight.T, out=into)
        return y

    def _shifted(self, x: Tensor, apart: int) -> Tensor:
        """Each row's neighbour so many places further on; zeros where that is beyond its sequence."""
        place = self.index["position"]
        bounds = self.layout.bounds
        length = torch.repeat_interleave(bounds.diff(), bounds.diff(), output_size=self.layout.n_tokens)
        length = functional.pad(length, (0, self.layout.n_rows - self.layout.n_tokens))
        inside = (place + apart >= 0) & (place + apart < length)
        return torch.where(inside[:, None], x.roll(-apart, 0), 0)

    def _turned(self, x: Tensor, attention: Attention, theta: float) -> Tensor:
        """[R, D], each head of each row turned by its place's rotary angles, in float32 at least."""
        width = x.shape[-1] // attention.n_heads
        cos, sin = self._once((theta, width), lambda: self._angles(theta, width))  # [R, 1, K]
        wide = x.view(len(x), attention.n_heads, width)
        wide = wide.float() if x.dtype.itemsize < 4 else wide
        first, second = wide.chunk(2, dim=-1)
        turned: Tensor = wide * cos + torch.cat((-second, first), dim=-1) * sin
        return turned.to(x.dtype).view(x.shape)

    def _angles(self, theta: float, width: int) -> tuple[Tensor, Tensor]:
        both = self.held.table((theta, width), lambda: np.stack(rotary_angles(theta, self.layout.max_tokens, width)))
        cos, sin = both.index_select(1, self.index["position"])[:, :, None]
        return cos, sin

    def _rows(self, distances: Distances, length: int) -> Tensor:
        """The row of a table for each pair of places, [S, S]."""
        furthest = self.layout.max_tokens
        rows = self.held.table(distances, lambda: distances.rows(np.arange(-furthest, furthest + 1)).astype(np.int64))
        places = torch.arange(length, device=rows.device)
        return rows[places[:, None] - places + furthest]

    def _once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


def _looked_up(x: Tensor, table: Tensor, rows: Tensor, attention: Attention) -> Tensor:
    """x [n, H, S, K] · table [n_rows, D] by head, at the row that belongs to each pair of places: [n, H, S, S]."""
    scores = x @ table.view(len(table), attention.n_heads, -1).permute(1, 2, 0)  # [n, H, S, n_rows]
    return scores.gather(-1, rows.expand(*scores.shape[:2], -1, -1))
