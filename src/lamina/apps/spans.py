"""Spans in tags: BIO and BIOES (BILOU too), which tag may follow which, and scores of whole spans.

A tag is `O` (outside) or a prefix and a type: `B-PER` begins a span of type PER, `I-` goes on with it, `E-` (or `L-`)
ends it, `S-` (or `U-`) is one of a single word. Tags without prefixes, such as parts of speech, have no spans.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from lamina.errors import SpecError

Scheme = Literal["bio", "bioes", "none"]
Bool = npt.NDArray[np.bool_]

OUTSIDE = "O"
SAME = {"L": "E", "U": "S", "M": "I"}  # BILOU's and BMES's letters for the same
_TAG = re.compile(r"([BIESLUM])-(.+)", re.DOTALL)

# Of each scheme: which prefixes begin a span, which cannot end one, and how a whole one is written.
BEGINS: dict[Scheme, str] = {"bio": "B", "bioes": "BS"}
MUST_GO_ON: dict[Scheme, str] = {"bio": "", "bioes": "BI"}
WRITTEN: dict[Scheme, str] = {"bio": "BI*", "bioes": "S|BI*E", "none": "-"}


class Span(NamedTuple):
    """Words `start` to `end` - 1 of a text, of one type."""

    start: int
    end: int
    kind: str


def split(tag: str) -> tuple[str, str]:
    """A tag's prefix and type: ("B", "PER"); ("", tag) where it is `O` or has no prefix."""
    found = _TAG.fullmatch(tag)
    return (SAME.get(found[1], found[1]), found[2]) if found else ("", tag)


def scheme_of(tags: Iterable[str]) -> Scheme:
    """`bio` or `bioes` where every tag but `O` has a prefix, else `none`."""
    prefixes = {split(tag)[0] for tag in tags if tag != OUTSIDE}
    if not prefixes or "" in prefixes:
        return "none"
    return "bioes" if prefixes & {"E", "S"} else "bio"


def misfits(tags: Iterable[str]) -> list[str]:
    """The tags that keep others, which look like spans, from being read as a scheme: `B` or `LOC` beside `I-LOC`."""
    found = {tag: split(tag)[0] for tag in tags if tag != OUTSIDE}
    return sorted(tag for tag, prefix in found.items() if not prefix) if any(found.values()) else []


def spans_of(tags: Sequence[str], *, strict: Scheme | None = None) -> list[Span]:
    """The spans of one text, in order.

    By default as the CoNLL script and seqeval read tags: whatever is inside begins a span unless it goes on with the
    one before (`I-` or `E-` after `B-` or `I-` of the same type), so `O I-PER` holds a span. `strict` names a scheme,
    as seqeval's mode of that name: only spans that are written as it demands count (`B I I`; in BIOES `S` or `B I E`).
    """
    found: list[tuple[Span, str]] = []
    for place, tag in enumerate(tags):
        prefix, kind = split(tag)
        if found and prefix in ("I", "E"):
            (start, end, before), prefixes = found[-1]
            if end == place and before == kind and prefixes[-1] in ("B", "I"):
                found[-1] = Span(start, place + 1, kind), prefixes + prefix
                continue
        if prefix:
            found.append((Span(place, place + 1, kind), prefix))
    return [span for span, prefixes in found if strict is None or re.fullmatch(WRITTEN[strict], prefixes)]


def tags_of(spans: Iterable[Span], n_words: int, scheme: Scheme) -> list[str]:
    """The inverse of `spans_of`: the tags of a text of `n_words` words. Raises SpecError for the scheme `none`."""
    if scheme == "none":
        raise SpecError("spans are written in the scheme bio or bioes")
    tags = [OUTSIDE] * n_words
    for start, end, kind in spans:
        prefixes = ["B", *"I" * (end - start - 1)]
        if scheme == "bioes":
            prefixes[-1] = "S" if end - start == 1 else "E"
        tags[start:end] = [f"{prefix}-{kind}" for prefix in prefixes]
    return tags


def written(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The tags of one text with its spans as the scheme writes them; as they are where it is `none`."""
    return list(tags) if scheme == "none" else tags_of(spans_of(tags), len(tags), scheme)


def allowed(tags: Sequence[str], scheme: Scheme) -> tuple[Bool, Bool, Bool]:
    """Which of K tags may stand first [K], follow one another [K, K] (row before column), and stand last [K]."""
    n = len(tags)
    if scheme == "none":
        return np.ones(n, bool), np.ones((n, n), bool), np.ones(n, bool)
    parts = [split(tag) for tag in tags]
    first = np.array([prefix == "" or prefix in BEGINS[scheme] for prefix, _ in parts], bool)
    last = np.array([prefix == "" or prefix not in MUST_GO_ON[scheme] for prefix, _ in parts], bool)
    follows = np.zeros((n, n), bool)
    for i, (before, kind) in enumerate(parts):
        for j, (after, other) in enumerate(parts):
            goes_on = before in ("B", "I") and after in ("I", "E") and kind == other
            follows[i, j] = goes_on or bool(last[i] and first[j])
    return first, follows, last


@dataclass(frozen=True, slots=True)
class Score:
    """Precision, recall and F1 of spans (or of words) of one type; `n` are those there are, `n_found` those found."""

    n: int
    n_found: int
    n_right: int

    @property
    def precision(self) -> float:
        return self.n_right / self.n_found if self.n_found else 0.0

    @property
    def recall(self) -> float:
        return self.n_right / self.n if self.n else 0.0

    @property
    def f1(self) -> float:
        total = self.n + self.n_found
        return 2 * self.n_right / total if total else 0.0


def span_scores(gold: Iterable[Sequence[Span]], found: Iterable[Sequence[Span]]) -> dict[str, Score]:
    """The score of each type, over texts: a span is right where start, end and type are. `all` is the last one: all
    types together (the micro average, as the CoNLL script has it)."""
    n, n_found, n_right = Counter[str](), Counter[str](), Counter[str]()
    for mine, theirs in zip(gold, found, strict=True):
        n.update(span.kind for span in mine)
        n_found.update(span.kind for span in theirs)
        n_right.update(span.kind for span in set(mine) & set(theirs))
    kinds = sorted(n | n_found)
    scores = {kind: Score(n[kind], n_found[kind], n_right[kind]) for kind in kinds}
    return {**scores, "all": Score(n.total(), n_found.total(), n_right.total())}
