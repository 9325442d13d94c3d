"""Proves that key phrases are ranked as the definitions say, by vectors that are those of the spans themselves."""

from __future__ import annotations

import numpy as np
import pytest

import lamina
from lamina.apps.keywords import Keyword, Phrases, find_phrases, keywords
from lamina.apps.keywords.scores import agreement, baselines, known_phrases, names_of
from lamina.apps.keywords.stop_words import ENGLISH
from lamina.embeddings import Embeddings
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor
from lamina.spec import Spec

TEXTS = [
    "The ferry to the island is late because of fog. Fog hides the harbour, and the ferry waits.",
    "Bakers knead rye dough at night. Rye bread rises slowly in a cold bakery.",
    "",
    "An orchestra tuned its violins before the symphony.",
]


@pytest.fixture(scope="module")
def views(minilm: Extractor) -> dict[str, Embeddings]:
    return minilm.extract_views(TEXTS, {"words": Spec(unit="word"), "texts": Spec()})


@pytest.fixture(scope="module")
def phrases(views: dict[str, Embeddings]) -> Phrases:
    return find_phrases(views["words"].units, stop_words=ENGLISH)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def slowly(minilm: Extractor, text: int, layer: int, k: int, weight: float) -> list[tuple[str, float]]:
    """Every phrase extracted as a span of its text; every step of the choice over all of them."""
    words = minilm.extract([TEXTS[text]], unit="word", layers=0)
    found = find_phrases(words.units, stop_words=ENGLISH)
    starts, ends = words.units["start"].to_pylist(), words.units["end"].to_pylist()
    spans = [(starts[a], ends[b - 1]) for a, b in zip(found.first, found.last, strict=True)]
    of_spans = minilm.extract([lamina.Text.with_spans(TEXTS[text], spans)], unit="span", layers=layer)
    counts = of_spans.units["n_tokens"].to_numpy()
    vectors = np.stack([
        np.average(of_spans.layer(layer)[found.phrase == p], axis=0, weights=counts[found.phrase == p])
        for p in range(len(found))
    ])  # fmt: skip
    document = unit(minilm.extract([TEXTS[text]], layers=layer).layer(layer)[0])
    vectors, chosen = unit(vectors), []
    for _ in range(min(k, len(found))):
        values = [
            -np.inf if p in chosen else
            weight * vectors[p] @ document - (1 - weight) * max((vectors[p] @ vectors[c] for c in chosen), default=0.0)
            for p in range(len(found))
        ]  # fmt: skip
        chosen.append(int(np.argmax(values)))
    return [(found.names[p], float(vectors[p] @ document)) for p in chosen]


@pytest.mark.parametrize("layer", [0, 4, 6])
@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_as_spans_extracted_and_chosen_one_by_one(
    minilm: Extractor, views: dict[str, Embeddings], phrases: Phrases, layer: int, weight: float
) -> None:
    found = keywords(views["words"], phrases, layer=layer, texts=views["texts"], k=6, mmr_lambda=weight)
    for text in (0, 1, 3):
        expected = slowly(minilm, text, layer, 6, weight)
        mine = [(one.phrase, one.score) for one in found if one.document == text]
        assert [name for name, _ in mine] == [name for name, _ in expected]
        np.testing.assert_allclose([score for _, score in mine], [score for _, score in expected], atol=1e-5)


def test_places_lead_back_to_the_text(views: dict[str, Embeddings], phrases: Phrases) -> None:
    found = keywords(views["words"], phrases, texts=views["texts"])
    assert {one.document for one in found} == {0, 1, 3}  # the empty text has none
    for one in found:
        assert all(TEXTS[text][start:end].casefold() == one.phrase.casefold() for text, start, end in one.places)
    (ferry,) = [one for one in keywords(views["words"], phrases, k=100) if one.phrase == "ferry"]
    assert len(ferry.places) == 2
    assert [one.rank for one in found if one.document == 1] == list(range(1, 11))


