"""What is wanted of a model, as a value: it checks itself, prints, and parses back.

A `Spec` knows nothing of any model. `layer_numbers` resolves its layer words once the number of encoder layers is
known; everything else is settled by `lamina.extraction.plan`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from lamina.errors import SpecError

Unit = Literal["text", "pair", "sentence", "span", "word", "token"]
Pool = Literal["mean", "max", "sum", "sqrt", "position", "idf", "cls", "first", "last", "model"]
Special = Literal["include", "exclude"]
Long = Literal["window", "truncate", "error"]
Overlap = Literal["centre", "mean"]
Dtype = Literal["float16", "float32"]
Layers = str | int | range | Iterable[int]
Combine = str | Iterable[float]

_NUMBER = re.compile(r"-?\d{1,9}", re.ASCII)
LAYER_WORDS = ("all", "encoder", "embeddings")
COMBINATIONS = ("none", "mean", "sum", "concat")


@dataclass(frozen=True, slots=True)
class Spec:
    """What to extract. `str(spec)` parses back with `Spec.parse`.

    layers      which layers: `all` (0..n), `encoder` (1..n), `embeddings` (0), a number, `"-4..-1"`, `"0,6,12"`.
                0 is the embedding layer's output, 1..n the encoder layers, -1 the last one. Nothing wraps around.
    unit        what a row is: a `text`, a `sentence`, a `span` given with the text, a `word`, a `token`; of pairs
                also a whole `pair` (every other unit then comes from either side).
    pool        how a unit's tokens become one vector: `mean`, `max`, `sum`; `sqrt`, the sum over the root of
                their number; `position`, a mean weighted by place (the last token most); `idf`, a mean weighted by
                rarity in the corpus; `first` or `last` ordinary token; `cls`, the classification token (of a text
                or pair); `model`, as the checkpoint's own sentence-transformers modules say.
    combine     how layers become one vector, after pooling: `none` (a matrix a layer), `mean`, `sum`, `concat`, or a
                weight for each layer (a weighted sum, the weights as they are given).
    special     whether a text's mean, max or sum includes special tokens such as [CLS], as the models were trained.
    long        a text with more tokens than the model takes is read whole in overlapping windows (`window`), cut with
                a count (`truncate`), or refused (`error`).
    max_tokens  the longest input in tokens, special ones included; None: what the model can take.
    stride      tokens from the start of one window to the start of the next; None: three quarters of a window.
    overlap     a token that stands in several windows is taken from the one where it is deepest in context (`centre`),
                or averaged over them (`mean`).
    dims        keep only the first so many numbers of each vector (for models trained for it); None: all.
    normalize   scale each vector to unit length.
    prompt      the name of a prompt in the checkpoint, put before each text (pool `model` only); `""`: none; None: the
                checkpoint's default.
    dtype       as stored in a dataset; arrays in memory are float32.
    """

    layers: str = "all"
    unit: Unit = "text"
    pool: Pool = "mean"
    combine: str = "none"
    special: Special = "include"
    long: Long = "window"
    max_tokens: int | None = None
    stride: int | None = None
    overlap: Overlap = "centre"
    dims: int | None = None
    normalize: bool = False
    prompt: str | None = None
    dtype: Dtype = "float16"

    def __post_init__(self) -> None:
        check_word("unit", self.unit, get_args(Unit))
        check_word("pool", self.pool, get_args(Pool))
        check_word("special", self.special, get_args(Special))
        check_word("long", self.long, get_args(Long))
        check_word("overlap", self.overlap, get_args(Overlap))
        check_word("dtype", self.dtype, get_args(Dtype))
        if not isinstance(self.layers, str):
            raise SpecError(f"layers of a Spec are a string such as '4' or '0,6', not {self.layers!r}: or use Spec.of")
        _layer_items(self.layers)
        self.layer_weights()
        if self.pool in ("cls", "model") and self.unit not in ("text", "pair"):
            raise SpecError(
                f"pool {self.pool!r} is one vector a text, but the unit is {self.unit!r}: "
                "use unit='text', or pool='mean'"
            )
        if self.prompt is not None and (not isinstance(self.prompt, str) or self.pool != "model"):
            raise SpecError(f"prompt must be a prompt's name, and goes with pool='model' only, not {self.prompt!r}")
        if self.pool == "max" and self.overlap == "mean":
            raise SpecError("there is no maximum over averaged windows: use overlap='centre' with pool='max'")
        if self.unit == "pair" and self.special == "exclude":
            raise SpecError("special tokens stand inside a pair too: to leave them out, use unit='text'")
        if not isinstance(self.normalize, bool):
            raise SpecError(f"normalize must be True or False, not {self.normalize!r}")
        for name in ("max_tokens", "stride", "dims"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise SpecError(f"{name} must be a whole number of at least 1 or None, not {value!r}")

    @classmethod
    def of(
        cls,
        *,
        layers: Layers = "all",
        unit: Unit = "text",
        pool: Pool = "mean",
        combine: Combine = "none",
        special: Special = "include",
        long: Long = "window",
        max_tokens: int | None = None,
        stride: int | None = None,
        overlap: Overlap = "centre",
        dims: int | None = None,
        normalize: bool = False,
        prompt: str | None = None,
        dtype: Dtype = "float16",
    ) -> Spec:
        """A Spec from Python values: `layers` may be a number, a range or a list, `combine` a list of weights."""
        return cls(
            layers=layers_text(layers),
            unit=unit,
            pool=pool,
            combine=combine_text(combine),
            special=special,
            long=long,
            max_tokens=max_tokens,
            stride=stride,
            overlap=overlap,
            dims=dims,
            normalize=normalize,
            prompt=prompt,
            dtype=dtype,
        )

    @classmethod
    def parse(cls, text: str) -> Spec:
        """The inverse of `str`: `"layers=-4..-1 unit=word"`; what is not named keeps its default."""
        readers: dict[str, Callable[[str, str], Any]] = {
            "max_tokens": _read_count,
            "stride": _read_count,
            "dims": _read_count,
            "normalize": _read_flag,
            "prompt": _read_name,
        }
        known = [field.name for field in fields(cls)]
        values: dict[str, Any] = {}
        for item in text.split():
            name, equals, value = item.partition("=")
            if not equals or name not in known:
                raise SpecError(
                    f"{item!r} is no option of a Spec; expected NAME=VALUE with a name of {', '.join(known)}"
                )
            values[name] = readers[name](name, value) if name in readers else value
        return cls(**values)

    def __str__(self) -> str:
        return " ".join(f"{field.name}={_write(getattr(self, field.name), field.name)}" for field in fields(self))

    def layer_numbers(self, n_layers: int) -> tuple[int, ...]:
        """The layers of a model with `n_layers` encoder layers, as numbers 0..n_layers in the order asked for."""
        numbers: list[int] = []
        for first, last in _layer_items(self.layers):
            start, stop = (_resolve(word, n_layers) for word in (first, last))
            if start > stop:
                raise SpecError(
                    f"layers {first}..{last} run backwards: {start} is above {stop}; write the lower one first"
                )
            numbers.extend(range(start, stop + 1))
        twice = sorted({k for k in numbers if numbers.count(k) > 1})
        if twice:
            raise SpecError(f"layers {self.layers!r} name layer {twice[0]} more than once (of layers 0 to {n_layers})")
        return tuple(numbers)

    def layer_weights(self) -> tuple[float, ...] | None:
        """The weights of `combine`, or None where it is a word."""
        if self.combine in COMBINATIONS:
            return None
        try:
            weights = tuple(float(item) for item in self.combine.split(","))
            if any(character.isspace() for character in self.combine):
                raise ValueError
        except (ValueError, AttributeError):
            raise SpecError(
                f"combine must be one of {', '.join(COMBINATIONS)} or a list of weights, not {self.combine!r}"
            ) from None
        if not all(abs(weight) < float("inf") for weight in weights):
            raise SpecError(f"combine holds a weight that is not finite: {self.combine!r}")
        return weights


def layers_text(layers: Layers) -> str:
    """The layer words of a Spec for a Python value: `[0, 6]` gives `"0,6"`."""
    if isinstance(layers, str):
        return layers.replace(" ", "")
    if not isinstance(layers, Iterable):
        if not hasattr(layers, "__index__"):
            raise SpecError(f"layers must be a word, a number or a list of numbers, not {layers!r}")
        layers = [layers]
    items = list(layers)
    for item in items:
        if isinstance(item, bool) or not hasattr(item, "__index__"):
            raise SpecError(f"a layer is a whole number, not {item!r}")
    return ",".join(str(int(item)) for item in items)


def combine_text(combine: Combine) -> str:
    """The `combine` of a Spec for a Python value: `[1, 0.5]` gives `"1.0,0.5"`."""
    if isinstance(combine, str):
        return combine.replace(" ", "")
    try:
        return ",".join(repr(float(weight)) for weight in combine)
    except (TypeError, ValueError):
        raise SpecError(f"combine must be a word or a list of weights, not {combine!r}") from None


def _layer_items(layers: str) -> list[tuple[str, str]]:
    """Each comma-separated item as the words of its first and last layer."""
    whole = {"all": ("0", "-1"), "encoder": ("1", "-1"), "embeddings": ("0", "0")}
    items = []
    for item in layers.split(","):
        first, dots, last = item.partition("..")
        span = whole.get(item) or (first, last if dots else first)
        if not all(_NUMBER.fullmatch(word) for word in span):
            raise SpecError(
                f"layers {layers!r} cannot be read at {item!r}: expected {', '.join(LAYER_WORDS)}, a number such as 4 "
                'or -1, a range such as "-4..-1" (both ends included), or several with commas'
            )
        items.append(span)
    return items


def _resolve(word: str, n_layers: int) -> int:
    number = int(word)
    if word.startswith("-") and -n_layers <= number < 0:
        return n_layers + 1 + number
    if 0 <= number <= n_layers and not word.startswith("-"):
        return number
    raise SpecError(
        f"layer {word} does not exist: this model has layers 0 to {n_layers} (0 is the embedding layer's output, "
        f"1 to {n_layers} the encoder layers; -1 is layer {n_layers}, -{n_layers} is layer 1)"
    )


def check_word(name: str, value: object, words: tuple[str, ...]) -> None:
    """Raise SpecError for a value that is none of the words."""
    if value not in words:
        raise SpecError(f"{name} must be one of {', '.join(words)}, not {value!r}")


def _write(value: object, name: str) -> str:
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _write_name(str(value)) if name == "prompt" else str(value)


def _read_count(name: str, text: str) -> int | None:
    if text == "auto":
        return None
    if not _NUMBER.fullmatch(text):
        raise SpecError(f"{name} must be a whole number or 'auto', not {text!r}")
    return int(text)


def _write_name(name: str) -> str:
    """A name that may hold anything, as one word: what would be misread becomes % and four hexadecimal digits."""
    risky = r"^a(?=uto$)|[\s%]"  # `auto` stands for None
    return re.sub(risky, lambda found: f"%{ord(found[0]):04x}", name)


def _read_name(name: str, text: str) -> str | None:  # noqa: ARG001 - one signature for all readers
    if text == "auto":
        return None
    return re.sub("%([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)


def _read_flag(name: str, text: str) -> bool:
    if text not in ("yes", "no"):
        raise SpecError(f"{name} must be 'yes' or 'no', not {text!r}")
    return text == "yes"
