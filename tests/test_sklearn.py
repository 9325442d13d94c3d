"""Proves that `LayerEmbedder` is a scikit-learn transformer like any other, by scikit-learn's own checks, and that a
search over layers runs the model once a text."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from lamina.errors import CheckpointError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.sklearn import LayerEmbedder
from lamina.text.text import Text
from tests.checkpoints import save_bert

SENTENCES = [f"the {word} by the river {k}" for k in range(6) for word in ("bank", "water", "stone", "bird")]
LABELS = [int("bank" in text or "water" in text) for text in SENTENCES]


class OfNumbers(LayerEmbedder):
    """Reads a row of numbers as a text, so that scikit-learn's checks, which bring numbers, can be run."""

    def fit(self, X: Any, y: object = None) -> LayerEmbedder:
        return super().fit(_texts(validate_data(self, X)))

    def transform(self, X: Any) -> Any:
        check_is_fitted(self)
        return super().transform(_texts(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string, tags.input_tags.one_d_array = True, False, False
        return tags


def _texts(rows: np.ndarray) -> list[str]:
    return [" ".join(f"{value:.2f}" for value in row[:4]) for row in rows]


@pytest.fixture(scope="module")
def folder(tiny_bert: Path) -> str:
    return str(tiny_bert)


def test_scikit_learns_checks_pass_none_left_out(folder: str) -> None:
    """Of texts scikit-learn checks only that estimators can be cloned: it has no texts to bring. So all its checks are
    run on a child that reads numbers as texts and adds nothing else. None is expected to fail."""
    results = check_estimator(OfNumbers(folder, layer=1), on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] == "failed"}
    assert failed == {}
    counts = Counter(one["status"] for one in results)
    assert counts["passed"] >= 40
    skipped = [one["check_name"] for one in results if one["status"] == "skipped"]
    assert skipped == ["check_array_api_input"] * len(skipped)  # asks for a package that is not here


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([LayerEmbedder()])
def test_scikit_learns_checks_of_texts(estimator: LayerEmbedder, check: Any) -> None:
    check(estimator)


def test_its_rows_are_those_of_the_extractor(deep_bert: Path, deep: Extractor) -> None:
    texts = [*TEXTS_SHORT, TEXTS_SHORT[0]]
    for layer, pool in ((4, "mean"), (-1, "cls"), (0, "max")):
        found = LayerEmbedder(str(deep_bert), layer=layer, pool=pool).fit_transform(texts)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, deep.extract(texts, layers=layer, pool=pool).layer(-1))
    states = deep.extract(texts, layers="3,5")
    found = LayerEmbedder(str(deep_bert), layer="concat:3,5").fit_transform(texts)
    np.testing.assert_array_equal(found, np.concatenate([states.layer(3), states.layer(5)], axis=1))
    mean = LayerEmbedder(str(deep_bert), layer="mean:3,5").fit_transform(texts)
    np.testing.assert_allclose(mean, (states.layer(3) + states.layer(5)) / 2, rtol=1e-6)


TEXTS_SHORT = ["the river", "a bank of stone", "", "水 and 河", "no. no!"]


