"""Proves that what is watched is what the layers know, and that watching changes no bit of what is learnt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.apps.charts import save
from lamina.apps.looks import chart_json
from lamina.apps.probe.run import probe
from lamina.errors import SourceError, SpecError
from lamina.text.source import Source
from lamina.train.folder import PROBES
from lamina.train.pretrain import pretrain
from lamina.train.run import Trained
from lamina.train.start import begin
from lamina.train.watch import Probed, Task, extractor_of, read_scores
from lamina.train.watch_chart import watch_chart
from tests.train.small import Noting
from tests.train.test_pretrain import DOCUMENTS, QUICK, SHORT, SMALL

WORDS = ("river", "bank", "layer", "model", "name", "sea", "winter", "the", "quiet", "old")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty texts, a class each."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = []
    for i in range(40):
        chosen = rng.permutation(WORDS)[:4].tolist()
        rows.append({"text": " ".join(chosen), "side": "wet" if {"river", "sea"} & set(chosen) else "dry", "n": i})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def tags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty sentences, a tag for each word."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("tags") / "tags.conll"
    kinds = {word: "NOUN" if k < 7 else "OTHER" for k, word in enumerate(WORDS)}
    sentences = ("".join(f"{w}\t{kinds[w]}\n" for w in rng.permutation(WORDS)[:5]) for _ in range(30))
    path.write_text("\n".join(sentences))
    return path


def tasks(texts: Path, tags: Path) -> list[Probed]:
    return [
        Probed("side", Source(str(texts), keep=("side",)), label="side"),
        Probed("noun", Source(str(tags), keep=("tags",))),
    ]


def run(out: Path, **options: Any) -> Trained:
    given = {"scratch": SMALL, "reading": SHORT, "settings": QUICK, "probe_every": 5} | options
    return pretrain(DOCUMENTS, out=out, **given)


@pytest.fixture(scope="module")
def watched(texts: Path, tags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("watched") / "model"
    run(out, probes=tasks(texts, tags))
    return out


def test_every_layer_is_probed_at_the_beginning_every_so_often_and_at_the_end(watched: Path) -> None:
    rows = read_scores(watched / PROBES)
    found = [(row["step"], row["task"], row["layer"]) for row in rows]
    assert found == [(s, t, k) for s in (0, 5, 10, 12) for t in ("side", "noun") for k in (0, 1, 2)]
    for row in rows:
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 1
        assert row["metric"] == "accuracy"
        assert row["n"] == (40 if row["task"] == "side" else 150)
        assert "majority" in row["baselines"]


def test_a_run_that_ends_early_is_probed_at_its_end(texts: Path, tags: Path, tmp_path: Path) -> None:
    how = replace(QUICK, learning_rate=1e-12, evaluate_every=1, patience=1)  # too slow to get any better
    done = run(tmp_path / "m", probes=tasks(texts, tags)[:1], probe_every=None, settings=how)
    assert done.record["is_early"]
    assert done.record["step"] < 12
    assert {row["step"] for row in read_scores(tmp_path / "m" / PROBES)} == {0, done.record["step"]}


def test_watching_changes_no_bit(watched: Path, tmp_path: Path) -> None:
    run(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == (watched / "model.safetensors").read_bytes()
    assert not (tmp_path / "m" / PROBES).exists()


def test_what_is_found_at_the_end_is_what_the_finished_model_gives(watched: Path, texts: Path) -> None:
    """The slow way: the folder loaded anew, texts extracted, probed by the library's front door."""
    rows = [json.loads(line) for line in texts.read_text().splitlines()]
    model = lamina.load(watched)
    emb = model.extract([row["text"] for row in rows])
    expected = probe(emb, [row["side"] for row in rows], mixes=[])
    last = [row for row in read_scores(watched / PROBES) if row["step"] == 12 and row["task"] == "side"]
    figures = json.loads((watched / "training.json").read_text())["figures"]
    assert figures["step"] == 12  # the best state is the last one
    for row, other in zip(last, expected.rows, strict=True):
        assert row["layer"] == other.layer
        assert row["score"] == pytest.approx(other.score, abs=1 / 40 + 1e-9)  # another engine: a text at the edge


