"""Proves entities, edges and their files: counts by hand, means that no splitting changes, graphs that others open."""

from __future__ import annotations

import json
from math import log2
from pathlib import Path
from xml.dom.minidom import parse

import networkx
import numpy as np
import pyarrow as pa
import pytest

import lamina
from lamina.apps.mix import Mix
from lamina.apps.relations import (
    Edge,
    Entities,
    Entity,
    Gathering,
    Mention,
    given_mentions,
    neighbours,
    tagged_mentions,
    together,
    write_graphml,
    write_jsonl,
)
from lamina.apps.relations import entities as entities_file
from lamina.apps.relations.edges import same_kind
from lamina.embeddings import Embeddings
from lamina.errors import SourceError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.spec import Spec

TEXTS = ["Ada met Grace in Turin. Grace lives in Oslo.", "ADA wrote to Grace  Hopper.", "Nobody came."]
SPANS = [
    [[0, 3, "person"], [8, 13, "person"], [17, 22, "place"], [24, 29, "person"], [39, 43, "place"]],
    [{"type": "person", "start": 0, "end": 3}, {"kind": "person", "start": 13, "end": 26}],
    [],
]


def with_spans(words: Embeddings, spans: list[object]) -> Embeddings:
    column = pa.array([json.dumps(spans[k]) for k in words.units["text_id"].to_pylist()])
    return Embeddings(words.units.append_column("spans", column), words.columns, n_texts=words.n_texts)


@pytest.fixture(scope="module")
def views(minilm: Extractor) -> dict[str, Embeddings]:
    return minilm.extract_views(TEXTS, {"words": Spec(unit="word"), "sentences": Spec(unit="sentence", layers="0")})


def gathered(views: dict[str, Embeddings], parts: int = 1, min_count: int = 1) -> Entities:
    """All at once, or text by text."""
    gathering = Gathering([Mix("4"), Mix("-1")])
    words, sentences = with_spans(views["words"], SPANS), views["sentences"].units
    for low in range(parts):
        chosen = [np.array([k % parts == low or parts == 1 for k in one["text_id"].to_pylist()]) for one in
                  (words.units, sentences)]  # fmt: skip
        part = Embeddings(words.units.filter(chosen[0]), {k: v[chosen[0]] for k, v in words.columns.items()}, n_texts=0)
        gathering.add(part, given_mentions(part.units, "spans"), sentences=sentences.filter(chosen[1]))
    return gathering.entities(min_count=min_count)


def test_entities_are_counted_by_hand(views: dict[str, Embeddings]) -> None:
    found = gathered(views)
    assert [(one.name, one.kind, one.count, one.n_sentences) for one in found.entities] == [
        ("Ada", "person", 2, 2), ("Grace", "person", 2, 2), ("Turin", "place", 1, 1), ("Oslo", "place", 1, 1),
        ("Grace Hopper", "person", 1, 1),
    ]  # fmt: skip
    assert (found.entities[3].text_id, found.entities[3].start, found.entities[3].end) == (0, 39, 43)
    assert found.pairs == {(0, 1): 1, (0, 2): 1, (1, 2): 1, (1, 3): 1, (0, 4): 1}
    assert found.n_sentences == 4
    fewer = gathered(views, min_count=2)
    assert [one.name for one in fewer.entities] == ["Ada", "Grace"]
    assert fewer.pairs == {(0, 1): 1}


def test_a_vector_is_the_mean_over_the_tokens_of_all_mentions(minilm: Extractor, views: dict[str, Embeddings]) -> None:
    found = gathered(views)
    texts = [lamina.Text.with_spans(TEXTS[0], [(8, 13), (24, 29)]), lamina.Text.with_spans(TEXTS[1], [(13, 26)])]
    spans = minilm.extract(texts, unit="span")
    counts = spans.units["n_tokens"].to_numpy()
    for layer, name in ((4, "4"), (6, "-1")):
        of = spans.layer(layer)
        grace = np.average(of[:2], axis=0, weights=counts[:2])
        np.testing.assert_allclose(found.vectors[name][1], grace, atol=1e-5)
        np.testing.assert_allclose(found.vectors[name][4], of[2], atol=1e-5)


