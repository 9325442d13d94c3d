"""Fewer heads: those go whose part of the states varies least.

A head adds to each state its context times its own columns of the output's matrix. What it adds on average the output's
bias can add without it; what is lost is what varies. So the criterion is the variance of what a head adds, over the
tokens that were watched, as a share of the energy of the states that it is added to, which makes it the same thing in
every layer. Source: An et al. 2024 (Fluctuation-based adaptive structured pruning for large language models), but for
the share, instead of which they standardise. What other criteria gave: docs/compress.md.

Where the output has no bias (ModernBERT, Nomic BERT) nothing can add the average, and the mean square stands for the
variance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lamina.compress.draft import Draft
from lamina.compress.moments import TextTokens, Watched, watch
from lamina.errors import SpecError
from lamina.model.weights import FloatArray

CRITERION = "variance of what a head adds to the states, as a share of their energy"

Kept = Mapping[str, Sequence[int]]  # by block, the heads to keep, by their places


def remove(
    draft: Draft, heads: int | float, texts: Iterable[TextTokens], *, compatible: bool
) -> tuple[Draft, list[list[int]]]:
    """The model with fewer heads, and which are left of each layer, by the numbers that they had at first.

    heads       so many of each layer (int), or this share of all (float).
    compatible  zeros stand where the others were, and every shape is as it was; else the tensors are smaller, and the
                config says which heads they hold (`lamina_heads`).

    Raises SpecError for heads that cannot be kept.
    """
    check(draft, heads, compatible=compatible)
    watched = watch(draft, texts, inputs=[_output(block) for block in draft.blocks])
    kept = kept_heads(importance(draft, watched), heads)
    first = [layer.heads or range(layer.attention.n_heads) for layer in draft.architecture.layers]
    left = [[of[k] for k in kept[layer.weights]] for of, layer in zip(first, draft.architecture.layers, strict=True)]
    tensors: dict[str, FloatArray] = {}
    for block, of_block in kept.items():
        tensors |= _tensors(draft, watched, block, of_block, zeros=compatible)
    return draft.changed_to({} if compatible else {"lamina_heads": left}, tensors), left


def check(draft: Draft, heads: int | float, *, compatible: bool) -> None:
    """Raise SpecError for a number (int) or share (float) of heads that cannot be kept."""
    arch, name = draft.architecture, draft.checkpoint.name
    most = max(layer.attention.n_heads for layer in arch.layers)
    if isinstance(heads, int) and not 1 <= heads <= most:
        raise SpecError(f"heads must be from 1 to {most}, the heads of a layer of {name}, not {heads}")
    if arch.distance_bias and not compatible:
        raise SpecError(
            f"the layers of {name} ({arch.family}) share a table with a column for each head, so no head can be taken "
            "out: with compatible it stays, as zeros"
        )


def importance(draft: Draft, watched: Watched) -> dict[str, list[float]]:
    """By block, the criterion of each of its heads."""
    found: dict[str, list[float]] = {}
    for block, n_heads in _n_heads(draft).items():
        weight = draft.weights[f"{_output(block)}.weight"]
        spread = watched.inputs[_output(block)].spread(centred=_has_bias(draft, block))
        energy = watched.energy[f"{block}.{'ffn' if draft.architecture.pre_norm else 'attention'}.norm"]
        found[block] = []
        for head in range(n_heads):
            own = _places(draft, [head])
            added = np.sum(weight[:, own] @ spread[np.ix_(own, own)] * weight[:, own])  # trace of W spread Wᵀ
            found[block].append(float(added) / energy)
    return found


def kept_heads(found: Mapping[str, Sequence[float]], heads: int | float) -> dict[str, list[int]]:
    """By block, the heads to keep, the most important: so many of each block (int), or of all together this share
    (float), of each block one at least."""
    ranked = sorted((-one, block, head) for block, of_block in found.items() for head, one in enumerate(of_block))
    if isinstance(heads, int):
        return {block: sorted([head for _, of, head in ranked if of == block][:heads]) for block in found}
    kept = {block: [int(np.argmax(of_block))] for block, of_block in found.items()}
    wanted = round(heads * len(ranked))
    for _, block, head in ranked:
        if sum(map(len, kept.values())) < wanted and head not in kept[block]:
            kept[block].append(head)
    return {block: sorted(of_block) for block, of_block in kept.items()}


def _tensors(draft: Draft, watched: Watched, block: str, heads: Sequence[int], *, zeros: bool) -> dict[str, FloatArray]:
    """The tensors of a block's attention with some heads alone, the average of the others in the output's bias."""
    output, places = _output(block), _places(draft, heads)
    beside = (f"{output}.", f"{block}.attention.norm.")
    rows = [name for name in draft.weights.tensors if name.startswith(f"{block}.attention.")]
    made = {name: _taken(draft.weights[name], places, 0, zeros) for name in rows if not name.startswith(beside)}
    weight = draft.weights[f"{output}.weight"]
    made[f"{output}.weight"] = _taken(weight, places, 1, zeros)
    if _has_bias(draft, block):
        gone = weight.astype(np.float64)
        gone[:, places] = 0
        mean = gone @ watched.inputs[output].mean
        made[f"{output}.bias"] = (draft.weights[f"{output}.bias"] + mean).astype(np.float32)
    return made


def _taken(array: FloatArray, places: Sequence[int], axis: int, zeros: bool) -> FloatArray:
    """Some rows (axis 0) or columns (1), or the whole with zeros for the others."""
    if not zeros:
        return array.take(places, axis)
    left = np.zeros_like(array)
    some = (slice(None),) * axis + (places,)
    left[some] = array[some]
    return left


def _output(block: str) -> str:
    return f"{block}.attention.output"


def _has_bias(draft: Draft, block: str) -> bool:
    return f"{_output(block)}.bias" in draft.weights.tensors


def _n_heads(draft: Draft) -> dict[str, int]:
    return {layer.weights: layer.attention.n_heads for layer in draft.architecture.layers}


def _places(draft: Draft, heads: Sequence[int]) -> list[int]:
    """Where the numbers of some heads stand among those of all."""
    K = draft.architecture.head_width
    return [head * K + k for head in heads for k in range(K)]
