"""Proves that a student begins as some of its teacher's layers, comes nearer to it, and is an ordinary checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import lamina
from lamina.apps.looks import chart_json
from lamina.errors import CheckpointError, SpecError
from lamina.text.source import Source
from lamina.train.comparison_chart import comparison_chart, page, tables_of
from lamina.train.distil import Distilling, Lessons, Reader, distil
from lamina.train.folder import REPORT
from lamina.train.guessing import Masks
from lamina.train.heads import new_head
from lamina.train.masking import Masking
from lamina.train.material import Reading, make_material
from lamina.train.run import Trained
from lamina.train.settings import Settings
from lamina.train.start import Start, begin
from lamina.train.student import spread, write_student
from lamina.train.watch import Probed
from tests.oracle import load_oracle, relative_error
from tests.parity.test_heads import saved
from tests.samples import prose

DOCUMENTS = [prose(9, start=4 * i) for i in range(40)]
SHORT = Reading(max_tokens=32, held_out=0.1)
QUICK = Settings(
    steps=25, batch_size=8, learning_rate=3e-3, precision="float32", device="cpu", dropout=0, attention_dropout=0
)
Make = Callable[..., Path]


@pytest.fixture(scope="module")
def teacher(random_bert: Make) -> Path:
    return random_bert(hidden_size=32, num_hidden_layers=6, num_attention_heads=4, intermediate_size=48)


def run(teacher: Path, out: Path, **options: Any) -> Trained:
    return distil(teacher, DOCUMENTS, out=out, **{"layers": 3, "reading": SHORT, "settings": QUICK} | options)


@pytest.fixture(scope="module")
def finished(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("distilled") / "student"
    run(teacher, out)
    return out


def test_layers_are_spread_evenly_and_end_with_the_last() -> None:
    assert spread(3, 6) == (2, 4, 6)
    assert spread(6, 12) == (2, 4, 6, 8, 10, 12)
    assert spread(4, 6) == (2, 3, 4, 6)
    assert spread(1, 6) == (6,)
    assert spread(6, 6) == (1, 2, 3, 4, 5, 6)
    for n in (0, 7):
        with pytest.raises(SpecError, match="from 1 to 6"):
            spread(n, 6)


@pytest.mark.parametrize("layers", [(1, 2, 3, 4, 5, 6), (2, 4, 6), (1,), (6,)])
def test_a_student_begins_as_the_teachers_layers(teacher: Path, tmp_path: Path, layers: tuple[int, ...]) -> None:
    """The slow twin: transformers' model with the other layers taken out of its list."""
    write_student(begin(teacher), layers, tmp_path)
    theirs = load_oracle(teacher)
    stack = theirs.model.encoder.layer
    theirs.model.encoder.layer = torch.nn.ModuleList(stack[layer - 1] for layer in layers)
    text = "The river bank."
    found = lamina.load(tmp_path, engine="reference").extract([text], unit="token")
    expected = theirs.states(theirs.ids(text))
    assert len(expected) == len(layers) + 1 == len(found.layers)
    for k, state in enumerate(expected):
        assert relative_error(found.layer(k), state) < 1e-5


