"""Which vectors an app looks at: one layer, or several layers as one matrix.

A `Mix` is a word: `4`, `-1`, `mean:-4..-1`, `sum:1,2`, `concat:-4..-1`, `0.2,0.8:3,4` (a weight for each layer), or
`combined` for data whose layers were combined when they were extracted. Layers are counted among those that the data
holds: -1 is the highest of them. Shapes: U units, D width of a layer, L layers of the mix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.embeddings import COMBINED, Vectors
from lamina.errors import SpecError
from lamina.spec import Spec

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Layer = int | str  # a layer's number, or the word of a mix


class Data(Protocol):
    """What `Embeddings` and `Dataset` have in common."""

    def __len__(self) -> int: ...
    @property
    def units(self) -> pa.Table: ...
    @property
    def layers(self) -> tuple[int, ...]: ...
    @property
    def combined(self) -> Vectors: ...
    def layer(self, number: int, /) -> Vectors: ...


@dataclass(frozen=True, slots=True)
class Mix:
    """One layer, or several as one matrix. `str(mix)` parses back with `Mix.parse`.

    layers   layer words as in a Spec: `4`, `-4..-1`, `1,2`; empty where the data is combined already.
    combine  `none` (one layer), `mean`, `sum`, `concat`, or weights with commas (a weighted sum).
    """

    layers: str
    combine: str = "none"

    @classmethod
    def parse(cls, layer: Layer) -> Mix:
        """A layer's number or a mix's word. Raises SpecError."""
        word = str(layer).replace(" ", "")
        if word == COMBINED:
            return cls("")
        combine, colon, layers = word.rpartition(":")
        mix = cls(layers, combine if colon else "none")
        Spec(layers=mix.layers, combine=mix.combine)  # checks the words
        if mix.combine == "none" and not word.removeprefix("-").isdecimal():
            raise SpecError(
                f"layer {word!r} is several: write one number, or how they become one, as in 'mean:{word}' "
                f"or 'concat:{word}'"
            )
        return mix

    def __str__(self) -> str:
        if not self.layers:
            return COMBINED
        return self.layers if self.combine == "none" else f"{self.combine}:{self.layers}"

    def numbers(self, held: tuple[int, ...]) -> tuple[int, ...]:
        """The layers that are mixed, of those held. Raises SpecError for one that is not."""
        if not held:
            raise SpecError(f"these layers were combined when they were extracted: there is only '{COMBINED}'")
        numbers = Spec(layers=self.layers).layer_numbers(max(held)) if max(held) else _of_layer_0(self.layers)
        for number in numbers:
            if number not in held:
                raise SpecError(f"layer {number} is not here: the data holds layers {', '.join(map(str, held))}")
        return numbers

    def vectors(self, data: Data, rows: npt.NDArray[np.int64] | None = None) -> Float32:
        """The matrix [U, D] (`concat`: [U, L * D]) in float32; a unit without tokens is NaN.

        rows  only these rows, in this order; the others are never turned into float32.
        """
        some: Any = slice(None) if rows is None else rows
        if not self.layers or (not data.layers and str(self) == "-1"):
            return np.asarray(data.combined[some], np.float32)
        numbers = self.numbers(data.layers)
        if self.combine == "none":
            return np.asarray(data.layer(numbers[0])[some], np.float32)
        if self.combine == "concat":
            return np.concatenate([data.layer(number)[some] for number in numbers], axis=1, dtype=np.float32)
        weights = Spec(layers=self.layers, combine=self.combine).layer_weights() or (1.0,) * len(numbers)
        if len(weights) != len(numbers):
            raise SpecError(f"{len(weights)} weights for {len(numbers)} layers ({', '.join(map(str, numbers))})")
        total: Any = 0
        for number, weight in zip(numbers, weights, strict=True):
            total = total + np.float32(weight) * np.asarray(data.layer(number)[some], np.float32)
        return np.asarray(total / np.float32(len(numbers)) if self.combine == "mean" else total, np.float32)

    def numbered(self, held: tuple[int, ...]) -> Mix:
        """The same with the layers' own numbers, which mean the same whatever else is held: `mean:3,4,5,6`."""
        return self if not held else Mix(",".join(map(str, self.numbers(held))), self.combine)


def vectors_of(data: Data, layer: Layer = -1) -> Float32:
    """The vectors [U, D] of a layer or a mix, in float32. Raises SpecError for what the data does not hold."""
    return Mix.parse(layer).vectors(data)


def each_layer(data: Data) -> Iterator[tuple[str, Float32]]:
    """Every layer held, by its word; one `combined` where they were combined when they were extracted."""
    for number in data.layers:
        yield str(number), np.asarray(data.layer(number), np.float32)
    if not data.layers:
        yield COMBINED, np.asarray(data.combined, np.float32)


def mixes_of(data: Data, layers: str | int | Iterable[Layer] = "all") -> list[Mix]:
    """Several layers or mixes, each to be looked at by itself: `all` that are held, `0,3,6`, `-4..-1`, a mix's word, or
    a list of those. Raises SpecError for what the data does not hold, and where nothing is named."""
    words = [layers] if isinstance(layers, str | int) else list(layers)
    found: list[Mix] = []
    for word in (str(word).replace(" ", "") for word in words):
        if word == "all":
            found += [Mix(str(number)) for number in data.layers] or [Mix("")]
        elif ":" in word or word == COMBINED or not data.layers:
            found.append(Mix.parse(word))
        else:
            found += [Mix(str(number)) for number in Mix(word, "mean").numbers(data.layers)]
    if not found:
        raise SpecError("no layer is named")
    return found


def usable(units: pa.Table, vectors: Vectors) -> Bool:
    """[U] whether a unit says anything: one without tokens (empty, dropped, refused) must be left out, and counted."""
    status = np.asarray(units.column("status").to_pylist(), object)
    usable: Bool = (status != "empty") & ~np.isnan(vectors[:, 0])
    return usable


def _of_layer_0(layers: str) -> tuple[int, ...]:
    """The numbers of layer words where only layer 0 is held, which has no encoder layer to count from."""
    return (0,) if layers == "-1" else Spec(layers=layers).layer_numbers(0)