def test_a_texts_phrases_do_not_depend_on_its_company(minilm: Extractor, views: dict[str, Embeddings]) -> None:
    alone = minilm.extract_views(TEXTS[1:2], {"words": Spec(unit="word"), "texts": Spec()})
    found = [
        [(one.phrase, one.score) for one in keywords(of["words"], find_phrases(of["words"].units), texts=of["texts"])
         if one.document == document]
        for of, document in ((alone, 0), (views, 1))
    ]  # fmt: skip
    assert found[0] == found[1]


def test_less_lambda_makes_phrases_less_alike(views: dict[str, Embeddings], phrases: Phrases) -> None:
    def likeness(weight: float) -> float:
        found = [one.phrase for one in keywords(views["words"], phrases, k=5, mmr_lambda=weight) if one.document == 0]
        words = [set(name.lower().split()) for name in found]
        return float(np.mean([bool(words[a] & words[b]) for a in range(5) for b in range(a)]))

    assert likeness(0.3) < likeness(1.0)


def test_a_text_without_its_vector_is_the_mean_of_its_tokens(
    minilm: Extractor, views: dict[str, Embeddings], phrases: Phrases
) -> None:
    plain = minilm.extract(TEXTS, special="exclude")
    by_words = keywords(views["words"], phrases, k=5)
    by_texts = keywords(views["words"], phrases, k=5, texts=plain)
    assert [one.phrase for one in by_words] == [one.phrase for one in by_texts]
    np.testing.assert_allclose([one.score for one in by_words], [one.score for one in by_texts], atol=1e-5)


def test_phrases_read_alone_have_their_own_vectors(
    minilm: Extractor, views: dict[str, Embeddings], phrases: Phrases
) -> None:
    alone = minilm.extract(sorted(set(phrases.names)))
    found = keywords(views["words"], phrases, texts=views["texts"], alone=alone, k=3, mmr_lambda=1)
    for one in (one for one in found if one.document == 3):
        vectors = unit(minilm.extract([one.phrase, TEXTS[3]]).layer(6))
        assert one.score == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    with pytest.raises(SpecError, match="no vector"):
        keywords(views["words"], phrases, alone=minilm.extract(["ferry"]))


def test_what_cannot_be_is_refused(views: dict[str, Embeddings], phrases: Phrases) -> None:
    one_text = find_phrases(views["words"].units.slice(0, 5))
    for options in ({"k": 0}, {"mmr_lambda": 1.1}, {"layer": 7}, {"layer": "-4..-1"}):
        with pytest.raises(SpecError):
            keywords(views["words"], phrases, **options)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="several"):
        keywords(views["words"], one_text, centre=True)


def test_agreement_is_counted_by_hand() -> None:
    found = {0: ["the Red Brick", "wall", "bank"], 1: ["river"], 2: ["sea"]}
    known = {0: ["red brick", "bank holiday"], 1: ["a river", "lake"], 2: []}
    scores = agreement(found, known, stop_words=ENGLISH)
    assert scores == {"precision": 2 / 4, "recall": 2 / 4, "f1": 4 / 8, "touched": 3 / 4}
    with pytest.raises(SpecError, match="nothing to compare"):
        agreement(found, {0: [""]})


def test_baselines_and_known_phrases(views: dict[str, Embeddings], phrases: Phrases) -> None:
    counted = baselines(phrases, 2)
    assert counted["first"][0] == ["ferry", "ferry to the island"[:0] or "island"]
    assert counted["tf-idf"][0] == ["ferry", "fog"]
    assert sum(map(len, counted["all"].values())) == len(phrases)
    import pyarrow as pa

    of_text = [["fog"], '["rye", "bread"]', None, "violins"]
    ids = views["words"].units["text_id"].to_pylist()
    values = [of_text[k] if isinstance(of_text[k], str | None) else str(of_text[k]).replace("'", '"') for k in ids]
    units = views["words"].units.append_column("gold", pa.array(values))
    assert known_phrases(units, "gold", phrases) == {0: ["fog"], 1: ["rye", "bread"], 3: ["violins"]}
    assert names_of([Keyword(1, 1, "a", 0.5, ())]) == {1: ["a"]}
