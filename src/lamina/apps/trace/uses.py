"""One word in several sentences, followed through the layers: where do its uses come apart?

Comes in: words and their vectors. Goes out: a `Trace` for each word followed, the cosine of every pair of its uses at
each layer. Shapes: U units, n uses of a word, L layers or mixes, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.apps.mix import Bool, Data, Float32, Layer, mixes_of, usable
from lamina.embeddings import unit_length
from lamina.errors import SpecError

Int64 = npt.NDArray[np.int64]
MOST = 500  # uses of one word: their pairs are the square of it
PAIRS = 5000  # of any two different words, for what a cosine is worth at a layer


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The uses of one word.

    rows        [n] the units that are its uses, by group, then in the order of the data.
    groups      [n] the group of each use, "" of one that has none.
    layers      [L] layers or mixes.
    similarity  float32 [L, n, n] cosines.
    anywhere    [L] mean cosine of two different words of the data: what a cosine is worth there (Ethayarajh 2019).
    n_thinned   uses left out because there were more than `most`.
    """

    word: str
    rows: Int64
    groups: tuple[str, ...]
    layers: tuple[str, ...]
    similarity: Float32
    anywhere: tuple[float, ...]
    n_thinned: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Trace({self.word!r}: {len(self)} uses; layers {', '.join(self.layers)})"

    def by_layer(self) -> list[dict[str, Any]]:
        """A row for each layer, over the pairs of different uses.

        `similarity` is their mean cosine, `anywhere` that of any two words. With groups: `within` and `between` are the
        means inside a group and across, `gap` their difference, `auc` how often a pair inside is the more similar one,
        and `nearest` the share of uses whose most similar other use is of their group, all of them over the uses that
        have a group. None where there is no such pair.
        """
        apart = self.pairs()
        rows: list[dict[str, Any]] = [
            {"layer": layer, "similarity": _mean(apart[k].astype(np.float64)), "anywhere": self.anywhere[k]}
            for k, layer in enumerate(self.layers)
        ]
        if not any(self.groups):
            return rows
        within, between = self.pairs(within=True), self.pairs(within=False)
        return [row | self._grouped(k, within[k], between[k]) for k, row in enumerate(rows)]

    def pairs(self, *, within: bool | None = None) -> Float32:
        """The cosines of the pairs of different uses, [L, pairs]: all, or those within a group or across."""
        one, other = np.triu_indices(len(self), 1)
        if within is not None:
            has_group = self._has_group()
            keep = (self._same()[one, other] == within) & has_group[one] & has_group[other]
            one, other = one[keep], other[keep]
        return self.similarity[:, one, other]

    def _same(self) -> Bool:
        groups = np.asarray(self.groups, object)
        return np.asarray(groups[:, None] == groups, bool)

    def _has_group(self) -> Bool:
        return np.asarray(np.asarray(self.groups, object) != "", bool)

    def _grouped(self, layer: int, *pairs: Float32) -> dict[str, float | None]:
        within, between = (one.astype(np.float64) for one in pairs)
        both = within.size > 0 and between.size > 0
        return {
            "within": _mean(within),
            "between": _mean(between),
            "gap": float(within.mean() - between.mean()) if both else None,
            "auc": _auc(within, between) if both else None,
            "nearest": self._nearest(layer) if both else None,
        }

    def _nearest(self, layer: int) -> float | None:
        """Over the uses that are not alone in their group."""
        have = np.flatnonzero(self._has_group())
        matrix, same = self.similarity[layer][np.ix_(have, have)], self._same()[np.ix_(have, have)]
        np.fill_diagonal(matrix, -np.inf)
        judged = same.sum(axis=1) > 1
        right = same[np.arange(have.size), matrix.argmax(axis=1)]
        return float(right[judged].mean()) if judged.any() else None