def test_the_same_whatever_parts_they_come_in(views: dict[str, Embeddings], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, split = gathered(views), gathered(views, parts=3)
    assert (whole.entities, whole.pairs, whole.n_sentences) == (split.entities, split.pairs, split.n_sentences)
    for name in whole.vectors:
        np.testing.assert_allclose(whole.vectors[name], split.vectors[name], atol=1e-9)
    from lamina.apps import ranges

    monkeypatch.setattr(ranges, "AT_ONCE", 2)
    again = gathered(views)
    for name in whole.vectors:
        np.testing.assert_allclose(whole.vectors[name], again.vectors[name], atol=1e-12)


def test_without_sentences_a_text_is_one(views: dict[str, Embeddings]) -> None:
    gathering = Gathering([Mix("-1")])
    words = with_spans(views["words"], SPANS)
    gathering.add(words, given_mentions(words.units, "spans"))
    found = gathering.entities()
    assert (2, 3) in found.pairs
    assert found.n_sentences == 3


def test_lists_are_not_paired(views: dict[str, Embeddings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entities_file, "CROWDED", 2)
    found = gathered(views)
    assert found.n_crowded == 1
    assert found.pairs == {(1, 3): 1, (0, 4): 1}


def test_tags_and_characters_say_the_same(views: dict[str, Embeddings]) -> None:
    units = with_spans(views["words"], SPANS).units
    tags: list[str | None] = ["O"] * units.num_rows
    for first, last, kind in given_mentions(units, "spans"):
        tags[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    assert tagged_mentions(units, tags) == given_mentions(units, "spans")
    tags[-1] = None
    assert tagged_mentions(units, tags) == given_mentions(units, "spans")
    with pytest.raises(SpecError, match="NOUN"):
        tagged_mentions(units, ["NOUN"] * units.num_rows)


@pytest.mark.parametrize("bad", ["{", '"x"', "[[1]]", "[[5, 2]]", '[{"start": 1}]', "[[0, 1, 2, 3]]", "[[0.5, 1]]"])
def test_what_is_no_span_is_one_sentence(views: dict[str, Embeddings], bad: str) -> None:
    units = views["words"].units
    with pytest.raises(SourceError, match="expected a list of spans"):
        given_mentions(units.append_column("spans", pa.array([bad] * units.num_rows)), "spans")
    with pytest.raises(SpecError, match="no column"):
        given_mentions(units, "spans")


def made(vectors: np.ndarray, kinds: str) -> Entities:
    entities = tuple(Entity(f"n{k}", kind, 1, 1, k, 0, 1) for k, kind in enumerate(kinds))
    return Entities(entities, {"4": vectors}, {}, 10, 0)


@pytest.mark.parametrize("centre", [False, True])
def test_neighbours_are_those_of_every_pair(centre: bool) -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 8)) + 1.0
    vectors[7] = np.nan
    held = vectors - np.nanmean(vectors, axis=0) if centre else vectors
    unit = held / np.linalg.norm(held, axis=1, keepdims=True)
    expected = set()
    for a in set(range(40)) - {7}:
        others = sorted(set(range(40)) - {a, 7}, key=lambda b: -float(unit[a] @ unit[b]))[:3]
        expected |= {(min(a, b), max(a, b)) for b in others if unit[a] @ unit[b] >= 0.3}
    found = neighbours(made(vectors, "x" * 40), "4", k=3, threshold=0.3, centre=centre)
    assert {(edge.source, edge.target) for edge in found} == expected
    for edge in found:
        assert edge.weight == pytest.approx(float(unit[edge.source] @ unit[edge.target]), abs=1e-6)


def test_copies_are_not_their_own_neighbours() -> None:
    found = neighbours(made(np.ones((4, 3)), "xxxx"), "4", k=1)
    assert all(edge.source < edge.target for edge in found)
    assert {end for edge in found for end in (edge.source, edge.target)} == {0, 1, 2, 3}


def test_few_have_no_neighbours() -> None:
    assert neighbours(made(np.ones((1, 3)), "x"), "4") == []
    assert np.isnan(same_kind(made(np.ones((1, 3)), "x"), "4")).all()
    for options in ({"layer": "5"}, {"layer": "4", "k": 0}):
        with pytest.raises(SpecError):
            neighbours(made(np.ones((2, 3)), "xx"), **options)  # type: ignore[arg-type]


def test_kinds_of_neighbours_against_chance() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 0.05]], float)
    share, chance = same_kind(made(vectors, "aabba"), "4")
    assert share == 1.0
    assert chance == pytest.approx((3 * 2 + 2 * 1) / (5 * 4))