FAMILIES = {
    "albert": None, "roberta": (1, 3), "distilbert": (1, 3), "electra": (1, 3), "mpnet": (1, 3), "deberta": (1, 3),
    "deberta-v2": (1, 3), "modernbert": (1, 2, 4), "nomic_bert": (1, 3),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_students_of_every_family(tmp_path: Path, family: str) -> None:
    folder, layers = saved(tmp_path / "teacher", family, "masked_lm"), FAMILIES[family]
    start = begin(folder)
    if layers is None:
        with pytest.raises(SpecError, match="share weights"):
            write_student(start, (1, 3), tmp_path / "student")
        return
    write_student(start, layers, tmp_path / "student")
    student = begin(tmp_path / "student")
    for k, layer in enumerate(layers):
        own = student.architecture.layers[k]
        assert own.attention == start.architecture.layers[layer - 1].attention
        for name in student.weights.tensors:
            if name.startswith(f"layers.{k}."):
                other = name.replace(f"layers.{k}.", f"layers.{layer - 1}.", 1)
                assert np.array_equal(student.weights[name], start.weights[other])
    assert lamina.load(tmp_path / "student").head("masked_lm").task == "masked_lm"  # the head travels along


def test_modernberts_first_layer_cannot_be_left_out(tmp_path: Path) -> None:
    start = begin(saved(tmp_path / "teacher", "modernbert", "masked_lm"))
    with pytest.raises(SpecError, match="layer 1 must be among them"):
        write_student(start, (2, 4), tmp_path / "student")


def objective_of(teacher: Path, folder: Path, lessons: Lessons, layers: tuple[int, ...]) -> Distilling:
    master = begin(teacher)
    write_student(master, layers, folder / "student")
    student = begin(folder / "student")
    material = make_material(DOCUMENTS, None, student, SHORT, folder, seed=0)
    heads = [new_head(one, "masked_lm", labels=(), dropout=0.0, seed=0) if lessons.logits else None
             for one in (student, master)]  # fmt: skip
    made = [Reader(one.encoder(QUICK), head).eval() for one, head in zip((student, master), heads, strict=True)]
    masks = Masks.of(student.tokenizer, Masking()) if lessons.logits else None
    return Distilling(made[0], made[1], lessons, masks, material.learnt, material.held_out, 0)


def states_of(folder: Path, batch: Any) -> list[torch.Tensor]:
    """transformers' states of a padded batch, its padding taken out: [T, D] a layer."""
    ids, lengths = batch.ids, batch.lengths
    mask = torch.from_numpy(np.arange(ids.shape[1]) < lengths[:, None])
    with torch.inference_mode():
        found = load_oracle(folder).model(
            torch.from_numpy(ids).long(), attention_mask=mask.long(), output_hidden_states=True
        )
    return [state[mask] for state in found.hidden_states]


@pytest.mark.parametrize("measure", ["mse", "cosine"])
def test_the_loss_is_the_mean_over_tokens_and_matched_layers(teacher: Path, tmp_path: Path, measure: Any) -> None:
    lessons = Lessons(match=(1, 5), measure=measure)
    objective = objective_of(teacher, tmp_path, lessons, (2, 6))
    batch = objective.batch([0, 3, 5], np.random.default_rng(0))
    loss = objective.loss(batch)
    mine, theirs = states_of(tmp_path / "student", batch.batch), states_of(teacher, batch.batch)
    expected = []
    for own, wanted in ((mine[1], theirs[1]), (mine[2], theirs[5])):
        cosine = functional.cosine_similarity(own, wanted, dim=-1)
        expected.append(((own - wanted) ** 2).mean() if measure == "mse" else (1 - cosine).mean())
    assert loss.weight == int(batch.batch.lengths.sum())
    assert float(loss.total.detach()) / loss.weight == pytest.approx(float(sum(expected) / 2), rel=1e-4)


def test_guesses_are_compared_at_the_masked_tokens(tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher", "bert", "masked_lm")
    with_logits, without = (
        objective_of(folder, tmp_path / name, Lessons(match=(3,), logits=weight, temperature=2.0), (3,))
        for name, weight in (("a", 0.5), ("b", 0.0))
    )
    batch = with_logits.batch([0, 1, 2], np.random.default_rng(0))
    assert (batch.batch.ids == with_logits.masks.mask_id).any()  # type: ignore[union-attr]
    one, two = (float(o.loss(batch).total.detach()) for o in (with_logits, without))
    places = torch.from_numpy(batch.places)
    with torch.inference_mode():
        own = with_logits.module.guesses(with_logits.module(batch.batch, (1,))[1][places]) / 2
        wanted = with_logits.teacher.guesses(with_logits.teacher(batch.batch, (3,))[3][places]) / 2
        p, q = wanted.softmax(-1), own.softmax(-1)
        apart = float((p * (p.log() - q.log())).sum(-1).mean()) * 4
    assert apart > 0
    assert (one - two) / int(batch.batch.lengths.sum()) == pytest.approx(0.5 * apart, rel=1e-3)


def test_the_student_comes_nearer_and_the_report_says_so(teacher: Path, finished: Path) -> None:
    document = json.loads((finished / REPORT).read_text())
    assert [(row["layer"], row["teacher_layer"]) for row in document["rows"]] == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert document["rows"][0]["cosine_before"] == pytest.approx(1, abs=1e-6)  # the same embeddings
    for row in document["rows"][1:]:
        assert row["cosine"] > row["cosine_before"] + 0.02
        assert row["cosine_low"] <= row["cosine"]
        assert row["text_cosine"] > row["text_cosine_before"]
    record = json.loads((finished / "training.json").read_text())
    assert record["figures"]["cosine"] == pytest.approx(document["rows"][3]["cosine"], abs=1e-5)
    assert record["losses"][-1][1] < 0.8 * record["losses"][0][1]
    assert record["layers"] == [2, 4, 6]


def test_cosines_are_those_of_transformers(teacher: Path, finished: Path, tmp_path: Path) -> None:
    material = make_material(DOCUMENTS, None, begin(finished), SHORT, tmp_path, seed=0)
    assert material.held_out is not None
    flat = material.held_out.examples(range(material.held_out.lengths().size), np.random.default_rng(0))
    batch = flat.batch(flat.ids)
    mine, theirs = states_of(finished, batch), states_of(teacher, batch)
    rows = json.loads((finished / REPORT).read_text())["rows"]
    for row in rows:
        own, wanted = mine[row["layer"]], theirs[row["teacher_layer"]]
        found = functional.cosine_similarity(own, wanted, dim=-1)
        assert row["cosine"] == pytest.approx(float(found.mean()), abs=1e-5)
        assert row["cosine_low"] == pytest.approx(float(np.quantile(found.numpy(), 0.05)), abs=1e-4)
        cuts = torch.from_numpy(flat.bounds[1:-1])
        texts = [
            float(functional.cosine_similarity(a.mean(0), b.mean(0), dim=0))
            for a, b in zip(torch.tensor_split(own, cuts), torch.tensor_split(wanted, cuts), strict=True)
        ]
        assert row["text_cosine"] == pytest.approx(float(np.mean(texts)), abs=1e-5)


def test_two_runs_are_equal_and_one_that_was_ended_goes_on(teacher: Path, finished: Path, tmp_path: Path) -> None:
    from tests.train.small import Noting

    assert not run(teacher, tmp_path / "m", watcher=Noting(stop_after=9)).is_finished
    assert run(teacher, tmp_path / "m").is_finished
    for name in ("model.safetensors", REPORT):
        assert (tmp_path / "m" / name).read_bytes() == (finished / name).read_bytes()


def test_the_student_is_read_by_transformers(finished: Path) -> None:
    theirs, text = load_oracle(finished), "The river bank."
    found = lamina.load(finished, engine="reference").extract([text], unit="token")
    for k, state in enumerate(theirs.states(theirs.ids(text))):
        assert relative_error(found.layer(k), state) < 1e-5


def test_a_sentence_model_stays_one(tmp_path: Path) -> None:
    """The bundled model, whose recipe of pooling and scaling its student keeps."""
    settings = Settings(steps=1, batch_size=2, precision="float32", device="cpu")
    distil("minilm", DOCUMENTS[:4], out=tmp_path / "m", layers=(1, 6), reading=SHORT, settings=settings)
    emb = lamina.load(tmp_path / "m").extract(["one text"], pool="model")
    assert np.linalg.norm(emb.layer(-1)) == pytest.approx(1, abs=1e-5)
    assert emb.layers == (2,)
    assert json.loads((tmp_path / "m" / "training.json").read_text())["teacher_name"] == "minilm"


@pytest.fixture(scope="module")
def probed(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probed")
    rng = np.random.default_rng(0)
    rows = [{"text": " ".join(rng.permutation(["the", "river", "bank", "a", "b", "c"])[:3])} for _ in range(40)]
    text = "".join(json.dumps({**row, "side": "wet" if "river" in row["text"] else "dry"}) + "\n" for row in rows)
    (folder / "task.jsonl").write_text(text)
    task = Probed("side", Source(str(folder / "task.jsonl"), keep=("side",)), label="side")
    run(teacher, folder / "m", probes=[task])
    return folder / "m"


def test_probes_find_what_both_know(probed: Path) -> None:
    document = json.loads((probed / REPORT).read_text())
    assert [row["layer"] for row in document["teacher_rows"]] == list(range(7))
    for row in (*document["rows"], *document["teacher_rows"]):
        assert 0.5 <= row["probes"]["side"]["score"] <= 1
    assert document["rows"][0]["probes_before"] == document["teacher_rows"][0]["probes"]  # the same embeddings
    steps = {json.loads(line)["step"] for line in (probed / "probes.jsonl").read_text().splitlines()}
    assert steps == {0, 25}


def test_the_comparison_is_drawn_and_tabled(probed: Path, finished: Path, tmp_path: Path) -> None:
    document = json.loads((probed / REPORT).read_text())
    chart = json.loads(chart_json(comparison_chart(document, title="beside")))
    assert len(chart["hconcat"]) == 2
    drawn = chart["hconcat"][1]["data"]["values"]
    assert {v["layer"] for v in drawn if v["who"] == "teacher"} == set(range(7))
    assert {v["layer"] for v in drawn if v["who"] == "student"} == {0, 2, 4, 6}
    tables = tables_of(document)
    assert len(tables) == 2
    assert all(len(columns) == len(row) for columns, rows in tables.values() for row in rows)
    assert tables["side"][1][2][:2] == [2, 4]
    assert tables["side"][1][2][4] == document["teacher_rows"][4]["probes"]["side"]["score"]
    assert len(tables_of(json.loads((finished / REPORT).read_text()))) == 1
    page(document, title="beside", facts={"command": "lamina <train>"}).save(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    assert "lamina &lt;train&gt;" in html


def test_nothing_held_out_and_no_task_leaves_nothing_to_draw(teacher: Path, tmp_path: Path) -> None:
    run(teacher, tmp_path / "m", reading=Reading(max_tokens=32, held_out=0), settings=Settings(steps=1, device="cpu"))
    document = json.loads((tmp_path / "m" / REPORT).read_text())
    assert "cosine" not in document["rows"][0]
    with pytest.raises(SpecError, match="nothing to draw"):
        comparison_chart(document, title="")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layers": 7}, SpecError, "from 1 to 6"),
        ({"layers": (4, 2)}, SpecError, "ascending"),
        ({"layers": (0, 2)}, SpecError, "some of 1 to 6"),
        ({"match": (2, 4)}, SpecError, "match must name 3 layers"),
        ({"match": (2, 4, 9)}, SpecError, "match must name 3 layers"),
        ({"measure": "cubic"}, SpecError, "mse or cosine"),
        ({"logits": -1}, SpecError, "logits"),
        ({"logits": 1.0}, CheckpointError, "masked_lm"),
        ({"reading": Reading(next_sentences=True)}, SpecError, "no next sentences"),
    ],
)
def test_what_cannot_be_is_refused(teacher: Path, tmp_path: Path, options: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        run(teacher, tmp_path / "m", **options)


def test_the_teacher_learns_nothing(teacher: Path, tmp_path: Path) -> None:
    objective = objective_of(teacher, tmp_path, Lessons(match=(2, 6)), (2, 6))
    before = {name: value.clone() for name, value in objective.teacher.state_dict().items()}
    loss = objective.loss(objective.batch([0, 1], np.random.default_rng(0)))
    loss.total.backward()
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())
    assert any(parameter.grad is not None for parameter in objective.module.parameters())
    assert all(torch.equal(before[name], value) for name, value in objective.teacher.state_dict().items())
    assert isinstance(begin(teacher), Start)
