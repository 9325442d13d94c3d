"""A `Plan`: Specs resolved against one model, with every contradiction found before the first text is read.

Several Specs make one plan, a `View` each: one forward pass, many tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lamina.engine.batch import Program, Reduction
from lamina.errors import SpecError
from lamina.model.architecture import Architecture
from lamina.spec import Long, Overlap, Spec
from lamina.text.tokenizer import Template

# What each pool asks of the engine; the rest (which tokens, their weights, dividing) is done on either side of it.
REDUCTIONS: dict[str, Reduction] = {
    "mean": "sum",
    "sum": "sum",
    "sqrt": "sum",
    "position": "weighted",
    "idf": "weighted",
    "max": "max",
    "cls": "sum",  # of one token, as the next two
    "first": "sum",
    "last": "sum",
}
SHARED = ("long", "max_tokens", "stride", "overlap")  # what the views of one pass must agree on


@dataclass(frozen=True, slots=True)
class View:
    """One table to make.

    layers   the layers asked for, in the order asked for.
    weights  for each of them, where they are combined by weights.
    width    D of each result column.
    """

    spec: Spec
    layers: tuple[int, ...]
    weights: tuple[float, ...] | None
    width: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: the views by name, in the order of the program's reductions."""

    views: dict[str, View]
    program: Program
    long: Long
    overlap: Overlap
    max_tokens: int
    stride: int | None


def make_plan(specs: Mapping[str, Spec], arch: Architecture, template: Template) -> Plan:
    """Resolve Specs; `template` says how many special tokens stand around a text. Raises SpecError."""
    if not specs:
        raise SpecError("nothing is asked for: give at least one Spec")
    first = next(iter(specs.values()))
    for name in SHARED:
        said = {str(getattr(spec, name)) for spec in specs.values()}
        if len(said) > 1:
            raise SpecError(
                f"what is made in one pass must agree on {name}, which is said to be {' and '.join(sorted(said))}"
            )
    views = {name: _view(spec, arch, template) for name, spec in specs.items()}
    n_special = template.prefix + template.suffix
    max_tokens = arch.max_tokens if first.max_tokens is None else first.max_tokens
    room = max_tokens - n_special
    if not 1 <= room <= arch.max_tokens - n_special:
        raise SpecError(
            f"max_tokens is {max_tokens:,}; this model takes {n_special + 1} to {arch.max_tokens:,} tokens, "
            f"of which {n_special} are special"
        )
    if first.stride is not None and first.stride > room:
        raise SpecError(
            f"stride {first.stride:,} would skip tokens: a window of {max_tokens:,} holds {room:,} ordinary ones"
        )
    layers = sorted({layer for view in views.values() for layer in view.layers})
    reductions = tuple(_reduction(view.spec) for view in views.values())
    return Plan(views, Program(tuple(layers), reductions), first.long, first.overlap, max_tokens, first.stride)


def _view(spec: Spec, arch: Architecture, template: Template) -> View:
    layers = spec.layer_numbers(arch.n_layers)
    weights = spec.layer_weights()
    if weights is not None and len(weights) != len(layers):
        raise SpecError(f"combine has {len(weights)} weights for {len(layers)} layers ({', '.join(map(str, layers))})")
    if spec.pool == "cls" and not template.prefix:
        raise SpecError("pool 'cls' needs a classification token; this tokenizer puts none before a text: use 'mean'")
    width = arch.width * len(layers) if spec.combine == "concat" else arch.width
    if spec.dims is not None and spec.dims > width:
        raise SpecError(f"dims is {spec.dims:,}, but a vector has {width:,} numbers")
    return View(spec, layers, weights, spec.dims or width)


def _reduction(spec: Spec) -> Reduction:
    kind = REDUCTIONS[spec.pool]
    return "weighted" if kind == "sum" and spec.overlap == "mean" else kind
