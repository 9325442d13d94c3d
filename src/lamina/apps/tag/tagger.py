"""A tag for each word, from the vectors of words at a layer or mix: a linear layer and a CRF over sentences.

Comes in: `Embeddings` or a `Dataset` with a row a word. Goes out: a `Tagger`, its `Tagging` of other data, and
`TagScores` of that. Shapes: U words of N texts, D width, K tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lamina.apps.labels import Labels, numbered, text_ranges
from lamina.apps.mix import Data, Layer
from lamina.apps.spans import OUTSIDE, Scheme, Span, allowed, scheme_of, span_scores, spans_of, written
from lamina.apps.standard import Standard
from lamina.apps.tag.crf import Crf, Float32, Float64, Int64, decode, fit_crf, probabilities
from lamina.apps.trained import Array, Place, Trained, place_of, read_trained, tensor, write_trained
from lamina.errors import SpecError, TrainedError

L2S = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0)  # tried from the strongest on, until one is worse than the one before
PARTS, HELD_OUT = 5, 2  # of so many parts of the texts, the first ones judge them; on one alone, F1 swings too much
MAX_STEPS = 150

OnStep = Callable[[str, int, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Tagging:
    """Tags of words.

    units          the units table, [U] rows, a text's words one after the other.
    tags           [U].
    probabilities  [U] how likely each tag is for its word, before the rules of the scheme.
    scheme         how spans are written in the tags; `none` where there are no spans.
    """

    units: pa.Table
    tags: tuple[str, ...]
    probabilities: Float64
    scheme: Scheme

    @classmethod
    def of_logits(cls, units: pa.Table, logits: npt.NDArray[Any], labels: Sequence[str]) -> Tagging:
        """The likeliest label of each word, as a checkpoint's own head gives logits [U, K]; spans as they can be read,
        for which no rule is known that the head was trained with. Of a word that the tokenizer drops (NaN) the head
        knows nothing: all labels are as likely, and it is `O`, where there is one."""
        known = np.nan_to_num(logits.astype(np.float64))
        weights = np.exp(known - known.max(axis=1, keepdims=True, initial=-np.inf))
        likely = weights / weights.sum(axis=1, keepdims=True)
        nothing = labels.index(OUTSIDE) if OUTSIDE in labels else 0
        best = np.where(np.isnan(logits).any(axis=1), nothing, likely.argmax(axis=1))
        tags, scheme = [labels[k] for k in best], scheme_of(labels)
        tags = [tag for low, high in text_ranges(units) for tag in written(tags[low:high], scheme)]
        return cls(units, tuple(tags), likely[np.arange(len(best)), best], scheme)


@dataclass(frozen=True, slots=True, eq=False)
class Tagger:
    """A trained tagger; `train_tagger` makes one. about: its options, what it was trained on, as JSON values."""

    place: Place
    labels: tuple[str, ...]
    scheme: Scheme
    standard: Standard
    crf: Crf
    about: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Tagger({len(self.labels)} tags, {self.scheme}; layer {self.place.layer}, pool {self.place.spec.pool})"

    def predict(self, data: Data) -> Tagging:
        """The likeliest tags of each text as a whole. A word that the tokenizer drops has a tag by its neighbours.

        Raises SpecError where the data does not hold the layers, or vectors of another width.
        """
        units = data.units
        scores = self.crf.scores(self.standard.apply(self.place.mix.vectors(data)))
        lengths = _lengths(units)
        tags = decode(scores, lengths, self.crf, allowed(self.labels, self.scheme))
        likely = probabilities(scores, lengths, self.crf)[np.arange(len(tags)), tags]
        return Tagging(units, tuple(self.labels[k] for k in tags), likely, self.scheme)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write it into a folder that is new or empty, or with `overwrite` in place of another. Raises TrainedError."""
        crf = self.crf
        tensors: dict[str, Array] = {
            "mean": self.standard.mean, "scale": self.standard.scale, "weight": crf.weight, "bias": crf.bias,
            "first": crf.first, "transitions": crf.transitions, "last": crf.last,
        }  # fmt: skip
        about = {**self.about, "scheme": self.scheme}
        write_trained(folder, Trained("tag", self.place, self.labels, about, tensors), overwrite=overwrite)


def read_tagger(folder: str | Path) -> Tagger:
    """The inverse of `Tagger.save`. Raises TrainedError for what is not there, damaged or no tagger."""
    found = read_trained(folder, app="tag")
    n, scheme = len(found.labels), found.about.get("scheme")
    if scheme not in ("bio", "bioes", "none"):
        raise TrainedError(f"{folder} has the scheme {scheme!r}; expected bio, bioes or none")
    weight = tensor(found, "weight", None, n)
    standard = Standard(tensor(found, "mean", len(weight)), tensor(found, "scale", len(weight)))
    crf = Crf(
        weight, tensor(found, "bias", n), tensor(found, "first", n), tensor(found, "transitions", n, n),
        tensor(found, "last", n),
    )  # fmt: skip
    return Tagger(found.place, found.labels, scheme, standard, crf, found.about)