def test_a_search_over_layers_extracts_each_text_once(deep_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _count_texts(monkeypatch)
    steps = [("embed", LayerEmbedder(str(deep_bert))), ("fit", LogisticRegression(max_iter=50))]
    search = GridSearchCV(
        Pipeline(steps), {"embed__layer": [0, 4, -1, "mean:-4..-1"], "fit__C": [0.1, 1.0]}, cv=3, error_score="raise"
    ).fit(SENTENCES, LABELS)
    assert seen == Counter(SENTENCES)
    assert len(search.cv_results_["params"]) == 8
    again = Pipeline([("embed", LayerEmbedder(str(deep_bert), cache_bytes=0)), *steps[1:]])
    alone = GridSearchCV(again, search.param_grid, cv=3).fit(SENTENCES, LABELS)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert seen[SENTENCES[0]] > 8


def test_what_differs_but_in_the_layer_is_not_confused(deep_bert: Path, deep: Extractor) -> None:
    first = LayerEmbedder(str(deep_bert), layer=3)
    other = clone(first).set_params(pool="max")
    for one, pool in ((clone(first), "mean"), (other, "max"), (clone(other), "max")):
        expected = deep.extract(SENTENCES[:5], layers=3, pool=pool).layer(3)
        np.testing.assert_array_equal(one.fit_transform(SENTENCES[:5]), expected)


def test_what_is_held_is_bounded_and_the_oldest_goes(deep_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_one = 13 * 48 * 4  # layers, width, bytes
    made = clone(LayerEmbedder(str(deep_bert), cache_bytes=3 * of_one)).fit([])
    seen = _count_texts(monkeypatch)
    for texts in (["a", "b", "c"], ["a"], ["d"], ["a", "c", "d"], ["b"]):
        made.transform(texts)
    assert seen == Counter({"a": 1, "b": 2, "c": 1, "d": 1})
    assert made._held.n_bytes == 3 * of_one == sum(one.states.nbytes for one in made._held.texts.values())
    made.set_params(cache_bytes=10).transform(["e", "f"])
    assert made._held.n_bytes == 0


def test_one_that_was_never_cloned_holds_nothing_and_runs_what_it_needs(folder: str) -> None:
    made = LayerEmbedder(folder, layer=0).fit(SENTENCES)
    made.transform(SENTENCES)
    assert not made._held.texts
    assert made.layers_ == (0,)


def test_a_pickle_holds_no_weights_and_refuses_another_model(folder: str, tmp_path: Path) -> None:
    moved = tmp_path / "model"
    shutil.copytree(folder, moved)
    made = LayerEmbedder(str(moved)).fit(["a"])
    expected = made.transform(["a river"])
    stored = pickle.dumps(made)
    assert len(stored) < 2000
    again = pickle.loads(stored)  # noqa: S301 - our own
    np.testing.assert_array_equal(again.transform(["a river"]), expected)
    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 12}
    shutil.rmtree(moved)
    save_bert(moved, seed=5, max_position_embeddings=16, type_vocab_size=1, **config)
    with pytest.raises(CheckpointError, match="not the model that was fitted: its weights differ"):
        pickle.loads(stored).transform(["a river"])  # noqa: S301
    shutil.rmtree(moved)
    with pytest.raises(CheckpointError, match="there is no folder"):
        pickle.loads(stored).transform(["a river"])  # noqa: S301


def test_processes_of_their_own_find_the_same(folder: str) -> None:
    pipeline = make_pipeline(LayerEmbedder(folder), LogisticRegression(max_iter=50))
    grid = {"layerembedder__layer": [0, 1]}
    found = [
        GridSearchCV(pipeline, grid, cv=2, n_jobs=n).fit(SENTENCES, LABELS).cv_results_["mean_test_score"]
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(*found)


def test_output_is_a_table_with_names_where_asked_for(deep_bert: Path) -> None:
    table = LayerEmbedder(str(deep_bert), layer=-2).set_output(transform="pandas").fit_transform(["a", "b"])
    assert isinstance(table, pd.DataFrame)
    assert (list(table.columns[:2]), table.shape) == (["layer_11_0", "layer_11_1"], (2, 48))
    names = LayerEmbedder(str(deep_bert), layer="concat:-2..-1").fit(["a"]).get_feature_names_out()
    assert (names[0], names[-1], len(names)) == ("concat:11,12_0", "concat:11,12_95", 96)
    polars = clone(LayerEmbedder(str(deep_bert)).set_output(transform="polars")).fit_transform(["a", "b"])
    assert type(polars).__module__.startswith("polars")


def test_texts_come_in_every_shape(folder: str) -> None:
    made = LayerEmbedder(folder).fit(SENTENCES)
    expected = made.transform(SENTENCES[:3])
    column = np.array(SENTENCES[:3])
    for texts in (tuple(SENTENCES[:3]), iter(SENTENCES[:3]), column, column[:, None], pd.Series(column)):
        np.testing.assert_array_equal(made.transform(texts), expected)
    np.testing.assert_array_equal(LayerEmbedder(folder).fit_transform(iter(SENTENCES[:3])), expected)
    table = pd.DataFrame({"text": column, "other": [1, 2, 3]})
    for columns in ("text", ["text"]):
        chosen = ColumnTransformer([("text", LayerEmbedder(folder), columns)])
        np.testing.assert_array_equal(chosen.fit_transform(table), expected)
    assert made.transform([]).shape == (0, made.n_features_out_)


def test_pairs_and_spans_are_units_of_which_a_text_has_one(deep_bert: Path, deep: Extractor) -> None:
    pairs = pd.DataFrame({"first": ["the river", "a bank"], "second": ["is it wide?", "of stone"]})
    texts = [Text(a, pair=b) for a, b in pairs.to_numpy()]
    expected = deep.extract(texts, unit="pair", layers=-1).layer(-1)
    made = LayerEmbedder(str(deep_bert), unit="pair").fit(pairs)
    np.testing.assert_array_equal(made.transform(pairs), expected)
    np.testing.assert_array_equal(made.transform(texts), expected)
    spans = [Text.with_spans("the river bank", [(4, 9)]), Text.with_spans("a bank", [(2, 6)])]
    found = LayerEmbedder(str(deep_bert), unit="span").fit_transform(spans)
    np.testing.assert_array_equal(found, deep.extract(spans, unit="span", layers=-1).layer(-1))
    with pytest.raises(SpecError, match="one span here, not 2 for 1 texts"):
        LayerEmbedder(str(deep_bert), unit="span").fit_transform([Text.with_spans("a bank", [(0, 1), (2, 6)])])


@pytest.mark.parametrize(
    ("options", "texts", "reason"),
    [
        ({}, "one text", "put a text in a list"),
        ({}, None, "must be an iterable of texts"),
        ({}, ["a", float("nan")], "row 1 of X is nan, a float, not a text"),
        ({}, np.array([["a", "b"]]), "X has 2 columns"),
        ({"unit": "pair"}, np.array([["a"]]), "X has 1 columns"),
        ({"unit": "word"}, ["a"], "unit must be one of text, pair, span"),
        ({"layer": 9}, ["a"], "layer 9 does not exist"),
        ({"layer": "0,1"}, ["a"], "is several"),
        ({"pool": "median"}, ["a"], "pool must be one of"),
    ],
)
def test_what_cannot_be_done_is_refused_when_it_is_fitted(
    folder: str, options: dict[str, Any], texts: Any, reason: str
) -> None:
    with pytest.raises(SpecError, match=reason):
        LayerEmbedder(folder, **options).fit(texts)


def _count_texts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each text goes through a model."""
    seen: Counter[str] = Counter()
    original = Extractor.stream_rows

    def counting(self: Extractor, rows: Any, *rest: Any, **options: Any) -> Any:
        held = list(rows)
        seen.update(text for group in held for text in group.texts)
        return original(self, iter(held), *rest, **options)

    monkeypatch.setattr(Extractor, "stream_rows", counting)
    return seen
