"""The sentence recipe: how a sentence-transformers folder turns a text's last layer into one vector.

Comes in: a model folder whose JSON anybody may have written. Goes out: a `SentenceRecipe`, or a `CheckpointError`
that names file and key. The class names in `modules.json` are only ever compared with the table `MODULES`; nothing is
imported by name. A folder without `modules.json` gets what sentence-transformers makes of it: a mean.

Source of the meaning of every key: sentence-transformers 6.2, `base/modules` and `sentence_transformer/modules`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.errors import CheckpointError, WeightsError
from lamina.model.architecture import Architecture
from lamina.model.checkpoint import inside
from lamina.model.sentence_keys import (
    ACTIVATIONS,
    DENSE_KEYS,
    MODEL_KEYS,
    MODES,
    NORMALIZE_KEYS,
    POOLING_KEYS,
    POOLS,
    TOKENIZER_KEYS,
    TRANSFORMER_KEYS,
    DenseActivation,
    checked,
    read_json,
)
from lamina.model.weights import ITEM_BYTES, read_tensors
from lamina.spec import Pool

MODULES_JSON, MODEL_JSON = "modules.json", "config_sentence_transformers.json"
# The Transformer module's settings, under the names of seven generations; the first that is there counts.
TRANSFORMER_JSON = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

# What each module is called in modules.json, by the versions of sentence-transformers.
MODULES: dict[str, tuple[str, ...]] = {
    "Transformer": (
        "sentence_transformers.models.Transformer",
        "sentence_transformers.base.modules.transformer.Transformer",
    ),
    "Pooling": (
        "sentence_transformers.models.Pooling",
        "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    ),
    "Dense": (
        "sentence_transformers.models.Dense",
        "sentence_transformers.base.modules.dense.Dense",
    ),
    "Normalize": (
        "sentence_transformers.models.Normalize",
        "sentence_transformers.sentence_transformer.modules.normalize.Normalize",
        "sentence_transformers.base.modules.normalize.Normalize",
    ),
}

_FOLDER_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,254}", re.ASCII)  # a longer one is an OSError wherever it is used


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A linear layer and an activation: `weight` [out, in], `bias` [out] or None."""

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None
    activation: DenseActivation


@dataclass(frozen=True, slots=True)
class Normalize:
    """Each vector divided by its length."""


@dataclass(frozen=True, slots=True, eq=False)
class SentenceRecipe:
    """From a text to one vector.

    source          modules.json; None where there is none, and the recipe is sentence-transformers' default.
    max_tokens      longer texts are cut, special tokens included.
    lowercase       whether texts are read in lower case, whatever the tokenizer does.
    pools           how tokens become a vector, all of them, special ones too; several are laid side by side.
    steps           what is done to that vector, in order.
    width           D of the result, before `dims`.
    dims            only the first so many numbers are kept; None: all.
    prompts         by name, what may be put before each text.
    default_prompt  the name of the one that is, if no other is asked for; None: none.
    include_prompt  whether the prompt's tokens (and [CLS]) are pooled.
    """

    source: str | None
    max_tokens: int
    pools: tuple[Pool, ...]
    width: int
    lowercase: bool = False
    steps: tuple[Dense | Normalize, ...] = ()
    dims: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    include_prompt: bool = True

    @property
    def sha256(self) -> str:
        """The hash of everything that decides its numbers; where its file lies does not."""
        digest = hashlib.sha256(
            json.dumps(
                [self.max_tokens, self.pools, self.width, self.lowercase, self.dims, dict(self.prompts),
                 self.default_prompt, self.include_prompt]
            ).encode()
        )  # fmt: skip
        for step in self.steps:
            digest.update(type(step).__name__.encode())
            if isinstance(step, Dense):
                digest.update(step.activation.encode())
                for array in (step.weight, step.bias):
                    digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def __str__(self) -> str:
        """In words: `mean, unit length, at most 256 tokens`."""
        said = [" + ".join(self.pools)]
        for step in self.steps:
            said.append(
                "unit length" if isinstance(step, Normalize) else f"dense to {step.weight.shape[0]} ({step.activation})"
            )
        if self.dims is not None:
            said.append(f"the first {self.dims:,} numbers")
        if self.lowercase:
            said.append("in lower case")
        named = [name for name, text in self.prompts.items() if text]
        if named:
            said.append(f"prompts {', '.join(named)} (default: {self.default_prompt or 'none'})")
        return ", ".join([*said, f"at most {self.max_tokens:,} tokens"])


def read_recipe(folder: Path, arch: Architecture) -> SentenceRecipe:
    """The recipe of a model folder. Raises CheckpointError for a module or a setting that is not in the tables."""
    if not (folder / MODULES_JSON).is_file():  # then sentence-transformers looks at no other file of its own either
        return SentenceRecipe(None, _max_tokens(folder, arch, None), ("mean",), arch.width, prompts=NO_PROMPTS)
    transformer = _transformer(folder)
    places = _module_places(folder)
    pools, include_prompt = _pooling(places[0][1], arch)
    width, steps = len(pools) * arch.width, []
    for kind, place in places[1:]:
        step = STEPS[kind](place, width)
        width = step.weight.shape[0] if isinstance(step, Dense) else width
        steps.append(step)
    model = checked(folder / MODEL_JSON, MODEL_KEYS, required=False)
    prompts = NO_PROMPTS | {name: text or "" for name, text in model.get("prompts", {}).items()}
    default = model.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise CheckpointError(
            f"{folder / MODEL_JSON}: default_prompt_name is {default[:80]!r}, but prompts has only {', '.join(prompts)}"
        )
    dims = model.get("truncate_dim")
    return SentenceRecipe(
        source=str(folder / MODULES_JSON),
        max_tokens=_max_tokens(folder, arch, transformer.get("max_seq_length")),
        lowercase=transformer.get("do_lower_case", False),
        pools=pools,
        width=width,
        steps=tuple(steps),
        dims=dims if dims is not None and dims < width else None,
        prompts=prompts,
        default_prompt=default,
        include_prompt=include_prompt,
    )


