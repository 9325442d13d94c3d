"""Attention over packed rows: one kernel for all lengths where the device has it, else length by length.

Shapes: R packed rows, T of them tokens, H heads, K head width, D = H · K; n sequences of S tokens in a group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import pad, scaled_dot_product_attention

from lamina.engine.torch_packed import Group
from lamina.model.operations import Attention

# What is added to the scores of a group's sequences, [n or 1, H, S, S].
Bias = Callable[[Group], Tensor]

BIAS_NUMBERS = 1 << 26  # the most numbers of a bias made at once: 128 MB in 16 bits
STEPWISE = 256  # tokens of a sequence, below which 16-bit gradients on the CPU are taken product by product
MASKED = float("-inf")  # no row is masked as a whole: every place sees itself


@dataclass(frozen=True, slots=True)
class Layout:
    """Where sequences lie among the rows.

    bounds      int32 [B + 1], on the device.
    max_tokens  the model's longest input, whatever the batch holds.
    is_token    bool [R]: False where a group's rows are padding, which no place looks at; None: nowhere.
    """

    groups: list[Group]
    bounds: Tensor
    n_tokens: int
    n_rows: int
    max_tokens: int
    is_token: Tensor | None = None


def attend(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, attention: Attention, bias: Bias | None, *, dropout: float = 0.0
) -> Tensor:
    """softmax(q kᵀ · scale + bias) v by head within each sequence: [R, D]. Rows that are no token's mean nothing.

    dropout  the share of the weights that are set to zero at random: the kernel for all lengths has none.
    """
    if bias is None and has_varlen(q, attention, dropout):
        return _varlen(q, k, v, layout, attention)
    found = []
    groups = _groups(layout, attention, bias)
    for group, *parts in zip(groups, *(_parts(x, groups) for x in (q, k, v)), strict=True):
        mask = _mask(group, attention, bias, layout, q.device)
        queries, keys, values = (_by_head(part, group, attention) for part in parts)
        if _is_faster_by_steps(queries, dropout):
            weights = _weights(queries, keys, mask, attention).to(values.dtype)
            context = functional.dropout(weights, dropout) @ values if dropout else weights @ values
        else:
            context = scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, dropout_p=dropout, scale=attention.scale
            )
        found.append(_laid(context))
    return pad(torch.cat(found), (0, 0, 0, layout.n_rows - layout.n_tokens))


def attend_seen(
    q: Tensor, k: Tensor, v: Tensor, layout: Layout, attention: Attention, bias: Bias | None
) -> tuple[Tensor, list[tuple[Group, Tensor]]]:
    """The same, and the attention weights [n, H, S, S] of each group."""
    found, seen = [], []
    for group in _groups(layout, attention, bias):
        queries, keys, values = (by_head(x, group, attention) for x in (q, k, v))
        mask = _mask(group, attention, bias, layout, q.device)
        seen.append((group, _weights(queries, keys, mask, attention)))
        found.append(_laid(seen[-1][1].to(values.dtype) @ values))
    return pad(torch.cat(found), (0, 0, 0, layout.n_rows - layout.n_tokens)), seen


def _weights(queries: Tensor, keys: Tensor, mask: Tensor | None, attention: Attention) -> Tensor:
    """The attention weights [n, H, S, S], float32 at least."""
    scores = queries @ keys.transpose(-1, -2) * attention.scale
    if mask is not None:
        scores = torch.where(mask, scores, MASKED) if mask.dtype == torch.bool else scores + mask
    return (scores.float() if scores.dtype.itemsize < 4 else scores).softmax(-1)


def _is_faster_by_steps(queries: Tensor, dropout: float) -> bool:
    """Whether a training step on the CPU is faster without the fused kernel, which has no dropout, and whose gradient
    in 16 bits took 50 ms where the products one by one took 8 (1,536 places of 12 heads, sequences of up to 128)."""
    if queries.device.type != "cpu" or not queries.requires_grad:
        return False
    return dropout > 0 or (queries.dtype.itemsize < 4 and queries.shape[-2] < STEPWISE)


def has_varlen(q: Tensor, attention: Attention, dropout: float = 0.0) -> bool:
    """Whether torch's kernel for sequences of uneven lengths runs: 16 bits, NVIDIA's GPUs since Ampere (8.0)."""
    width = q.shape[-1] // attention.n_heads
    return (
        q.is_cuda
        and torch.version.hip is None
        and q.dtype in (torch.bfloat16, torch.float16)
        and width % 8 == 0
        and width <= 256
        and not dropout
        and torch.cuda.get_device_capability(q.device) >= (8, 0)
    )


def by_head(x: Tensor, group: Group, attention: Attention) -> Tensor:
    """The rows of a group as [n, H, S, K]."""
    return _by_head(x[group.low : group.low + group.n * group.length], group, attention)


def _by_head(rows: Tensor, group: Group, attention: Attention) -> Tensor:
    return rows.view(group.n, group.length, attention.n_heads, -1).transpose(1, 2)


def _varlen(q: Tensor, k: Tensor, v: Tensor, layout: Layout, attention: Attention) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    window = -1 if attention.window is None else attention.window
    queries, keys, values = (x.view(len(x), attention.n_heads, -1) for x in (q, k, v))
    context = varlen_attn(
        queries,
        keys,
        values,
        layout.bounds,
        layout.bounds,
        layout.groups[0].length,  # of queries: how many blocks are begun
        layout.max_tokens,  # of keys, by which the kernel is chosen: the same one for every batch
        scale=attention.scale,
        window_size=(window, window),
        num_splits=1,  # keys in one piece: a sequence's bits do not depend on the longest one beside it
    )
    assert isinstance(context, Tensor)  # a pair only where more is asked for
    return context.view(q.shape)


def _groups(layout: Layout, attention: Attention, bias: Bias | None) -> list[Group]:
    """Sequences of one length, few enough for a bias of theirs."""
    if bias is None:
        return layout.groups
    each = (max(1, BIAS_NUMBERS // (attention.n_heads * group.length**2)) for group in layout.groups)
    return [part for group, n in zip(layout.groups, each, strict=True) for part in group.parts(n)]


def _parts(x: Tensor, groups: list[Group]) -> tuple[Tensor, ...]:
    """The rows of each group: by one split, whose gradient is one joining. That of a slice is as large as all of x, so
    that slices one by one took a fifth of a training step over 30 groups."""
    sizes = [group.n * group.length for group in groups]
    return torch.split(x, [*sizes, len(x) - sum(sizes)])[: len(sizes)]


def _mask(group: Group, attention: Attention, bias: Bias | None, layout: Layout, device: torch.device) -> Tensor | None:
    """What is added to scores, or whether places are looked at; None: all of them."""
    added, seen = None if bias is None else bias(group), _seen(group, layout)
    if attention.window is not None and attention.window < group.length - 1:
        places = torch.arange(group.length, device=device)
        near = (places[:, None] - places).abs() <= attention.window  # [S, S]
        # A padded query sees itself: a row without any key would be no number, and its gradient none either.
        seen = near if seen is None else near & (seen | torch.eye(group.length, dtype=torch.bool, device=device))
    if seen is None or added is None:
        return added if seen is None else seen
    return added.masked_fill(~seen, MASKED)


def _seen(group: Group, layout: Layout) -> Tensor | None:
    """The keys that are tokens, [n, 1, 1, S]; None: all."""
    if layout.is_token is None:
        return None
    rows = layout.is_token[group.low : group.low + group.n * group.length]
    return rows.view(group.n, 1, 1, group.length)


def _laid(context: Tensor) -> Tensor:
    """[n, H, S, K] as rows [n · S, D]."""
    return context.transpose(1, 2).flatten(0, 1).flatten(1)
