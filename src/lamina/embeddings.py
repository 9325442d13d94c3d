"""`Embeddings`: a table of units and, for each layer asked for, one matrix with a row per unit.

The shape that everything downstream reads: in memory here, on disk as a dataset's shards.
Shapes: U units, L layers asked for, D hidden width (L * D where layers are concatenated).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.arrow import numbers
from lamina.errors import SpecError
from lamina.spec import Dtype, check_word

Vectors = npt.NDArray[np.float32] | npt.NDArray[np.float16]

COMBINED = "combined"
LAYER_PREFIX = "layer_"
_LAYER_COLUMN = re.compile(r"layer_\d+", re.ASCII)

UNIT_FIELDS: dict[str, pa.DataType] = {
    "text_id": pa.int64(),  # the text's position in the input
    "surface": pa.string(),  # text[start:end]; a special token's own name
    "start": pa.int64(),  # character offsets into the original string
    "end": pa.int64(),
    "special": pa.bool_(),  # a token that the tokenizer added
    "n_tokens": pa.int32(),  # its tokens, special ones not counted (a special token's own row: 1)
    "n_windows": pa.int32(),  # windows that they were taken from
    "status": pa.string(),  # ok | empty | dropped | cut | error
    "error": pa.string(),  # why its text could not be read, where the status is error; else null
}
TOKEN_FIELDS: dict[str, pa.DataType] = {"token": pa.string(), "token_id": pa.int32()}  # unit="token" only
PAIR_FIELDS: dict[str, pa.DataType] = {"side": pa.int32()}  # of pairs: 0 the first text, 1 the second; else null

# What a model's output is asked for in transformers, and what to write here.
ADVICE = {
    "last_hidden_state": "extract with layers=-1 and write .layer(-1); a row for each token comes with unit='token'",
    "hidden_states": "write .layer(4) for layer 4; .layers lists those held",
    "pooler_output": "Lamina leaves the pooler out; extract with pool='cls' for the state of [CLS]",
    "attentions": "they are no embeddings: the model computes them, model.attention(texts, layers=...)",
    "shape": "each layer has its own: write .layer(4).shape",
}


def layer_column(layer: int) -> str:
    """The name of a layer's column: `layer_4`."""
    return f"{LAYER_PREFIX}{layer}"


def vector_columns(names: Iterable[str]) -> list[str]:
    """Those of `names` that hold vectors, in their order."""
    return [name for name in names if name == COMBINED or _LAYER_COLUMN.fullmatch(name)]