def _max_tokens(folder: Path, arch: Architecture, said: int | None) -> int:
    """What the Transformer module says, else what the tokenizer says; never more than the model's positions."""
    tokenizer = checked(folder / "tokenizer_config.json", TOKENIZER_KEYS, required=False)
    longest = tokenizer.get("model_max_length", arch.max_tokens) if said is None else said
    return int(min(longest, arch.max_tokens))


def _transformer(folder: Path) -> dict[str, Any]:
    for name in TRANSFORMER_JSON:
        if found := checked(folder / name, TRANSFORMER_KEYS, required=False):
            return found
    return {}


def _module_places(folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module after the Transformer; the first is the Pooling."""
    path = folder / MODULES_JSON
    found = read_json(path)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise CheckpointError(f"{path} must hold a JSON list of objects")
    names = {name: kind for kind, names in MODULES.items() for name in names}
    kinds, places = [], []
    for entry in found:
        kind, place = entry.get("type"), entry.get("path")
        if not isinstance(kind, str) or kind not in names:
            raise CheckpointError(
                f"{path} names the module {str(kind)[:80]!r}, which Lamina does not know; "
                f"supported: {', '.join(MODULES)}"
            )
        kinds.append(names[kind])
        if kinds[-1] == "Transformer":
            if place != "":
                raise CheckpointError(
                    f"{path} puts the Transformer in {str(place)[:80]!r}; Lamina reads folders that hold config.json "
                    "and the weights themselves"
                )
        elif not isinstance(place, str) or not _FOLDER_NAME.fullmatch(place):
            raise CheckpointError(f"{path} names the path {str(place)[:80]!r}, which is no plain folder name")
        else:
            places.append((kinds[-1], inside(folder, place, path)))
    if kinds[:2] != ["Transformer", "Pooling"] or any(kind in ("Transformer", "Pooling") for kind in kinds[2:]):
        raise CheckpointError(
            f"{path} lists {', '.join(kinds) or 'nothing'}; supported: a Transformer, a Pooling, then any number of "
            "Dense and Normalize"
        )
    return places


def _pooling(folder: Path, arch: Architecture) -> tuple[tuple[Pool, ...], bool]:
    path = folder / "config.json"
    found = checked(path, POOLING_KEYS)
    for key in ("embedding_dimension", "word_embedding_dimension"):
        if found.get(key, arch.width) != arch.width:
            raise CheckpointError(f"{path}: {key} is {found[key]}, but the model's width is {arch.width}")
    modes = found.get("pooling_mode")
    if modes is None:
        modes = [mode for mode, flag, _ in MODES if found.get(flag, False)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    return tuple(POOLS[mode] for mode in modes), found.get("include_prompt", True)


def _dense(folder: Path, width: int) -> Dense:
    path = folder / "config.json"
    found = checked(path, DENSE_KEYS)
    lacking = [key for key in ("in_features", "out_features") if key not in found]
    if lacking:
        raise CheckpointError(f"{path} has no {lacking[0]!r}, which must be {DENSE_KEYS[lacking[0]][0]}")
    if found["in_features"] != width:
        raise CheckpointError(f"{path}: in_features is {found['in_features']}, but what comes in has {width} numbers")
    expected: dict[str, tuple[int, ...]] = {"linear.weight": (found["out_features"], width)}
    if found.get("bias", True):
        expected["linear.bias"] = (found["out_features"],)
    weights = _dense_weights(folder, expected)
    activation = ACTIVATIONS[found.get("activation_function", "torch.nn.Tanh")]
    return Dense(weights["linear.weight"], weights.get("linear.bias"), activation)


def _dense_weights(folder: Path, expected: dict[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.float32]]:
    path = folder / "model.safetensors"
    if not path.is_file():
        pickled = folder / "pytorch_model.bin"
        why = (
            f"it holds only {pickled.name}, which can run code when it is read and is refused; save the model with "
            "a newer sentence-transformers, or take a revision that has safetensors"
            if pickled.is_file()
            else f"{path.name} is not there"
        )
        raise CheckpointError(f"{folder} has no safetensors: {why}")
    tensors = {tensor.name: tensor for tensor in read_tensors(path)}
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if shapes != expected or any(tensor.dtype not in ITEM_BYTES for tensor in tensors.values()):
        held = ", ".join(f"{name} {tensor.dtype} {list(tensor.shape)}" for name, tensor in tensors.items())
        wanted = ", ".join(f"{name} {list(shape)}" for name, shape in expected.items())
        raise WeightsError(f"{path} holds {held or 'nothing'}; its config.json describes {wanted}, as floats")
    return {name: tensor.float32() for name, tensor in tensors.items()}


def _normalize(folder: Path, width: int) -> Normalize:  # noqa: ARG001 - one signature for all steps
    checked(folder / "config.json", NORMALIZE_KEYS, required=False)
    return Normalize()


STEPS: dict[str, Callable[[Path, int], Dense | Normalize]] = {"Dense": _dense, "Normalize": _normalize}
NO_PROMPTS: dict[str, str] = {"query": "", "document": ""}  # sentence-transformers knows these names in every folder
