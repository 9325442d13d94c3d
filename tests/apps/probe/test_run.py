"""Proves that a probe finds the layer that holds the label, and says no more than the data do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lamina.apps.classify import train_classifier
from lamina.apps.mix import Mix, vectors_of
from lamina.apps.probe.asking import ask
from lamina.apps.probe.question import groups_of
from lamina.apps.probe.run import answer, probe
from lamina.embeddings import Embeddings
from lamina.errors import SpecError
from tests.apps.probe.probing import one_hot, planted, units

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(3, size=400)
LABELS = [f"class {k}" for k in CLASSES]
_PLANTED = planted(one_hot(CLASSES), strengths=(0.02, 0.1, 0.5, 0.5, 0.05))
_ALIKE = _PLANTED.layer(2) * (1 + 0.02 * RNG.normal(size=(400, 12)))  # what layer 3 knows, layer 2 knows already
DATA = Embeddings(_PLANTED.units, {**_PLANTED.columns, "layer_3": _ALIKE.astype(np.float32)}, 400)
WORSE = planted(one_hot(CLASSES), strengths=(0.0, 0.1, 0.2, 0.2, 0.1), seed=1)


@pytest.fixture(scope="module")
def found() -> object:
    return probe({"mean": DATA, "max": WORSE}, LABELS)


def test_every_layer_pool_and_mix_has_a_row(found) -> None:  # type: ignore[no-untyped-def]
    names = {(row.layer, row.pool, row.combine) for row in found.rows}
    mixes = {("1,2,3,4", pool, combine) for pool in ("mean", "max") for combine in ("mean", "concat")}
    learned = {("0,1,2,3,4", "mean", "learned")}  # of the pool that does best
    assert names == {(layer, pool, "none") for layer in range(5) for pool in ("mean", "max")} | mixes | learned


def test_the_best_is_where_the_label_was_put(found) -> None:  # type: ignore[no-untyped-def]
    layers = {row.layer: row for row in found.rows if isinstance(row.layer, int) and row.pool == "mean"}
    assert sorted(layers, key=lambda layer: -layers[layer].score)[:2] in ([2, 3], [3, 2])
    assert found.best.pool == "mean"
    assert found.best.behind == 0
    assert layers[0].behind > layers[0].noise
    assert found.cheapest.top == 2
    assert found.saved(found.cheapest) == 0.5
    assert all(row.low <= row.score <= row.high for row in found.rows)


def test_labels_drawn_by_lot_score_at_chance(found) -> None:  # type: ignore[no-untyped-def]
    controls = [row.control for row in found.rows if row.control is not None]
    assert len(controls) == 7  # of the best pool, but for the learned mix
    assert np.abs(np.array(controls) - 1 / 3).max() < 0.12
    row = next(row for row in found.rows if row.control is not None)
    assert row.selectivity == row.score - row.control


def test_shuffled_labels_are_at_chance_in_every_row() -> None:
    drawn = np.random.default_rng(4).permutation(LABELS).tolist()
    rows = probe(DATA, drawn).rows
    assert np.mean([row.score for row in rows]) == pytest.approx(1 / 3, abs=0.05)
    assert max(row.score for row in rows) < 0.45


def test_a_probe_of_words_remembers_them_and_the_control_task_shows_it() -> None:
    """Each word has one vector, so a label drawn for it can be learnt by heart; the words' own labels are drawn too:
    all that the probe knows is memory, and its selectivity is nothing."""
    rng = np.random.default_rng(0)
    words = rng.integers(12, size=600)
    data = planted(one_hot(words), strengths=(3.0, 3.0), width=30, surfaces=[f"w{k}" for k in words],
                   text_ids=(np.arange(600) // 6).tolist())  # fmt: skip
    labels = rng.integers(3, size=12)[words]
    found = probe(data, [f"c{k}" for k in labels], mixes=())
    assert found.unit == "word"
    assert found.best.score > 0.9
    assert found.best.control > 0.9
    assert abs(found.best.selectivity) < 0.1
    assert found.baselines["commonest label of each word"] == 1


def test_words_of_one_text_share_a_fold_and_so_do_equal_texts() -> None:
    text_ids = (np.arange(400) // 8).tolist()
    question = ask(planted(one_hot(CLASSES), strengths=(1, 1), text_ids=text_ids), LABELS)
    assert all(np.unique(question.parts.of[8 * k : 8 * k + 8]).size == 1 for k in range(50))
    table = units(["Same text"] * 3 + ["same TEXT", "another"])
    assert groups_of(table, "text").tolist() == [0, 0, 0, 0, 1]


def test_without_folds_by_text_a_probe_would_remember_texts() -> None:
    """Vectors that say nothing but which text it is: at chance, as long as copies of a text share a fold."""
    rng = np.random.default_rng(0)
    texts = np.repeat(np.arange(100), 4)
    labels = [f"c{k}" for k in rng.integers(2, size=100)[texts]]
    of_text = rng.normal(size=(100, 60))[texts].astype(np.float32)
    data = Embeddings(units([f"text {k}" for k in texts]), {"layer_0": of_text}, 400)
    assert probe(data, labels).best.score < 0.68
    torn = probe(data, labels, groups=list(range(400)))
    assert torn.best.score > 0.95


def test_what_is_in_the_dev_part_is_scored_and_what_is_in_test_only_once() -> None:
    split = ["train"] * 250 + ["dev"] * 100 + ["test"] * 50
    found = probe(DATA, LABELS, split=split)
    assert found.n == 350
    assert found.how == "a probe fitted on 250 texts and scored on the 100 of the dev part"
    assert found.test.n == 50
    assert found.test.score > 0.7
    wrong = [*LABELS[:350], *("class 0" if label != "class 0" else "class 1" for label in LABELS[350:])]
    other = probe(DATA, wrong, split=split)
    assert [row.score for row in other.rows] == [row.score for row in found.rows]
    assert other.test.score < 0.4


def test_the_tests_interval_is_of_groups_where_they_are_given() -> None:
    """Ten authors whose 20 texts are all alike: the score of the test part is known by 10 draws, not by 200."""
    author = np.concatenate([np.arange(200), np.repeat(np.arange(200, 210), 20)])
    classes = author % 2
    shown = np.where(np.isin(author, (201, 204, 207)), 1 - classes, classes)  # three of them mislead the probe
    data, split = planted(one_hot(shown), strengths=(3.0,)), ["train"] * 200 + ["test"] * 200
    labels = [f"c{k}" for k in classes]
    alone, grouped = (
        probe(data, labels, split=split, groups=groups, mixes=()).test for groups in (None, author.tolist())
    )
    assert grouped.score == alone.score < 1
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_infinite_vectors_are_refused() -> None:
    """As float16 stores what is above 65,504."""
    vectors = DATA.columns["layer_2"].copy()
    vectors[5, 3] = np.inf
    data = Embeddings(DATA.units, {"layer_2": vectors}, 400)
    with pytest.raises(SpecError, match="the vectors hold infinite values"):
        probe(data, LABELS)
    with pytest.raises(SpecError, match="the vectors hold infinite values"):
        train_classifier(data, LABELS, layer=2)


def test_given_folds_of_few_groups_leave_enough_to_be_tested() -> None:
    """Three authors, a fold each, where five folds are the default."""
    author = (np.arange(400) % 3).tolist()
    question = ask({"mean": DATA}, LABELS, split=[f"fold {one}" for one in author], groups=author)
    found = answer(question, mixes=(), curve=False, control=False)
    assert question.test(found.best, DATA, LABELS).score > 0.7


def test_given_folds_are_kept_to() -> None:
    folds = np.arange(400) % 3
    question = ask(DATA, LABELS, split=folds.tolist())
    assert question.parts.of.tolist() == folds.tolist()


def test_the_choice_is_scored_on_units_of_its_own() -> None:
    classes = np.random.default_rng(9).integers(3, size=200)
    both = planted(one_hot(np.concatenate([CLASSES, classes])), strengths=(0.1, 1.0))
    train, test = (
        Embeddings(both.units.slice(start, n), {name: x[start : start + n] for name, x in both.columns.items()}, n)
        for start, n in ((0, 400), (400, 200))
    )
    question = ask({"mean": train}, LABELS)
    found = answer(question, curve=False, control=False)
    tested = question.test(found.best, test, [f"class {k}" for k in classes])
    assert tested.score == pytest.approx(found.best.score, abs=0.1)
    assert tested.low < tested.score < tested.high
    strange = ["never seen"] * 20 + [f"class {k}" for k in classes[20:]]
    missed = question.test(found.best, test, strange)
    assert missed.score == pytest.approx(tested.score * 0.9, abs=0.04)
    assert (tested.n_unseen, missed.n_unseen) == (0, 20)
    assert question.test(found.best, test, [None] * 150 + strange[150:]).left_out == {"without a label": 150}


def test_numbers_are_probed_by_ranks_and_variance() -> None:
    numbers = np.random.default_rng(0).normal(size=300) * 4 + 20
    found = probe(planted(numbers, strengths=(0.0, 1.0)), numbers.tolist())
    assert (found.metric, list(found.best.scores)) == ("spearman", ["r2"])
    assert found.best.layer == 1 or found.best.combine != "none"
    assert found.best.score > 0.9
    assert found.best.scores["r2"] > 0.9
    none = next(row for row in found.rows if row.layer == 0)
    assert abs(none.score) < 0.2
    assert abs(none.control) < 0.2
    assert len(found.confusions) == 12
    assert probe(planted(numbers, strengths=(1.0,)), numbers.tolist(), metric="r2").metric == "r2"


def test_tags_of_spans_are_scored_by_whole_spans() -> None:
    rng = np.random.default_rng(0)
    tags = []
    for _ in range(120):
        start, length = int(rng.integers(4)), int(rng.integers(1, 4))
        tags += ["O"] * start + ["B-X"] + ["I-X"] * (length - 1) + ["O"] * (8 - start - length)
    place = {"O": 0, "B-X": 1, "I-X": 2}
    values = one_hot(np.array([place[tag] for tag in tags]))
    found = probe(planted(values, strengths=(1.5,), text_ids=(np.arange(960) // 8).tolist()), tags)
    assert found.metric == "span-f1"
    assert found.best.score < found.best.scores["accuracy"]
    assert found.baselines["majority"] == 0
    assert found.best.selectivity == found.best.scores["accuracy"] - found.best.control
    assert f"Control task: accuracy {found.best.control:.4f}" in " ".join(found.sentences())


def test_random_weights_are_probed_beside_the_best_pool(found) -> None:  # type: ignore[no-untyped-def]
    random = planted(one_hot(CLASSES), strengths=(0,) * 5, seed=3)
    rows = probe({"mean": DATA}, LABELS, random={"mean": random}, mixes=("mean:0,1",)).rows
    assert all(row.random is not None and row.random < 0.5 for row in rows)
    assert all(row.random is None for row in found.rows)


def test_the_curve_rises_to_the_score_itself(found) -> None:  # type: ignore[no-untyped-def]
    sizes = [point.n for point in found.curve]
    assert sizes == sorted(sizes)
    assert sizes[-1] == 320
    assert found.curve[-1].score == found.chosen.score
    assert found.curve[0].score < found.curve[-1].score
    assert all(point.low <= point.score <= point.high for point in found.curve)


def test_few_large_groups_leave_a_short_curve() -> None:
    data = planted(one_hot(CLASSES), strengths=(1.0,), text_ids=(np.arange(400) // 40).tolist())
    assert len(probe(data, LABELS).curve) == 1


def test_the_cheapest_can_be_chosen_instead() -> None:
    found = answer(ask({"mean": DATA}, LABELS), choose="cheapest", control=False)
    assert found.chosen == found.cheapest
    assert found.chosen.top == 2
    assert found.curve[-1].score == found.cheapest.score


def test_it_says_in_words_what_it_found(found) -> None:  # type: ignore[no-untyped-def]
    said = " ".join(found.sentences())
    assert said.startswith(f"Best: {found.best.name}, pool mean: accuracy {found.best.score:.4f} [")
    assert "layer 4 (mean, the last), more than the noise" in said
    assert "stopping there saves 50% of the encoder's layers" in said
    assert "majority" in said
    assert "bag of words" in said


def test_its_json_is_one_document_with_rows_by_layer(found) -> None:  # type: ignore[no-untyped-def]
    document = json.loads(json.dumps(found.json()))
    assert {"layer", "pool", "combine", "score", "low", "high", "selectivity"} <= set(document["rows"][0])
    assert document["best"]["score"] == max(row["score"] for row in document["rows"])
    assert set(document) >= {"rows", "best", "cheapest", "baselines", "test", "curve", "metric"}
    assert document["cheapest"]["saves"] == 0.5


def test_a_row_is_what_other_apps_can_look_at(found) -> None:  # type: ignore[no-untyped-def]
    for row in found.rows:
        mix = Mix.parse(row.mix)
        assert len(vectors_of(DATA, row.mix)) == 400
        assert max(mix.numbers(DATA.layers)) == row.top
    learned = next(row for row in found.rows if row.combine == "learned")
    assert len(Mix.parse(learned.mix).combine.split(",")) == 5
    winner = found.winner(found.best, model="minilm", label="kind")
    assert winner.spec().layers == Mix.parse(found.best.mix).layers


def test_a_large_input_is_sampled_by_whole_groups() -> None:
    data = planted(one_hot(CLASSES), strengths=(1.0,), text_ids=(np.arange(400) // 4).tolist())
    question = ask(data, LABELS, sample=200)
    assert question.labels.rows.size == 200
    assert question.labels.left_out == {"beyond the sample of 200": 200}
    assert np.unique(question.groups, return_counts=True)[1].tolist() == [4] * 50
    assert ask(data, LABELS, sample=200, seed=1).labels.rows.tolist() != question.labels.rows.tolist()


def test_layers_combined_when_extracted_are_one_row() -> None:
    combined = Embeddings(DATA.units, {"combined": DATA.layer(2)}, 400)
    found = probe(combined, LABELS, split=["a", "b"] * 200)
    assert [(row.layer, row.combine) for row in found.rows] == [("combined", "none")]
    with pytest.raises(SpecError, match="nothing to mix"):
        probe(combined, LABELS, mixes=("mean:-4..-1",))


def test_a_single_layer_of_a_model_of_one_works() -> None:
    one = Embeddings(DATA.units, {"layer_0": DATA.layer(2)}, 400)
    assert [row.layer for row in probe(one, LABELS).rows] == [0]


def test_units_without_a_vector_are_left_out() -> None:
    holes = {name: np.where(np.arange(400)[:, None] % 40 == 0, np.nan, x) for name, x in DATA.columns.items()}
    found = probe(Embeddings(DATA.units, holes, 400), LABELS)
    assert found.left_out == {"without a vector": 10}
    assert found.n == 390


def test_the_same_question_gets_the_same_answer() -> None:
    one, two = (probe({"mean": DATA}, LABELS, threads=threads, seed=5).json() for threads in (1, 2))
    assert one == two


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "r2"}, "metric must be accuracy or macro-f1"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"groups": [1, 2]}, "2 groups for 400 units"),
        ({"split": ["train"]}, "split has 1 values for 400 units"),
        ({"sample": 0}, "sample must be at least 1"),
        ({"mixes": ("mean:7,8",)}, "layer 7"),
        ({"folds": 400}, "fewer members than the 400 folds"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        probe(DATA, LABELS, **options)  # type: ignore[arg-type]


def test_views_of_other_units_are_refused() -> None:
    other = Embeddings(units([f"other {k}" for k in range(399)]), {"layer_0": DATA.layer(0)[:399]}, 399)
    with pytest.raises(SpecError, match="'mean' and 'max' are not of the same units"):
        ask({"mean": DATA, "max": other}, LABELS)
    with pytest.raises(SpecError, match="at least one view"):
        ask({}, LABELS)