class Explaining:
    """Answers the habits of transformers, where an index or a name means something else, with what to write instead."""

    __slots__ = ()

    def __getitem__(self, key: object) -> NoReturn:
        raise SpecError(
            f"{type(self).__name__} cannot be indexed (with {key!r}) or iterated: layer, text or token? Write "
            ".layer(4) for layer 4, .layer(4)[0] for its first row, .layers[-4:] for the last four numbers held"
        )

    if not TYPE_CHECKING:  # type checkers shall go on refusing these names

        def __getattr__(self, name: str) -> NoReturn:
            if name in ADVICE:
                raise AttributeError(f"{type(self).__name__} has no {name}: {ADVICE[name]}", name=name, obj=self)
            return object.__getattribute__(self, name)  # raises what it raised before


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings(Explaining):
    """Units of text and their vectors.

    units    the units table, [U] rows; columns as in `UNIT_FIELDS`, then those that travelled along.
    columns  name -> float array [U, D]: `layer_0` …, or `combined` where the Spec combines layers. A unit without any
             token (an empty text without special tokens, a word that the tokenizer drops) has `n_tokens` 0,
             a `status` that says why, and NaN: never zeros.
    n_texts  how many texts of the input they come from; a text without any word has no row of unit `word`.
    """

    units: pa.Table
    columns: Mapping[str, Vectors]
    n_texts: int

    def __post_init__(self) -> None:
        for name, matrix in self.columns.items():
            if matrix.shape[:1] != (self.units.num_rows,):
                raise ValueError(f"column {name} has {matrix.shape[0]} rows for {self.units.num_rows} units")

    def __len__(self) -> int:
        return int(self.units.num_rows)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(matrix.shape)}" for name, matrix in self.columns.items())
        return f"Embeddings({len(self)} units; {shapes})"

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of the layers held, in the order asked for; empty where they were combined."""
        return tuple(int(name.removeprefix(LAYER_PREFIX)) for name in self.columns if name != COMBINED)

    def layer(self, number: int) -> Vectors:
        """The matrix [U, D] of one layer by its number: 0 the embedding layer's output, -1 the last one held.

        Raises SpecError where they do not hold the layer.
        """
        refusal = f"{layer_column(number)!r} is not here: these embeddings hold"
        return self.columns[layer_column(held_layer(number, self.layers, refusal))]

    @property
    def combined(self) -> Vectors:
        """The matrix [U, D] (or [U, L * D]) of the layers combined."""
        if COMBINED not in self.columns:
            raise SpecError(f"{COMBINED!r} is not here: these embeddings hold each layer by itself, use .layer(k)")
        return self.columns[COMBINED]

    def table(self, dtype: Dtype = "float32") -> pa.Table:
        """Units and vectors as one Arrow table; each vector column a non-null fixed-size list of `dtype`."""
        result = self.units
        for name, matrix in self.columns.items():
            result = result.append_column(vector_field(name, matrix.shape[1], dtype), vector_array(matrix, dtype))
        return result


def held_layer(number: int, layers: tuple[int, ...], refusal: str) -> int:
    """The layer that `number` means of those held, -1 the highest of them. Raises SpecError, begun with `refusal`."""
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise SpecError(f"a layer is a whole number such as 4, or -1 for the last one held, not {number!r}")
    if number == -1 and layers:
        return max(layers)
    if number in layers:
        return int(number)
    held = f"layers {', '.join(map(str, layers))}" if layers else "the layers combined (`.combined`)"
    why = " (the model may have layers above these, so only -1 counts from the end: write the number)"
    raise SpecError(f"{refusal} {held}{why if number < -1 and layers else ''}")


def vector_field(name: str, width: int, dtype: Dtype) -> pa.Field:
    """The Arrow field of a vector column. Raises SpecError for a dtype that none is stored in."""
    check_word("dtype", dtype, get_args(Dtype))
    value = pa.float16() if dtype == "float16" else pa.float32()
    return pa.field(name, pa.list_(pa.field("item", value, nullable=False), width), nullable=False)


def vector_array(matrix: Vectors, dtype: Dtype) -> pa.Array:
    """A matrix [U, D] as an Arrow fixed-size list array, without a copy where the type is the same already."""
    field = vector_field("", matrix.shape[1], dtype)
    with np.errstate(over="ignore"):  # beyond float16's range is infinite, and `lamina.dataset.writer` refuses it
        flat = np.ascontiguousarray(matrix, dtype=dtype).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(numbers(flat, field.type.value_type), type=field.type)


def vector_matrix(column: pa.ChunkedArray | pa.FixedSizeListArray) -> Vectors:
    """The matrix [U, D] of an Arrow fixed-size list column, in its stored type."""
    width = column.type.list_size
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    dtype = column.type.value_type.to_pandas_dtype()
    parts = [chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, width) for chunk in chunks]
    result: Vectors = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, width), dtype)])
    return result


def unit_length(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each row [D] divided by its Euclidean length; a row of zeros stays as it is."""
    length = np.sqrt((matrix * matrix).sum(axis=1, keepdims=True))
    scaled = matrix.copy()
    np.divide(matrix, length, out=scaled, where=length > 0)
    return scaled


def concatenate(parts: Iterable[Embeddings]) -> Embeddings:
    """Embeddings of one Spec laid end to end; the parts must hold the same columns and at least one is needed."""
    held = list(parts)
    if len(held) == 1:
        return held[0]
    names = list(held[0].columns)
    return Embeddings(
        units=end_to_end([part.units for part in held]),
        columns={name: np.concatenate([part.columns[name] for part in held]) for name in names},
        n_texts=sum(part.n_texts for part in held),
    )


def end_to_end(parts: Sequence[pa.Table]) -> pa.Table:
    """Tables of units laid end to end, each a piece of the whole: with `side` where a row is of a pair, however they
    were cut into pieces."""
    table = pa.concat_tables(parts, promote_options="default")
    names = max((part.column_names for part in parts), key=len)  # a piece without a pair has no `side`
    return table.select([name for name in names if name not in PAIR_FIELDS or table[name].null_count < len(table)])
