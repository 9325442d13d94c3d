"""A `Plan`: a Spec resolved against one model, with every contradiction found before the first text is read."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.engine.batch import Program, Reduction
from lamina.errors import SpecError
from lamina.model.architecture import Architecture
from lamina.spec import Spec

# What each pool asks of the engine; the rest (which tokens, dividing by their number) is done on either side of it.
REDUCTIONS: dict[str, Reduction] = {
    "mean": "sum",
    "sum": "sum",
    "max": "max",
    "cls": "sum",  # of one token, as the next two
    "first": "sum",
    "last": "sum",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    layers      the layers asked for, in the order asked for.
    program     what the engine computes: the same layers, ascending.
    max_tokens  of a window, special tokens included.
    weights     for each layer in `layers`, where they are combined by weights.
    width       D of each result column.
    """

    spec: Spec
    layers: tuple[int, ...]
    program: Program
    max_tokens: int
    stride: int | None
    weights: tuple[float, ...] | None
    width: int


def make_plan(spec: Spec, arch: Architecture, *, n_prefix: int, n_suffix: int) -> Plan:
    """Resolve a Spec. `n_prefix`, `n_suffix`: the tokenizer's special tokens around a text. Raises SpecError."""
    layers = spec.layer_numbers(arch.n_layers)
    weights = spec.layer_weights()
    if weights is not None and len(weights) != len(layers):
        raise SpecError(f"combine has {len(weights)} weights for {len(layers)} layers ({', '.join(map(str, layers))})")
    if spec.pool == "cls" and not n_prefix:
        raise SpecError("pool 'cls' needs a classification token; this tokenizer puts none before a text: use 'mean'")
    max_tokens = arch.max_tokens if spec.max_tokens is None else spec.max_tokens
    room = max_tokens - n_prefix - n_suffix
    if not 1 <= room <= arch.max_tokens - n_prefix - n_suffix:
        raise SpecError(
            f"max_tokens is {max_tokens:,}; this model takes {n_prefix + n_suffix + 1} to {arch.max_tokens:,} tokens, "
            f"of which {n_prefix + n_suffix} are special"
        )
    if spec.stride is not None and spec.stride > room:
        raise SpecError(
            f"stride {spec.stride:,} would skip tokens: a window of {max_tokens:,} holds {room:,} ordinary ones"
        )
    width = arch.width * len(layers) if spec.combine == "concat" else arch.width
    program = Program(tuple(sorted(layers)), (REDUCTIONS[spec.pool],))
    return Plan(spec, layers, program, max_tokens, spec.stride, weights, width)
