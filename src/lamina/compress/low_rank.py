"""Feed-forward matrices of low rank: each becomes a product of two, narrower in between.

What is kept of y = W x + b are the directions in which y varies most on the texts that were watched, around its mean:
y ≈ U Uᵀ (y - ȳ) + ȳ, so W ≈ U (Uᵀ W) and the bias takes up the rest. That is the best approximation of y of that
rank, where the singular values of W alone look at what never comes in. Source: Yu and Wu 2023 (Compressing
transformers: features are low-rank, but weights are not); Chen et al. 2021 (DRONE) for the optimum.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import numpy as np

from lamina.compress.draft import Draft
from lamina.compress.moments import Float64, TextTokens, Watched, watch
from lamina.errors import SpecError
from lamina.model.weights import FloatArray

RIDGE = 0.1  # of the mean variance, added to every channel's: other texts vary in other directions too

PARTS = ("gate", "up", "down")


def rank_of(draft: Draft, rank: int | float) -> int:
    """The rank that is meant: a width (int), or the share of the matrices' numbers that the factors may hold (float).

    Raises SpecError for a rank that saves nothing, or a model that is of low rank already.
    """
    arch, name = draft.architecture, draft.checkpoint.name
    if arch.ffn_rank is not None:
        raise SpecError(f"the feed-forward of {name} is of rank {arch.ffn_rank} already")
    too_much = arch.width * arch.ffn_width / (arch.width + arch.ffn_width)  # then factors are as large as the matrix
    found = max(1, int(rank * too_much)) if isinstance(rank, float) else rank
    if not 1 <= found < too_much:
        raise SpecError(
            f"ffn_rank must be from 1 to {ceil(too_much) - 1} for {name}, whose matrices are {arch.ffn_width} × "
            f"{arch.width}, not {found}: factors of a higher rank hold as many numbers as the matrix"
        )
    return found


def split(draft: Draft, rank: int, texts: Iterable[TextTokens], *, compatible: bool) -> Draft:
    """The model with feed-forward matrices of a rank.

    compatible  the factors are multiplied out: the same function, no smaller; else the file holds both, and the config
                says so (`lamina_ffn_rank`).
    """
    names = [f"{block}.ffn.{part}" for block in draft.blocks for part in PARTS]
    there = [name for name in names if f"{name}.weight" in draft.weights.tensors]
    watched = watch(
        draft,
        texts,
        inputs=[name for name in there if not name.endswith("down")],
        outputs=[name for name in there if name.endswith("down")],
    )
    tensors: dict[str, FloatArray] = {}
    for name in there:
        tensors |= _factors(draft, watched, name, rank, multiplied=compatible)
    return draft.changed_to({} if compatible else {"lamina_ffn_rank": rank}, tensors)


def _factors(draft: Draft, watched: Watched, name: str, rank: int, *, multiplied: bool) -> dict[str, FloatArray]:
    """The tensors that a matrix and its bias become: outer [D_out, rank], inner [rank, D_in]."""
    weight = draft.weights[f"{name}.weight"].astype(np.float64)
    bias = draft.weights[f"{name}.bias"] if f"{name}.bias" in draft.weights.tensors else None
    outer = _directions(weight, name, watched, centred=bias is not None)[:, :rank]
    inner = outer.T @ weight
    made = {f"{name}.weight": outer @ inner} if multiplied else {f"{name}.weight": outer, f"{name}.inner.weight": inner}
    if bias is not None:
        mean = weight @ watched.inputs[name].mean if name in watched.inputs else watched.outputs[name].mean - bias
        made[f"{name}.bias"] = bias + mean - outer @ (outer.T @ mean)
    return {part: array.astype(np.float32) for part, array in made.items()}


def _directions(weight: Float64, name: str, watched: Watched, *, centred: bool) -> Float64:
    """Orthonormal directions of what leaves a matrix, those of the largest variance first: [D_out, up to D_out]."""
    if name in watched.inputs:
        values, vectors = np.linalg.eigh(watched.inputs[name].spread(centred=centred))
        values = np.maximum(values, 0) + RIDGE * values.mean()
        return np.linalg.svd(weight @ (vectors * np.sqrt(values)), full_matrices=False)[0]
    spread = watched.outputs[name].spread(centred=centred)
    gram = weight @ weight.T
    return np.linalg.eigh(spread + RIDGE * np.trace(spread) / np.trace(gram) * gram)[1][:, ::-1]
