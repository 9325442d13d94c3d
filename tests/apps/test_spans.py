"""Proves how tags are read as spans, which tag may follow which, and what a span counts."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from lamina.apps.spans import Score, Span, allowed, misfits, scheme_of, span_scores, spans_of, split, tags_of
from lamina.errors import SpecError

P, L = "PER", "LOC"


@pytest.mark.parametrize(
    ("tags", "lenient", "strict"),
    [
        ("O O", [], []),
        ("B-PER I-PER O B-LOC", [(0, 2, P), (3, 4, L)], [(0, 2, P), (3, 4, L)]),
        ("O I-PER I-PER", [(1, 3, P)], []),  # inside, with no beginning
        ("B-PER I-LOC", [(0, 1, P), (1, 2, L)], [(0, 1, P)]),
        ("I-PER B-PER I-PER", [(0, 1, P), (1, 3, P)], [(1, 3, P)]),
        ("B-PER B-PER", [(0, 1, P), (1, 2, P)], [(0, 1, P), (1, 2, P)]),
        ("B-PER O I-PER", [(0, 1, P), (2, 3, P)], [(0, 1, P)]),
        ("I-PER I-LOC I-LOC", [(0, 1, P), (1, 3, L)], []),
    ],
)
def test_bio(tags: str, lenient: list[Span], strict: list[Span]) -> None:
    """What seqeval 1.2.2 gives for the same, by default and with mode='strict', scheme=IOB2; it was found to agree on
    every tagging of up to 4 words in two types, and so in BIOES below."""
    assert spans_of(tags.split()) == lenient
    assert spans_of(tags.split(), strict="bio") == strict


@pytest.mark.parametrize(
    ("tags", "lenient", "strict"),
    [
        ("S-PER B-LOC E-LOC", [(0, 1, P), (1, 3, L)], [(0, 1, P), (1, 3, L)]),
        ("B-PER I-PER E-PER", [(0, 3, P)], [(0, 3, P)]),
        ("B-PER I-PER O", [(0, 2, P)], []),  # never ended
        ("S-PER I-PER E-PER", [(0, 1, P), (1, 3, P)], [(0, 1, P)]),
        ("E-PER", [(0, 1, P)], []),
        ("E-PER E-PER", [(0, 1, P), (1, 2, P)], []),
        ("B-PER S-PER", [(0, 1, P), (1, 2, P)], [(1, 2, P)]),
        ("U-PER B-LOC L-LOC", [(0, 1, P), (1, 3, L)], [(0, 1, P), (1, 3, L)]),  # BILOU's letters
    ],
)
def test_bioes(tags: str, lenient: list[Span], strict: list[Span]) -> None:
    assert spans_of(tags.split()) == lenient
    assert spans_of(tags.split(), strict="bioes") == strict


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_what_is_written_is_read_again_and_is_what_the_rules_allow(scheme: str) -> None:
    """Of all taggings of 4 words in two types, those allowed are exactly the spans written as the scheme has it."""
    prefixes = "BI" if scheme == "bio" else "BIES"
    labels = ["O", *(f"{prefix}-{kind}" for kind in "XY" for prefix in prefixes)]
    first, follow, last = allowed(labels, scheme)
    for numbers in product(range(len(labels)), repeat=4):
        tags = [labels[k] for k in numbers]
        may_be = first[numbers[0]] and last[numbers[-1]] and all(follow[a, b] for a, b in pairwise(numbers))
        spans = spans_of(tags)
        assert may_be == (tags_of(spans, 4, scheme) == tags)
        assert may_be == (spans_of(tags, strict=scheme) == spans and tags_of(spans, 4, scheme) == tags)


def test_any_tag_may_follow_any_where_there_are_no_spans() -> None:
    assert all(part.all() for part in allowed(["NOUN", "VERB"], "none"))


def test_schemes_are_seen_in_the_tags() -> None:
    assert scheme_of(["O", "B-A", "I-A"]) == "bio"
    assert scheme_of(["O", "I-A"]) == "bio"
    assert scheme_of(["O", "B-A", "L-A", "U-A"]) == "bioes"
    assert scheme_of(["NOUN", "B-A"]) == scheme_of(["O"]) == scheme_of([]) == "none"
    assert split("B-GPE.NAM") == ("B", "GPE.NAM")
    assert split("-LRB-") == ("", "-LRB-")
    with pytest.raises(SpecError):
        tags_of([], 3, "none")


def test_a_span_is_right_where_start_end_and_type_are() -> None:
    gold = [[Span(0, 2, P), Span(3, 4, L)], [Span(0, 1, P)]]
    found = [[Span(0, 2, P), Span(3, 4, P)], [Span(0, 2, P)]]
    scores = span_scores(gold, found)
    assert scores[P] == Score(2, 3, 1)
    assert scores[L] == Score(1, 0, 0)
    assert list(scores)[-1] == "all"
    assert (scores["all"].precision, scores["all"].recall, scores["all"].f1) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert (scores[L].precision, scores[L].recall, scores[L].f1) == (0, 0, 0)
    assert np.isfinite(Score(0, 0, 0).f1)


@pytest.mark.parametrize(
    ("tags", "odd"),
    [
        ("O B-PER B I-LOC LOC", ["B", "LOC"]),
        ("O B-PER I-PER", []),
        ("NOUN VERB O", []),  # parts of speech are no broken spans
    ],
)
def test_what_keeps_tags_from_being_spans(tags: str, odd: list[str]) -> None:
    assert misfits(tags.split()) == odd
    assert not odd or scheme_of(tags.split()) == "none"
