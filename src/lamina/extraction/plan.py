"""A `Plan`: Specs resolved against one model, with every contradiction found before the first text is read.

Several Specs make one plan, a `View` each: one forward pass, many tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lamina.engine.batch import Program, Reduction
from lamina.errors import SpecError
from lamina.model.architecture import Architecture
from lamina.model.sentence import SentenceRecipe
from lamina.spec import Long, Overlap, Pool, Spec
from lamina.text.tokenizer_files import Template

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

    spec     what was asked for; where the pool is `model`, what that comes to.
    layers   the layers asked for, in the order asked for.
    weights  for each of them, where they are combined by weights.
    width    D of each result column.
    pools    how a unit's tokens become a vector; several, of the pool `model` only, are laid side by side. Of a single
             token it is that token's, whichever pool was asked for.
    recipe   where the pool is `model`: what is done to that vector.
    """

    spec: Spec
    layers: tuple[int, ...]
    weights: tuple[float, ...] | None
    width: int
    pools: tuple[Pool, ...]
    recipe: SentenceRecipe | None = None

    @property
    def n_numbers(self) -> int:
        """Of one row, in all its layers; what stands beside narrow ones takes room, too."""
        return max(self.width, 64) * len(self.layers)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: the views by name; the program has a reduction for each pool of each, in that order.

    stored          whether the vectors end in datasets.
    n_types         segment numbers that the model knows; 0: it does not look at them.
    prompt          is put before each text.
    include_prompt  whether its tokens are pooled, and those before it.
    lowercase       whether texts are read in lower case, whatever the tokenizer does.
    """

    views: dict[str, View]
    program: Program
    long: Long
    overlap: Overlap
    max_tokens: int
    stride: int | None
    stored: bool = False
    n_types: int = 0
    prompt: str = ""
    include_prompt: bool = True
    lowercase: bool = False

    @property
    def number_bytes(self) -> int:
        """What a number takes in the memory that holds the vectors of a chunk."""
        return 2 if self.program.narrow else 4

    @property
    def leaves_out_prompt(self) -> bool:
        return bool(self.prompt) and not self.include_prompt


def make_plan(
    specs: Mapping[str, Spec],
    arch: Architecture,
    template: Template,
    *,
    recipe: SentenceRecipe | None = None,
    stored: bool = False,
) -> Plan:
    """Resolve Specs; `template` says how many special tokens stand around a text. Raises SpecError.

    recipe  the checkpoint's, needed for `pool="model"`.
    stored  the vectors end in datasets, in the Specs' dtype.
    """
    if not specs:
        raise SpecError("nothing is asked for: give at least one Spec")
    specs = {name: resolved(spec, recipe, arch) for name, spec in specs.items()}
    first = next(iter(specs.values()))
    _check_shared(list(specs.values()))
    views = {name: _view(spec, arch, template, recipe) for name, spec in specs.items()}
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
    reductions = tuple(_reduction(pool, view.spec) for view in views.values() for pool in view.pools)
    prompt, lowercase = _reading(views)
    return Plan(
        views=views,
        program=Program(tuple(layers), reductions, narrow=stored and all(map(_is_plain, specs.values()))),
        long=first.long,
        overlap=first.overlap,
        max_tokens=max_tokens,
        stride=first.stride,
        stored=stored,
        n_types=arch.n_types,
        prompt=prompt,
        include_prompt=recipe is None or recipe.include_prompt,
        lowercase=lowercase,
    )


def _check_shared(specs: Sequence[Spec]) -> None:
    """Raise SpecError where the tables of one pass ask for windows of different kinds."""
    for name in SHARED:
        said = {str(getattr(spec, name)) for spec in specs}
        if len(said) > 1:
            cuts = any(spec.pool == "model" for spec in specs)
            raise SpecError(
                f"what is made in one pass must agree on {name}, which is said to be {' and '.join(sorted(said))}"
                + ("; pool 'model' cuts long texts, so say long and max_tokens for the others too" if cuts else "")
            )


def resolved(spec: Spec, recipe: SentenceRecipe | None, arch: Architecture) -> Spec:
    """A Spec of the pool `model` with everything said that the recipe decides; any other stays as it is."""
    if spec.pool != "model":
        return spec
    assert recipe is not None
    if spec.unit != "text":
        raise SpecError(f"pool 'model' is a vector of a text, not of a {spec.unit}: use unit='text', or pool='mean'")
    if spec.layers != "all" and spec.layer_numbers(arch.n_layers) != (arch.n_layers,):
        raise SpecError(f"pool 'model' is made of the last layer only, not of layers {spec.layers!r}: leave them out")
    for name, default in (("combine", "none"), ("special", "include")):
        if getattr(spec, name) != default:
            raise SpecError(f"pool 'model' says itself what becomes of {name}: leave out {getattr(spec, name)!r}")
    if spec.overlap == "mean" and "max" in recipe.pools:
        raise SpecError("there is no maximum over averaged windows, and this model pools by it: use overlap='centre'")
    prompt = recipe.default_prompt or "" if spec.prompt is None else spec.prompt
    if prompt and prompt not in recipe.prompts:
        named = ", ".join(recipe.prompts)
        raise SpecError(f"this model has no prompt {prompt!r}; it has {named}, or '' for none")
    return replace(
        spec,
        layers="-1",
        long="truncate" if spec.long == "window" else spec.long,
        max_tokens=spec.max_tokens or (recipe.max_tokens if recipe.max_tokens < arch.max_tokens else None),
        dims=spec.dims or recipe.dims,
        prompt=prompt,
    )


def _is_plain(spec: Spec) -> bool:
    """Whether float16 is stored just as an engine gives it: each vector that of one token, and nothing done to it."""
    said = (spec.unit, spec.dtype, spec.combine, spec.overlap, spec.dims, spec.normalize)
    return said == ("token", "float16", "none", "centre", None, False)


def _reading(views: Mapping[str, View]) -> tuple[str, bool]:
    """The prompt that is put before each text, and whether it is read in lower case."""
    ways = {
        (view.recipe.prompts.get(view.spec.prompt or "", ""), view.recipe.lowercase) if view.recipe else ("", False)
        for view in views.values()
    }
    if len(ways) > 1:
        raise SpecError(
            "what is made in one pass reads the same tokens, but pool 'model' puts a prompt before each text or reads "
            "it in lower case: make its table in a pass of its own"
        )
    return ways.pop()


def _view(spec: Spec, arch: Architecture, template: Template, recipe: SentenceRecipe | None) -> View:
    layers = spec.layer_numbers(arch.n_layers)
    weights = spec.layer_weights()
    if weights is not None and len(weights) != len(layers):
        raise SpecError(f"combine has {len(weights)} weights for {len(layers)} layers ({', '.join(map(str, layers))})")
    if spec.pool == "cls" and not template.prefix:
        raise SpecError("pool 'cls' needs a classification token; this tokenizer puts none before a text: use 'mean'")
    width = arch.width * len(layers) if spec.combine == "concat" else arch.width
    if spec.pool != "model":
        recipe = None
    else:
        assert recipe is not None
        width = recipe.width
    if spec.dims is not None and spec.dims > width:
        raise SpecError(f"dims is {spec.dims:,}, but a vector has {width:,} numbers")
    pools: tuple[Pool, ...] = recipe.pools if recipe else ("mean" if spec.unit == "token" else spec.pool,)
    return View(spec, layers, weights, spec.dims or width, pools, recipe)


def _reduction(pool: Pool, spec: Spec) -> Reduction:
    kind = REDUCTIONS[pool]
    return "weighted" if kind == "sum" and spec.overlap == "mean" else kind
