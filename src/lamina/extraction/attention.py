"""Attention weights: how the tokens or words of a text look at one another, layer by layer and head by head.

Comes in: texts that fit one window, for attention across windows does not exist. Goes out: an `Attention` a text,
without padding. Shapes: L layers and H heads asked for, T tokens, U units, S padded length, B texts of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.embeddings import Explaining, held_layer
from lamina.engine.batch import Batch, Engine, Float32
from lamina.errors import SpecError, TextError
from lamina.extraction.batches import padded_length
from lamina.extraction.table import units_table
from lamina.model.architecture import Architecture
from lamina.spec import Layers, Spec
from lamina.text.source import rows_of
from lamina.text.text import Text, as_text
from lamina.text.tokenizer import Tokenizer
from lamina.text.tokens import Bool, Int64, Tokens
from lamina.text.units import Units, make_units
from lamina.text.windows import Windows, fill, make_segments, make_windows

AttentionUnit = Literal["token", "word"]

BATCH_NUMBERS = 1 << 24  # the most weights computed at once, 64 MB; one text may have more


@dataclass(frozen=True, slots=True, eq=False)
class Attention(Explaining):
    """How the units of one text look at one another.

    text_id  the text's position in the input.
    units    the units table, [U] rows, as `extract` gives it; with unit `word`, tokens that no word covers (special
             ones above all) stand between the words with rows of their own.
    layers   the layers, 1 to n, in the order asked for.
    heads    the heads, 0 to n - 1, in the order asked for.
    weights  float32 [L, H, U, U]; row: from, column: to. Rows sum to 1; that of a word without any token is NaN, and so
             is all of a head that `lamina compress` has taken out of a layer.
    """

    text_id: int
    units: pa.Table
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    weights: Float32

    def __len__(self) -> int:
        return int(self.units.num_rows)

    def __repr__(self) -> str:
        layers, heads = (", ".join(map(str, numbers)) for numbers in (self.layers, self.heads))
        return f"Attention(text {self.text_id}: {len(self)} units; layers {layers}; heads {heads})"

    def layer(self, number: int) -> Float32:
        """The weights [H, U, U] of one layer by its number, -1 the last one held. Raises SpecError."""
        refusal = f"layer {number!r} is not here: these weights hold"
        of_layer: Float32 = self.weights[self.layers.index(held_layer(number, self.layers, refusal))]
        return of_layer


def attention_of(
    texts: Iterable[str | Text],
    *,
    layers: Layers,
    unit: AttentionUnit,
    heads: int | Iterable[int] | None,
    arch: Architecture,
    tokenizer: Tokenizer,
    engine: Engine,
) -> list[Attention]:
    """The attention of each text. Raises SpecError, and TextError for a text that does not fit one window."""
    asked = layer_numbers(layers, arch)
    kept_heads = head_numbers(heads, arch)
    if unit not in ("token", "word"):
        raise SpecError(f"attention is between units of 'token' or 'word', not {unit!r}")
    held = [as_text(text) for rows in rows_of(texts) for text in rows.texts]
    if not held:
        return []
    tokens = tokenizer.encode(held)
    check_one_window(tokens, arch.max_tokens)
    windows = make_windows(tokens, max_tokens=arch.max_tokens, stride=None)
    units, table = attention_units(unit, held, tokens, windows, tokenizer)
    bounds = np.searchsorted(units.text, np.arange(len(held) + 1))
    found: dict[int, Float32] = {}
    for which, weights in _weights(tokens, windows, asked, arch, engine):
        for b, text in enumerate(which.tolist()):
            T = int(windows.length[text])
            found[text] = weights[:, b, kept_heads, :T, :T]  # [L, H, T, T], a copy
            if unit == "word":
                found[text] = between_units(found[text], *_members(units, tokens, text, bounds))
    nothing = np.zeros((len(asked), len(kept_heads), 0, 0), np.float32)
    return [
        Attention(
            text_id=text,
            units=table.slice(bounds[text], bounds[text + 1] - bounds[text]),
            layers=asked,
            heads=tuple(kept_heads),
            weights=found.get(text, nothing),
        )
        for text in range(len(held))
    ]


def between_units(weights: Float32, first: Int64, last: Int64) -> Float32:
    """Weights between tokens [L, H, T, T] as weights between units [L, H, U, U] of the tokens first to last - 1.

    Summed over the tokens of the unit looked at, averaged over those of the unit that looks, so that rows still sum to
    1. Source: Clark et al. 2019 (What does BERT look at?), section 4.1. What a token gets that several units hold
    is divided among them equally. A unit without tokens looks nowhere: its row is NaN, its column 0.
    """
    place = np.arange(weights.shape[-1])
    holds = ((place >= first[:, None]) & (place < last[:, None])).astype(np.float32)  # [U, T]
    with np.errstate(invalid="ignore"):
        average = holds / holds.sum(axis=1, keepdims=True)
    result: Float32 = average @ (weights @ (holds / holds.sum(axis=0)).T)
    return result


def attention_units(
    unit: AttentionUnit, texts: Sequence[Text], tokens: Tokens, windows: Windows, tokenizer: Tokenizer
) -> tuple[Units, pa.Table]:
    """The units [U] and their table; every token is in one of them at least."""
    units = make_units(unit, texts, tokens)
    if unit == "word":
        units = _joined(units, _where(make_units("token", texts, tokens), _uncovered(units, tokens)))
    segments = make_segments(units.first, units.last, windows)
    table = units_table(unit, list(texts), tokens, units, segments, tokenizer)
    special = np.flatnonzero(units.special)
    if unit == "word" and special.size:
        surfaces = table["surface"].to_pylist()
        for row in special.tolist():
            surfaces[row] = tokenizer.piece(int(tokens.ids[units.first[row]]))
        table = table.set_column(table.schema.get_field_index("surface"), "surface", pa.array(surfaces, pa.string()))
    return units, table


def layer_numbers(layers: Layers, arch: Architecture) -> tuple[int, ...]:
    """The layers asked for, 1 to n. Raises SpecError."""
    numbers = Spec.of(layers=layers).layer_numbers(arch.n_layers)
    if 0 in numbers:
        raise SpecError(
            f"layer 0 is the embedding layer's output, which no attention made: layers 1 to {arch.n_layers} have "
            "attention, and layers='encoder' is all of them"
        )
    return numbers


def head_numbers(heads: int | Iterable[int] | None, arch: Architecture) -> list[int]:
    """The heads asked for, 0 to H - 1; None: all. Raises SpecError."""
    if heads is None:
        return list(range(arch.n_heads))
    numbers = list(heads) if isinstance(heads, Iterable) else [heads]
    for head in numbers:
        if isinstance(head, bool) or not hasattr(head, "__index__") or not 0 <= int(head) < arch.n_heads:
            raise SpecError(f"head {head!r} does not exist: this model has heads 0 to {arch.n_heads - 1}")
    if len(set(numbers)) < len(numbers) or not numbers:
        raise SpecError(f"heads must be different numbers, at least one, not {numbers}")
    return [int(head) for head in numbers]


def check_one_window(tokens: Tokens, max_tokens: int) -> None:
    """Raise TextError for the first text that does not fit one window."""
    counts = tokens.sizes
    too_long = np.flatnonzero(counts > max_tokens)
    if too_long.size:
        text = int(too_long[0])
        raise TextError(
            f"has {int(counts[text]):,} tokens, and one window of this model holds {max_tokens:,}: attention across "
            "windows does not exist, so give the parts of the text one by one",
            row=text,
        )


def _weights(
    tokens: Tokens, windows: Windows, layers: tuple[int, ...], arch: Architecture, engine: Engine
) -> Iterator[tuple[Int64, Float32]]:
    """The texts of each batch and their weights, [L, B, H, S, S]. A text without any token is in no batch."""
    padded = padded_length(windows.length, arch.max_tokens)
    for S in np.unique(padded[windows.length > 0])[::-1].tolist():
        same = np.flatnonzero(padded == S)
        B = max(1, BATCH_NUMBERS // (max(layers) * arch.n_heads * S * S))
        for low in range(0, same.size, B):
            which = same[low : low + B]
            ids, types = np.zeros((2, which.size, S), np.int32)
            fill(ids, tokens.ids, tokens, windows, which)
            fill(types, tokens.types, tokens, windows, which)
            batch = Batch(ids, types, windows.length[which].astype(np.int32), ())
            found = zip(layers, engine.attention(layers, batch), strict=True)
            yield which, np.stack([_all_heads(arch.layers[k - 1].heads, of_layer, arch) for k, of_layer in found])


def _all_heads(heads: tuple[int, ...] | None, weights: Float32, arch: Architecture) -> Float32:
    """A layer's weights [B, H, S, S], each head at its first number; NaN for those that the layer is without."""
    if heads is None:
        return weights
    B, _, S, _ = weights.shape
    whole = np.full((B, arch.n_heads, S, S), np.nan, np.float32)
    whole[:, heads] = weights
    return whole


def _members(units: Units, tokens: Tokens, text: int, bounds: npt.NDArray[np.intp]) -> tuple[Int64, Int64]:
    """The tokens of each unit of a text, counted within it."""
    of_text = slice(int(bounds[text]), int(bounds[text + 1]))
    return units.first[of_text] - tokens.bounds[text], units.last[of_text] - tokens.bounds[text]


def _uncovered(units: Units, tokens: Tokens) -> Bool:
    """The tokens [T] that are in no unit."""
    change = np.zeros(tokens.ids.size + 1, np.int64)
    np.add.at(change, units.first, 1)
    np.add.at(change, units.last, -1)
    return np.asarray(np.cumsum(change)[:-1] == 0)


def _where(units: Units, keep: Bool) -> Units:
    return Units(*(getattr(units, name)[keep] for name in Units.__slots__))


def _joined(one: Units, other: Units) -> Units:
    """The units of both, by text and place; words keep their order where they begin with the same token."""
    columns = [np.concatenate([getattr(units, name) for units in (one, other)]) for name in Units.__slots__]
    joined = Units(*columns)
    order = np.lexsort((joined.first, joined.text))
    return Units(*(column[order] for column in columns))