def train_tagger(
    data: Data,
    tags: Labels,
    *,
    layer: Layer = -1,
    scheme: Scheme | Literal["auto"] = "auto",
    l2: float | None = None,
    dev: tuple[Data, Labels] | None = None,
    place: Place | None = None,
    on_step: OnStep | None = None,
) -> Tagger:
    """Train a tagger on the words of `data` and their tags [U]; a text with a word that has none (None) is left out.

    layer    a layer's number or a mix's word.
    scheme   how spans are written: `auto` as in the tags, `bio`, `bioes`, or `none`. Tags that begin a span with `I-`
             are read as the CoNLL script does, and written as the scheme has it.
    l2       how strongly weights are held down; None: what tags `dev` best, or else parts of the texts held out.
    dev      other words and their tags, to choose `l2` on: best of the kind that will be tagged.
    place    where the vectors come from, if `data` does not say so itself (a Dataset does).
    on_step  hears what is fitted, the number of the step and the loss.

    Raises SpecError for tags that are all the same or all missing, and an `l2` below 0.
    """
    if l2 is not None and not 0 <= l2 < inf:
        raise SpecError(f"l2 must be a number, at least 0, not {l2:g}")
    where = place or place_of(data, layer, unit="word")
    chosen: Scheme = scheme_of(tag for tag in tags if tag) if scheme == "auto" else scheme
    words, lengths, written = _known(data.units, tags, chosen)
    labels = tuple(sorted(set(written)))
    if len(labels) < 2:
        raise SpecError(f"there is nothing to learn: every word has the tag {labels[0]!r}")
    vectors = where.mix.vectors(data, words)
    standard = Standard.of(vectors)
    given = _Given(standard.apply(vectors), lengths, numbered(written, labels), labels, chosen)
    del vectors
    judges = None
    if dev is not None:
        words, lengths, written = _known(dev[0].units, dev[1], chosen)
        vectors = standard.apply(where.mix.vectors(dev[0], words))
        judges = _Given(vectors, lengths, numbered(written, labels), labels, chosen)
    tried = _try(given, judges, on_step) if l2 is None else []
    best = max(tried, key=lambda one: (one["score"], -one["l2"]))["l2"] if tried else L2S[-1] if l2 is None else l2
    crf = given.fit(best, f"l2 {best:g}", on_step)
    n_texts = len(given.lengths)
    about = {"l2": best, "tried": tried, "n_texts": n_texts, "n_words": len(given.tags),
             "n_left_out": len(text_ranges(data.units)) - n_texts}  # fmt: skip
    return Tagger(where, labels, chosen, standard, crf, about)


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """Standardised vectors [U, D] of texts with `lengths` [N] words, and their tags [U]; -1 for one not learnt."""

    vectors: Float32
    lengths: Int64
    tags: Int64
    labels: tuple[str, ...]
    scheme: Scheme

    def fit(self, l2: float, what: str, on_step: OnStep | None, start: Crf | None = None) -> Crf:
        def heard(step: int, loss: float) -> None:
            if on_step is not None:
                on_step(what, step, loss)

        return fit_crf(
            self.vectors, self.lengths, self.tags, len(self.labels),
            l2=l2, start=start, max_steps=MAX_STEPS, on_step=heard,
        )  # fmt: skip

    def some(self, texts: npt.NDArray[np.bool_]) -> _Given:
        """Of those texts [N] only."""
        words = np.repeat(texts, self.lengths)
        return _Given(self.vectors[words], self.lengths[texts], self.tags[words], self.labels, self.scheme)

    def score(self, crf: Crf) -> float:
        """The F1 of spans, or the share of words, that a field finds right."""
        rules = allowed(self.labels, self.scheme)
        found = decode(crf.scores(self.vectors), self.lengths, crf, rules)
        if self.scheme == "none":
            return float((found == self.tags).mean())
        gold, guessed = ([self.labels[k] if k >= 0 else OUTSIDE for k in tags] for tags in (self.tags, found))
        return span_scores(_spans(gold, self.lengths), _spans(guessed, self.lengths))["all"].f1


def _try(given: _Given, dev: _Given | None, on_step: OnStep | None) -> list[dict[str, float]]:
    """What each strength scores on `dev`, or on parts of the texts held out in turn, until one scores worse than the
    one before; the fit of one begins at that of the stronger one. Nothing where there are too few texts to hold any
    out."""
    n_texts = len(given.lengths)
    if dev is None and n_texts < 2 * PARTS:
        return []
    part = np.argsort(np.random.default_rng(0).permutation(n_texts)) % PARTS
    fields: list[Crf | None] = [None] * (HELD_OUT if dev is None else 1)
    tried: list[dict[str, float]] = []
    for l2 in L2S:
        scores = []
        for k, start in enumerate(fields):
            seen, held = (given, dev) if dev is not None else (given.some(part != k), given.some(part == k))
            fields[k] = field = seen.fit(l2, f"trying l2 {l2:g}", on_step, start)
            scores.append(held.score(field))
        tried.append({"l2": l2, "score": float(np.mean(scores))})
        if len(tried) > 1 and tried[-1]["score"] < tried[-2]["score"]:
            break
    return tried


def _known(units: pa.Table, tags: Labels, scheme: Scheme) -> tuple[Int64, Int64, list[str]]:
    """The words [U'] of the texts whose words all have a tag, how many each text has [N], and their tags, spans written
    as the scheme has it. Raises SpecError where there is no such text."""
    if len(tags) != units.num_rows:
        raise SpecError(f"{len(tags):,} tags for {units.num_rows:,} words")
    kept = [(low, high) for low, high in text_ranges(units) if None not in tags[low:high]]
    if not kept:
        raise SpecError("no text has a tag for each of its words")
    texts = [written([tag or "" for tag in tags[low:high]], scheme) for low, high in kept]
    words = np.concatenate([np.arange(low, high) for low, high in kept])
    return words, np.array([len(text) for text in texts], np.int64), [tag for text in texts for tag in text]


def _spans(tags: Sequence[str], lengths: Int64) -> list[list[Span]]:
    """The spans of each text."""
    return [spans_of(tags[low:high]) for low, high in pairwise([0, *accumulate(lengths.tolist())])]


def _lengths(units: pa.Table) -> Int64:
    """[N] the words of each text that has any."""
    return np.array([high - low for low, high in text_ranges(units)], np.int64)