def test_standing_together_by_the_formula() -> None:
    entities = tuple(Entity(name, "", 9, n, 0, 0, 1) for name, n in (("a", 4), ("b", 2), ("c", 8)))
    found = Entities(entities, {}, {(0, 1): 2, (0, 2): 1}, 16, 0)
    first, second = together(found)
    assert first == Edge(0, 1, "together", log2(2 * 16 / (4 * 2)), count=2)
    assert second.weight == pytest.approx(log2(1 * 16 / (4 * 8)))
    assert together(found, min_count=2) == [first]


HOSTILE = [
    "<b>&amp;]]>\"'",
    "bell\x07 nul\x00 esc\x1b",
    "tab\there",
    "\ufffe\uffff",
    "日本 😀",
    "\r\n",
    "</node></graph>",
]


def test_graphml_opens_in_networkx_and_is_xml(tmp_path: Path, views: dict[str, Embeddings]) -> None:
    found = gathered(views)
    edges = [*neighbours(found, "4", k=2), *together(found)]
    write_graphml(tmp_path / "g.graphml", found, edges)
    graph = networkx.read_graphml(tmp_path / "g.graphml")
    assert [data["label"] for _, data in graph.nodes(data=True)] == [one.name for one in found.entities]
    assert graph.nodes["n3"] == {
        "label": "Oslo", "kind": "place", "count": 1, "n_sentences": 1, "text_id": 0, "start": 39, "end": 43,
    }  # fmt: skip
    expected = sorted((edge.source, edge.target, edge.kind, edge.weight, edge.layer, edge.count) for edge in edges)
    read = [(int(a[1:]), int(b[1:]), d) for a, b, d in graph.edges(data=True)]
    held = sorted((min(a, b), max(a, b), d["kind"], d["weight"], d.get("layer"), d.get("count")) for a, b, d in read)
    assert held == expected
    assert len(edges) > len({(edge.source, edge.target) for edge in edges})  # both kinds between two


def test_hostile_names_are_text(tmp_path: Path) -> None:
    entities = tuple(Entity(name, name, 1, 1, 0, 0, 1) for name in HOSTILE)
    found = Entities(entities, {}, {}, 1, 0)
    edges = [Edge(0, 1, "similar", 0.5, layer="4"), Edge(1, 2, "together", float("nan"), count=1)]
    write_graphml(tmp_path / "g.graphml", found, edges)
    parse(str(tmp_path / "g.graphml"))  # noqa: S318 - our own file
    graph = networkx.read_graphml(tmp_path / "g.graphml")
    labels = [data["label"] for _, data in graph.nodes(data=True)]
    assert labels[0] == HOSTILE[0]
    assert labels[1] == "bell\ufffd nul\ufffd esc\ufffd"
    assert labels[2:5] == ["tab\there", "\ufffd\ufffd", "日本 😀"]
    assert labels[5:] == HOSTILE[5:]
    assert "weight" not in next(data for *_, data in graph.edges(data=True) if data["kind"] == "together")


def test_jsonl_is_an_edge_list(tmp_path: Path, views: dict[str, Embeddings]) -> None:
    found = gathered(views)
    write_jsonl(tmp_path / "e.jsonl", found, together(found))
    rows = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {
        "source": {"name": "Ada", "kind": "person"}, "target": {"name": "Grace", "kind": "person"},
        "kind": "together", "weight": 0.0, "count": 1,
    }  # fmt: skip


def test_a_mention_of_no_word_is_nobody(views: dict[str, Embeddings]) -> None:
    words, gathering = views["words"], Gathering([Mix("-1")])
    (stop,) = np.flatnonzero(np.array(words.units["surface"].to_pylist()) == ".")[:1]
    gathering.add(words, [Mention(int(stop), int(stop) + 1, "x")])
    assert len(gathering.entities()) == 0
