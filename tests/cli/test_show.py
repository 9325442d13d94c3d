"""`lamina show` says what a model or a dataset is, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import lamina
from tests.cli.conftest import Cli

MINILM = {
    "model": "minilm", "family": "bert", "layers": 6, "width": 384, "heads": 12, "longest_input": 512,
    "special_tokens": 2, "vocabulary": 30522, "revision": None,
    "weights_sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}  # fmt: skip


def test_a_model_in_json(cli: Cli) -> None:
    outcome = cli("show", "minilm", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert MINILM.items() <= found.items()
    assert found["parameters"] == 22_565_376  # embeddings 11,917,824 and six layers of 1,774,592
    assert Path(found["folder"]).is_dir()
    assert len(found["tokenizer_sha256"]) == 64


def test_a_model_for_people_says_every_fact_on_its_line(cli: Cli) -> None:
    outcome = cli("show", "minilm")
    assert (outcome.code, outcome.err) == (0, "")
    lines = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    shown = {name.strip(): value.strip() for name, value in lines.items()}
    assert (shown["layers"], shown["width"], shown["vocabulary"], shown["revision"]) == ("6", "384", "30,522", "-")
    assert shown["weights sha256"] == MINILM["weights_sha256"]


def test_a_model_folder_is_shown_like_its_model(cli: Cli, model_folder: Path) -> None:
    found = json.loads(cli("show", model_folder, "--json").out)
    assert found["model"] == found["folder"] == str(model_folder)
    assert found["weights_sha256"] == MINILM["weights_sha256"]


def test_a_dataset_in_json(cli: Cli, made: Path) -> None:
    outcome = cli("show", made, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found, manifest = json.loads(outcome.out), lamina.open(made).manifest
    assert (found["texts"], found["rows"], found["tokens"]) == (5, 5, manifest.n_tokens)
    assert found["layers"] == [0, 3, 6]
    assert found["columns"] == ["layer_0", "layer_3", "layer_6"]
    assert (found["spec"], found["statuses"]) == (manifest.spec, {"ok": 5})
    assert found["bytes"] == sum(path.stat().st_size for path in (made / "shards").iterdir())
    assert found["versions"] == manifest.made.versions


def test_a_dataset_for_people_names_what_made_it(cli: Cli, made: Path) -> None:
    outcome = cli("show", made)
    assert (outcome.code, outcome.err) == (0, "")
    for fact in ("minilm", "openvino float32", "0, 3, 6", "layer_0, layer_3, layer_6", "ok 5", "unit=text"):
        assert fact in outcome.out


def test_what_is_neither_is_named(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("show", tmp_path)
    assert outcome.code == 1
    assert str(tmp_path) in outcome.sentence


def test_an_unfinished_dataset_says_so(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a lamp"}\n{"text": "half \\ud83d"}\n')
    assert cli("extract", tmp_path / "in.jsonl", "-o", tmp_path / "d").code == 1
    outcome = cli("show", tmp_path / "d")
    assert outcome.code == 1
    assert "unfinished" in outcome.sentence


def test_a_folder_of_several_datasets_names_them(cli: Cli, tmp_path: Path) -> None:
    lamina.extract_views(["One."], tmp_path / "both", {"texts": lamina.Spec(), "words": lamina.Spec(unit="word")})
    outcome = cli("show", tmp_path / "both")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.endswith("is no dataset: it has no manifest.json; it holds several: texts, words\n")