def test_a_run_that_is_gone_on_with_has_each_score_once(watched: Path, texts: Path, tags: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "m", {"probes": tasks(texts, tags)}
    assert not run(out, watcher=Noting(stop_after=7), **options).is_finished
    assert {row["step"] for row in read_scores(out / PROBES)} == {0, 5}
    assert run(out, **options).is_finished
    assert read_scores(out / PROBES) == read_scores(watched / PROBES)


def test_what_an_earlier_sitting_lost_is_found_anew(watched: Path, texts: Path, tags: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "m", {"probes": tasks(texts, tags)}
    run(out, watcher=Noting(stop_after=3), **options)
    rows = read_scores(out / PROBES)
    stale = [{**row, "step": 5, "score": 9.0} for row in rows]  # as if killed after a probe and before the state
    (out / PROBES).write_text("".join(json.dumps(row) + "\n" for row in [*rows, *stale]))
    run(out, **options)
    assert read_scores(out / PROBES) == read_scores(watched / PROBES)


def test_overwriting_forgets_the_scores(texts: Path, tags: Path, tmp_path: Path) -> None:
    run(tmp_path / "m", probes=tasks(texts, tags), settings=replace(QUICK, steps=2))
    run(tmp_path / "m", settings=replace(QUICK, steps=3), overwrite=True)
    assert not (tmp_path / "m" / PROBES).exists()


def test_other_values_of_the_encoder_are_what_is_extracted(deep_bert: Path) -> None:
    start = begin(deep_bert)
    values = {name: start.weights[name] for name in start.weights.tensors}
    same = extractor_of(start, values).extract(["the river"], layers="-1").layer(-1)
    moved = extractor_of(start, values | {"embeddings.norm.bias": values["embeddings.norm.bias"] + 1})
    expected = lamina.load(deep_bert, engine="reference").extract(["the river"], layers="-1").layer(-1)
    assert np.allclose(same, expected, atol=1e-5)
    assert not np.allclose(moved.extract(["the river"], layers="-1").layer(-1), expected, atol=1e-2)


def test_of_many_texts_some_are_drawn_and_always_the_same(texts: Path) -> None:
    probed = Probed("side", Source(str(texts), keep=("side",)), label="side", texts=10)
    one, again = Task.of(probed), Task.of(probed)
    assert len(one.rows.texts) == 10
    assert one.rows.texts == again.rows.texts
    everything = Task.of(replace(probed, texts=99)).rows
    place = [everything.texts.index(text) for text in one.rows.texts]
    assert place == sorted(place)
    assert one.rows.columns["side"].to_pylist() == [everything.columns["side"][i].as_py() for i in place]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"label": "nowhere"}, SpecError, "no column 'nowhere'"),
        ({"label": None}, SpecError, "no column 'tags'"),
        ({"texts": 1}, SpecError, "at least 2"),
    ],
)
def test_a_task_that_cannot_be_is_refused(texts: Path, changes: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        Task.of(replace(Probed("side", Source(str(texts)), label="side"), **changes))


def test_two_tasks_of_one_name_and_a_damaged_file_are_refused(texts: Path, tmp_path: Path) -> None:
    probed = Probed("side", Source(str(texts)), label="side")
    with pytest.raises(SpecError, match="one name"):
        run(tmp_path / "m", probes=[probed, probed])
    with pytest.raises(SpecError, match="probe_every"):
        run(tmp_path / "m", probes=[probed], probe_every=0)
    (tmp_path / PROBES).write_text('{"step": 0\n')
    with pytest.raises(SourceError, match="damaged"):
        read_scores(tmp_path / PROBES)


def test_the_chart_has_a_panel_a_task_and_a_line_a_layer(watched: Path, tmp_path: Path) -> None:
    rows = read_scores(watched / PROBES)
    chart = watch_chart(rows, title="What each layer knows")
    document = json.loads(chart_json(chart))
    assert [panel["title"]["text"] for panel in document["hconcat"]] == ["side", "noun"]
    assert document["hconcat"][0]["title"]["subtitle"].startswith("40 labelled; 95 % interval ±")
    values = document["hconcat"][1]["layer"][0]["data"]["values"]
    assert {(v["step"], v["layer"]) for v in values} == {(s, k) for s in (0, 5, 10, 12) for k in (0, 1, 2)}
    for name in ("chart.svg", "chart.png", "chart.html"):
        save(chart, tmp_path / name)
    assert "What each layer knows" in (tmp_path / "chart.svg").read_text()
    with pytest.raises(SpecError, match="no task was probed"):
        watch_chart([], title="nothing")
