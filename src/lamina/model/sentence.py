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
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lamina.errors import CheckpointError, WeightsError
from lamina.model.architecture import Architecture
from lamina.model.config import MAX_BYTES
from lamina.model.weights import ITEM_BYTES, read_tensors
from lamina.spec import Pool

DenseActivation = Literal["identity", "tanh", "relu", "gelu", "silu", "sigmoid"]

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

# A pooling mode, its flag in older files, our word. In the order in which several flags are laid side by side.
MODES: tuple[tuple[str, str, Pool], ...] = (
    ("cls", "pooling_mode_cls_token", "cls"),
    ("max", "pooling_mode_max_tokens", "max"),
    ("mean", "pooling_mode_mean_tokens", "mean"),
    ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", "sqrt"),
    ("weightedmean", "pooling_mode_weightedmean_tokens", "position"),
    ("lasttoken", "pooling_mode_lasttoken", "last"),
)
POOLS: dict[str, Pool] = {mode: pool for mode, _, pool in MODES}

# torch.nn's names of activations, as files spell them.
ACTIVATIONS: dict[str, DenseActivation] = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
}
ACTIVATIONS |= {f"torch.nn.{name.rpartition('.')[2]}": ours for name, ours in ACTIVATIONS.items()}

_FOLDER_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)


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
    model = _checked(folder / MODEL_JSON, MODEL_KEYS, required=False)
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
    tokenizer = _checked(folder / "tokenizer_config.json", TOKENIZER_KEYS, required=False)
    longest = tokenizer.get("model_max_length", arch.max_tokens) if said is None else said
    return int(min(longest, arch.max_tokens))


def _transformer(folder: Path) -> dict[str, Any]:
    for name in TRANSFORMER_JSON:
        if found := _checked(folder / name, TRANSFORMER_KEYS, required=False):
            return found
    return {}


def _module_places(folder: Path) -> list[tuple[str, Path]]:
    """Kind and folder of each module after the Transformer; the first is the Pooling."""
    path = folder / MODULES_JSON
    found = _json(path)
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
            places.append((kinds[-1], folder / place))
    if kinds[:2] != ["Transformer", "Pooling"] or any(kind in ("Transformer", "Pooling") for kind in kinds[2:]):
        raise CheckpointError(
            f"{path} lists {', '.join(kinds) or 'nothing'}; supported: a Transformer, a Pooling, then any number of "
            "Dense and Normalize"
        )
    return places


def _pooling(folder: Path, arch: Architecture) -> tuple[tuple[Pool, ...], bool]:
    path = folder / "config.json"
    found = _checked(path, POOLING_KEYS)
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
    found = _checked(path, DENSE_KEYS)
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
    _checked(folder / "config.json", NORMALIZE_KEYS, required=False)
    return Normalize()


STEPS: dict[str, Callable[[Path, int], Dense | Normalize]] = {"Dense": _dense, "Normalize": _normalize}
NO_PROMPTS: dict[str, str] = {"query": "", "document": ""}  # sentence-transformers knows these names in every folder


# What each file may say. A key that is in no table is not looked at; null is the same as absent.
Keys = dict[str, tuple[str, Callable[[Any], bool]]]


def _whole(low: int, high: int) -> tuple[str, Callable[[Any], bool]]:
    return f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high


def _word(*words: str) -> tuple[str, Callable[[Any], bool]]:
    return f"one of {', '.join(words)}", lambda v: type(v) is str and v in words


def _is_prompts(value: Any) -> bool:
    return isinstance(value, dict) and all(text is None or _is_unicode(text) for text in [*value, *value.values()])


def _is_unicode(value: Any) -> bool:
    return type(value) is str and not re.search("[\ud800-\udfff]", value)


def _is_modes(value: Any) -> bool:
    modes = [value] if isinstance(value, str) else value
    return isinstance(modes, list) and 0 < len(modes) <= 16 and all(type(m) is str and m in POOLS for m in modes)


_FLAG = ("true or false", lambda v: type(v) is bool)
_NOTHING = ("empty (what it sets is not supported)", lambda v: v in ({}, None))
_OF_TEXTS = ("forward and last_hidden_state for text", lambda v: v == {
    "text": {"method": "forward", "method_output_name": "last_hidden_state"}
})  # fmt: skip
_ON_THE_VECTOR = _word("sentence_embedding")

TOKENIZER_KEYS: Keys = {
    "model_max_length": ("a number of at least 1", lambda v: type(v) in (int, float) and v >= 1),
    "truncation_side": _word("right"),
}
TRANSFORMER_KEYS: Keys = {
    "max_seq_length": _whole(1, 1_048_576),
    "do_lower_case": _FLAG,
    "transformer_task": _word("feature-extraction"),
    "module_output_name": _word("token_embeddings"),
    "modality_config": _OF_TEXTS,
    "processing_kwargs": _NOTHING,
    "processor_kwargs": _NOTHING,
    "config_kwargs": _NOTHING,
    "tokenizer_args": _NOTHING,
    "config_args": _NOTHING,
}
POOLING_KEYS: Keys = {
    "embedding_dimension": _whole(1, 16_384),
    "word_embedding_dimension": _whole(1, 16_384),
    "pooling_mode": (f"one or several of {', '.join(POOLS)}", _is_modes),
    "include_prompt": _FLAG,
    **{flag: _FLAG for _, flag, _ in MODES},
}
DENSE_KEYS: Keys = {
    "in_features": _whole(1, 1_048_576),
    "out_features": _whole(1, 1_048_576),
    "bias": _FLAG,
    "activation_function": _word(*ACTIVATIONS),
    "module_input_name": _ON_THE_VECTOR,
    "module_output_name": _ON_THE_VECTOR,
    "use_residual": ("false (a residual is not supported)", lambda v: v is False),
}
NORMALIZE_KEYS: Keys = {"module_input_name": _ON_THE_VECTOR, "module_output_name": _ON_THE_VECTOR}
MODEL_KEYS: Keys = {
    "model_type": _word("SentenceTransformer"),
    "prompts": ("an object of names and texts", _is_prompts),
    "default_prompt_name": ("a name", _is_unicode),
    "truncate_dim": _whole(1, 1_048_576),
}


def _checked(path: Path, keys: Keys, *, required: bool = True) -> dict[str, Any]:
    """The allowed keys of a JSON object; none where the file is not there and need not be."""
    if not path.is_file():
        if required:
            raise CheckpointError(f"{path} is missing: the model is not complete")
        return {}
    found = _json(path)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(found).__name__}")
    values = {key: found[key] for key in keys if found.get(key) is not None}
    for key, value in values.items():
        expected, holds = keys[key]
        if not holds(value):
            raise CheckpointError(f"{path}: {key} must be {expected}, not {str(value)[:80]!r}")
    return values


def _json(path: Path) -> Any:
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; such a file has at most {MAX_BYTES:,}")
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from None