def trace(
    data: Data,
    word: str | Iterable[str] | None = None,
    *,
    word_from: str | None = None,
    groups: str | None = None,
    layers: str | int | Iterable[Layer] = "all",
    most: int = MOST,
    seed: int = 0,
) -> list[Trace]:
    """Follow words through the layers; a Trace for each word.

    data        units of `word` (or `token`).
    word        the word, or several, as written; upper and lower case are one.
    word_from   or a column that names the word of each text: each of its values is followed, in the texts that name it.
    groups      a column of what the uses are told apart by, such as their sense.
    layers      `all` that are held, `0,3,6`, a mix such as `mean:-4..-1`, or a list of those.
    most        more uses of one word than this are thinned at random, by `seed`.

    Raises SpecError for a word that occurs less than twice, a column that is not there, data of other units.
    """
    units = data.units
    for column in (groups, word_from):
        if column is not None and column not in units.column_names:
            raise SpecError(f"there is no column {column!r}: the units have {', '.join(units.column_names)}")
    mixes = mixes_of(data, layers)
    surfaces = np.array([surface.casefold() for surface in units.column("surface").to_pylist()], object)
    first = mixes[0].vectors(data)
    said = usable(units, first) & ~np.asarray(units.column("special").to_numpy(zero_copy_only=False), bool)
    names = _strings(units.column(groups).to_pylist()) if groups else np.full(len(units), "", object)
    found = []
    for name, wanted in _wanted(units, surfaces, word, word_from):
        rows = np.flatnonzero(wanted & said)
        if rows.size < 2:
            raise SpecError(f"{name!r} occurs {rows.size} times in these words, and two uses at least can be compared")
        kept = rows if rows.size <= most else np.sort(np.random.default_rng(seed).permutation(rows)[:most])
        found.append((name, kept[np.argsort(names[kept], kind="stable")], int(rows.size - kept.size)))
    similarity: list[list[Float32]] = [[] for _ in found]
    anywhere = []
    pairs = _any_pairs(surfaces, np.flatnonzero(said), seed)
    for mix in mixes:
        vectors = unit_length(mix.vectors(data))
        anywhere.append(
            float((vectors[pairs[0]] * vectors[pairs[1]]).sum(axis=1).mean()) if pairs.size else float("nan")
        )
        for held, (_, rows, _) in zip(similarity, found, strict=True):
            held.append(vectors[rows] @ vectors[rows].T)
    return [
        Trace(name, rows, tuple(names[rows]), tuple(map(str, mixes)), np.stack(held), tuple(anywhere), n_thinned)
        for held, (name, rows, n_thinned) in zip(similarity, found, strict=True)
    ]


def average(traces: Sequence[Trace]) -> list[dict[str, Any]]:
    """The rows by layer averaged over words, each word counted once; what a word lacks is left out of the mean."""
    tables = [one.by_layer() for one in traces]
    rows = []
    for at_layer in zip(*tables, strict=True):
        row: dict[str, Any] = {"layer": at_layer[0]["layer"]}
        for name in max(at_layer, key=len):  # a word without any group has fewer
            if name != "layer":
                values = [other[name] for other in at_layer if other.get(name) is not None]
                row[name] = sum(values) / len(values) if values else None
        rows.append(row)
    return rows


def _wanted(
    units: Any, surfaces: npt.NDArray[np.object_], word: str | Iterable[str] | None, word_from: str | None
) -> list[tuple[str, Bool]]:
    """Each word, and which units [U] are it."""
    if (word is None) == (word_from is None):
        raise SpecError("give the words to follow, or the column that names them: one of the two")
    if word_from is None:
        asked = [word] if isinstance(word, str) else list(word or ())
        if not asked:
            raise SpecError("there is no word to follow")
        return [(one, np.asarray(surfaces == one.casefold(), bool)) for one in asked]
    named = np.array([name.casefold() for name in _strings(units.column(word_from).to_pylist())], object)
    return [(one, np.asarray((named == one) & (surfaces == one), bool)) for one in sorted(set(named)) if one]


def _any_pairs(surfaces: npt.NDArray[np.object_], rows: Int64, seed: int) -> npt.NDArray[np.int64]:
    """Pairs of units that are different words, [2, pairs], drawn at random."""
    drawn = np.random.default_rng(seed).choice(rows, (2, PAIRS)) if rows.size else np.zeros((2, 0), np.int64)
    return np.asarray(drawn[:, surfaces[drawn[0]] != surfaces[drawn[1]]], np.int64)


def _auc(within: npt.NDArray[np.float64], between: npt.NDArray[np.float64]) -> float:
    """How often one of `within` is larger than one of `between`; a tie counts half."""
    ordered = np.sort(between)
    below = (np.searchsorted(ordered, within, "left") + np.searchsorted(ordered, within, "right")) / 2
    return float(below.mean() / between.size)


def _mean(values: npt.NDArray[Any]) -> float | None:
    return float(values.mean()) if values.size else None


def _strings(values: Iterable[Any]) -> npt.NDArray[np.object_]:
    return np.array(["" if value is None else str(value) for value in values], object)
