"""Proves that a classifier learns, says how sure it may be, is scored right, and is the same out of its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from lamina.apps.classify.classifier import Predictions, read_classifier, train_classifier
from lamina.apps.classify.kinds import KINDS
from lamina.apps.classify.report import confusion_chart, reliability_chart, scores_report
from lamina.apps.classify.scores import NOTHING, score_classes
from lamina.apps.labels import row_labels
from lamina.apps.probe.scores import Examples, score
from lamina.embeddings import Embeddings
from lamina.errors import SpecError, TrainedError

D = 5
CLASSES = ("bad", "fair", "good")


def texts(n: int, *, seed: int = 0, noise: float = 0.8) -> tuple[Embeddings, list[str | None]]:
    draw = np.random.default_rng(seed)
    classes = draw.integers(3, size=n)
    matrix = (np.eye(D)[classes] + draw.normal(size=(n, D)) * noise).astype(np.float32)
    units = pa.table({"text_id": range(n), "surface": [f"text {k}" for k in range(n)], "status": ["ok"] * n})
    return Embeddings(units, {"layer_1": matrix, "layer_2": -matrix}, n_texts=n), [CLASSES[k] for k in classes]


@pytest.fixture(scope="module")
def given() -> tuple[Embeddings, list[str | None]]:
    return texts(300)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_is_calibrated_and_comes_back_the_same(
    given: tuple[Embeddings, list[str | None]], kind: str, tmp_path: Path
) -> None:
    data, labels = given
    training = train_classifier(data, labels, layer=1, kind=kind)
    others, gold = texts(600, seed=1)
    found = training.classifier.predict(others)
    scores = score_classes(found, gold)
    assert scores.accuracy > 0.6  # a third by chance; the best there can be about 0.74
    assert scores.calibration_error < 0.1
    assert training.held_out is not None
    held_out = score_classes(training.held_out, training.labels)
    assert held_out.accuracy == pytest.approx(scores.accuracy, abs=0.08)
    training.classifier.save(tmp_path)
    again = read_classifier(tmp_path).predict(others)
    np.testing.assert_array_equal(again.probabilities, found.probabilities)
    assert again.labels == CLASSES


def test_probabilities_of_a_mix_are_of_the_mix(given: tuple[Embeddings, list[str | None]]) -> None:
    data, labels = given
    made = train_classifier(data, labels, layer="1,-1:1,2", kind="centroid", folds=2).classifier
    assert (made.place.layer, made.place.spec.layers) == ("1.0,-1.0:1,2", "1,2") or made.place.layer == "1,-1:1,2"
    alone = train_classifier(data, labels, layer=1, kind="centroid", folds=2).classifier
    assert made.predict(data).names == alone.predict(data).names  # 1 * x - 1 * -x = 2 x


def test_rows_without_a_label_or_a_vector_are_left_out_and_have_no_prediction() -> None:
    data, labels = texts(100)
    status, vectors = ["ok"] * 100, data.columns["layer_1"].copy()
    labels[:3] = [None] * 3
    status[3], vectors[4] = "empty", np.nan
    data = Embeddings(data.units.set_column(2, "status", pa.array(status)), {"layer_1": vectors}, n_texts=100)
    training = train_classifier(data, labels, layer=1)
    assert (training.classifier.about["n"], training.classifier.about["n_left_out"]) == (95, 5)
    assert len(training.labels) == 95
    found = training.classifier.predict(data)
    assert [name is None for name in found.names] == [k in (3, 4) for k in range(100)]
    scores = score_classes(found, labels)
    assert (scores.n, scores.n_left_out, scores.n_nothing) == (97, 3, 2)


def test_what_cannot_be_learnt_is_refused(given: tuple[Embeddings, list[str | None]]) -> None:
    data, labels = given
    n = len(labels)
    for wrong, reason in (
        (["a"] * n, "all have the label 'a'"),
        ([None] * n, "none of 300 rows has a label"),
        (labels[:5], "5 labels for 300 rows"),
    ):
        with pytest.raises(SpecError, match=reason):
            train_classifier(data, wrong, layer=1)
    with pytest.raises(SpecError, match="kind must be one of logistic, svm"):
        train_classifier(data, labels, layer=1, kind="deep")
    for strength in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SpecError, match="strength must be a number above 0"):
            train_classifier(*texts(6), layer=1, strength=strength)  # of so few that none is tried
    with pytest.raises(SpecError, match="knn has none"):
        train_classifier(data, labels, layer=1, kind="knn", strength=1.0)


def test_few_rows_and_rare_classes_are_no_trouble() -> None:
    data, labels = texts(8)
    labels[0] = "once"
    few = train_classifier(data, labels, layer=1)
    assert (few.held_out, few.classifier.temperature) == (None, 1.0)
    assert "once" in few.classifier.labels
    data, labels = texts(40)
    labels[0] = "once"  # the fold that holds it out cannot know it
    rare = train_classifier(data, labels, layer=1, strength=0.1)
    assert rare.held_out is not None
    assert rare.held_out.probabilities[0, rare.held_out.labels.index("once")] == 0
    assert np.isfinite(rare.classifier.temperature)


def test_labels_that_no_fold_could_know_are_learnt_but_not_calibrated() -> None:
    data, labels = texts(30)
    alone = train_classifier(data, [str(k) for k in range(30)], layer=1)
    grouped = train_classifier(data, labels, layer=1, groups=labels)
    for training in (alone, grouped):
        assert (training.held_out, training.classifier.temperature) == (None, 1.0)


def test_groups_are_never_parted() -> None:
    """Each vector comes twenty times, with a class by lot: who sees a copy knows it, who does not cannot."""
    draw = np.random.default_rng(0)
    vectors = np.repeat(draw.normal(size=(30, 50)), 20, axis=0).astype(np.float32)
    labels: list[str | None] = [str(k) for k in np.repeat(draw.integers(2, size=30), 20)]
    units = pa.table({"text_id": range(600), "surface": [""] * 600, "status": ["ok"] * 600})
    data = Embeddings(units, {"layer_1": vectors}, n_texts=600)
    accuracy = []
    of_one = units.set_column(0, "text_id", pa.array(np.arange(600) // 20))  # such as sentences of one text
    whole = Embeddings(of_one, data.columns, n_texts=30)
    for given, groups in ((data, None), (data, [k // 20 for k in range(600)]), (whole, None)):
        training = train_classifier(given, labels, layer=1, kind="knn", groups=groups)
        assert training.held_out is not None
        accuracy.append(score_classes(training.held_out, training.labels).accuracy)
    assert accuracy[0] > 0.95
    assert max(accuracy[1:]) < 0.75


def test_a_folder_with_other_numbers_is_refused(given: tuple[Embeddings, list[str | None]], tmp_path: Path) -> None:
    from lamina.apps.trained import read_trained, write_trained

    train_classifier(*given, layer=1).classifier.save(tmp_path)
    found = read_trained(tmp_path, app="classify")
    for about in ({"kind": "deep"}, {"temperature": 0.0}, {"temperature": "1"}, {"kind": "forest"}):
        broken = type(found)("classify", found.place, found.labels, {**found.about, **about}, found.tensors)
        write_trained(tmp_path, broken, overwrite=True)
        with pytest.raises(TrainedError):
            read_classifier(tmp_path)


def test_scores_by_hand() -> None:
    units = pa.table({"text_id": range(5), "surface": ["a", "b", "c", "d " * 200, "e"], "status": ["ok"] * 5})
    likely = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [np.nan, np.nan]])
    predictions = Predictions(units, ("no", "yes"), likely)
    scores = score_classes(predictions, ["no", "yes", "yes", "maybe", "no"])
    assert predictions.names == ["no", "yes", "no", "yes", None]
    assert scores.accuracy == 2 / 5
    assert {name: (one.n, one.n_found, one.n_right) for name, one in scores.classes.items()} == {
        "maybe": (1, 0, 0), "no": (2, 2, 1), "yes": (2, 2, 1),
    }  # fmt: skip
    assert scores.macro_f1 == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert (scores.unseen, scores.n_nothing) == ({"maybe": 1}, 1)
    assert scores.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean())
    assert scores.names == ("maybe", "no", "yes", NOTHING)
    assert scores.counts.tolist() == [[0, 0, 1, 0], [0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert [(one.gold, one.found, one.n, one.examples[0][:3]) for one in scores.mistakes] == [
        ("maybe", "yes", 1, "d d"), ("no", NOTHING, 1, "e"), ("yes", "no", 1, "c"),
    ]  # fmt: skip
    assert len(scores.mistakes[0].examples[0]) <= 160
    page = scores_report(scores, title="t", facts={}).html()
    assert "label never learnt" in page
    assert reliability_chart(scores).to_dict()["title"].startswith("Can the probabilities be trusted?")
    with pytest.raises(SpecError, match="no row has a label"):
        score_classes(predictions, [None] * 5)


def test_macro_f1_is_that_of_scikit_learn_and_of_a_probe() -> None:
    """Of four classes one is found and not there, and one is neither."""
    names, truth, found = ("a", "b", "c", "d"), np.array([0, 1, 0, 1]), np.array([0, 1, 3, 3])
    units = pa.table({"text_id": range(4), "surface": list("wxyz"), "status": ["ok"] * 4})
    scores = score_classes(Predictions(units, names, np.eye(4)[found]), [names[k] for k in truth])
    assert scores.macro_f1 == pytest.approx(f1_score(truth, found, average="macro"))
    assert scores.macro_f1 == pytest.approx(score("macro-f1", Examples(truth, names, np.arange(4)), found))


def test_nothing_known_can_still_be_scored() -> None:
    units = pa.table({"text_id": [0], "surface": ["a"], "status": ["ok"]})
    scores = score_classes(Predictions(units, ("no", "yes"), np.array([[1.0, 0.0]])), ["maybe"])
    assert (scores.accuracy, scores.bins, scores.log_loss, scores.calibration_error) == (0, (), 0, 0)
    assert "maybe" in scores_report(scores, title="t", facts={}).html()


def test_of_many_classes_the_most_mistaken_are_drawn() -> None:
    names = tuple(f"c{k:02d}" for k in range(50))
    units = pa.table({"text_id": range(50), "surface": [""] * 50, "status": ["ok"] * 50})
    likely = np.eye(50)
    likely[7], likely[9] = likely[9].copy(), likely[7].copy()
    chart = confusion_chart(score_classes(Predictions(units, names, likely), list(names))).to_dict()
    assert chart["title"] == "What each class is taken for (30 most mistaken)"
    shown = {row["is"] for row in chart["data"]["values"]}
    assert {"c07", "c09"} <= shown


def test_labels_are_words_whatever_they_were() -> None:
    units = pa.table({"stars": pa.array([1, None, 5]), "kind": ["a", "", "b"], "tags": [["x"], ["y"], ["z"]]})
    assert row_labels(units, "stars") == ["1", None, "5"]
    assert row_labels(units, "kind") == ["a", None, "b"]
    with pytest.raises(SpecError, match="is it a tag for each word"):
        row_labels(units, "tags")
    with pytest.raises(SpecError, match="there is no column 'star'; there are stars, kind, tags"):
        row_labels(units, "star")
