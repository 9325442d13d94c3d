"""Proves a trace's figures against loops over pairs, and what is a use of a word."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from lamina.apps.charts import save
from lamina.apps.trace.chart import trace_chart, trace_charts
from lamina.apps.trace.uses import Trace, average, trace
from lamina.embeddings import Embeddings
from lamina.errors import SpecError

RNG = np.random.default_rng(5)
WORDS = ["the", "Bank", "of", "a", "bank", "bank", "seal", "BANK", "seal", "bank", "river", "bank"]
SENSES = ["", "m", "m", "m", "r", "m", "x", "r", "y", "r", "", "m"]
N = len(WORDS)
UNITS = pa.table(
    {"text_id": range(N), "surface": WORDS, "start": [0] * N, "end": [4] * N, "special": [False] * N,
     "status": ["ok"] * 11 + ["dropped"], "sense": SENSES, "word": ["bank"] * 6 + ["seal"] * 3 + ["bank"] * 3}
)  # fmt: skip
LAYERS = {f"layer_{k}": RNG.normal(size=(N, 8)).astype(np.float32) for k in range(3)}
for matrix in LAYERS.values():
    matrix[11] = np.nan
USES = [1, 5, 4, 7, 9]  # by sense, then in order


@pytest.fixture
def data() -> Embeddings:
    return Embeddings(UNITS, LAYERS, n_texts=N)


def cosine(layer: int, a: int, b: int) -> float:
    x, y = LAYERS[f"layer_{layer}"][[a, b]].astype(float)
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def test_figures_are_those_of_loops(data: Embeddings) -> None:
    (found,) = trace(data, "bank", groups="sense")
    assert found.rows.tolist() == USES
    assert found.groups == ("m", "m", "r", "r", "r")
    for k, row in enumerate(found.by_layer()):
        pairs = {(a, b): cosine(k, a, b) for a, b in combinations(USES, 2)}
        within = [value for (a, b), value in pairs.items() if SENSES[a] == SENSES[b]]
        between = [value for (a, b), value in pairs.items() if SENSES[a] != SENSES[b]]
        nearest = [max((cosine(k, a, b), b) for b in USES if b != a)[1] for a in USES]
        assert row["layer"] == str(k)
        assert row["similarity"] == pytest.approx(np.mean(list(pairs.values())), abs=1e-6)
        assert row["within"] == pytest.approx(np.mean(within), abs=1e-6)
        assert row["between"] == pytest.approx(np.mean(between), abs=1e-6)
        assert row["gap"] == pytest.approx(np.mean(within) - np.mean(between), abs=1e-6)
        assert row["auc"] == pytest.approx(roc_auc_score([1] * len(within) + [0] * len(between), within + between))
        right = np.mean([SENSES[a] == SENSES[b] for a, b in zip(USES, nearest, strict=True)])
        assert row["nearest"] == pytest.approx(right)
    assert found.pairs(within=True).shape == (3, 4)
    assert found.pairs().shape == (3, 10)


def test_what_any_two_words_have_in_common(data: Embeddings) -> None:
    (found,) = trace(data, "bank")
    said = range(N - 1)
    different = [cosine(2, a, b) for a in said for b in said if WORDS[a].casefold() != WORDS[b].casefold()]
    assert found.anywhere[2] == pytest.approx(np.mean(different), abs=0.05)  # of 5,000 pairs drawn
    assert set(found.by_layer()[0]) == {"layer", "similarity", "anywhere"}


def test_several_words_and_words_from_a_column(data: Embeddings) -> None:
    given = trace(data, ["bank", "seal"], groups="sense")
    assert [(one.word, len(one)) for one in given] == [("bank", 5), ("seal", 2)]
    named = trace(data, word_from="word")
    assert [(one.word, one.rows.tolist()) for one in named] == [("bank", [1, 4, 5, 9]), ("seal", [6, 8])]
    rows = average(given)
    bank, seal = (one.by_layer() for one in given)
    assert rows[1]["similarity"] == pytest.approx((bank[1]["similarity"] + seal[1]["similarity"]) / 2)
    assert seal[0]["within"] is None  # one use of each sense
    assert rows[0]["auc"] == bank[0]["auc"]  # a word without one does not count


def test_uses_without_a_group_are_in_none(data: Embeddings) -> None:
    """What is said of groups is what the uses that have one say, whatever other uses the word has."""
    senses = ["m" if k in (1, 5) else "r" if k == 4 else None for k in range(N)]
    held = Embeddings(UNITS.set_column(UNITS.column_names.index("sense"), "sense", pa.array(senses)), LAYERS, N)
    some = Embeddings(held.units.take([1, 5, 4]), {name: matrix[[1, 5, 4]] for name, matrix in LAYERS.items()}, N)
    bank, seal = trace(held, ["bank", "seal"], groups="sense")
    (alone,) = trace(some, "bank", groups="sense")
    assert (len(bank), len(alone)) == (5, 3)
    names = ("within", "between", "gap", "auc", "nearest")
    for row, expected in zip(bank.by_layer(), alone.by_layer(), strict=True):
        assert [row[name] for name in names] == [expected[name] for name in names]
    assert "auc" not in seal.by_layer()[0]
    for words in ([bank, seal], [seal, bank]):
        assert average(words)[1]["auc"] == alone.by_layer()[1]["auc"]
        assert len(trace_charts(words)) == 2


def test_layers_and_thinning(data: Embeddings) -> None:
    (found,) = trace(data, "bank", layers=["mean:0,1", 2], most=3)
    assert found.layers == ("mean:0,1", "2")
    assert (len(found), found.n_thinned) == (3, 2)
    assert found.similarity.shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"word": "river"}, "'river' occurs 1 times"),
        ({"word": "brook"}, "'brook' occurs 0 times"),
        ({}, "one of the two"),
        ({"word": "bank", "word_from": "word"}, "one of the two"),
        ({"word": []}, "no word"),
        ({"word": "bank", "groups": "colour"}, "no column 'colour'"),
        ({"word_from": "colour"}, "no column 'colour'"),
        ({"word": "bank", "layers": 7}, "layer 7"),
    ],
)
def test_what_cannot_be_followed_is_said(data: Embeddings, options: dict[str, object], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        trace(data, **options)  # type: ignore[arg-type]


def drawn(found: list[Trace], path: Path) -> str:
    save(trace_chart(found, title="Uses"), path)
    return path.read_text()


def test_charts(data: Embeddings, tmp_path: Path) -> None:
    grouped = trace(data, ["bank", "seal"], groups="sense")
    assert len(trace_charts(grouped)) == 2
    assert "two uses of one group" in drawn(grouped, tmp_path / "a.svg")
    plain = trace(data, "seal")
    assert len(trace_charts(plain)) == 1
    assert "any two words" in drawn(plain, tmp_path / "b.svg")
