"""Jobs through the front door: planned, gone on with, changed, damaged and repaired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lamina
from tests.cli.conftest import TEXTS, Cli
from tests.dataset.making import files_in


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.txt"
    path.write_text("one more\nand another\n")
    return path


def test_the_same_command_again_says_that_all_is_there(cli: Cli, lines: Path, tmp_path: Path) -> None:
    command = ["extract", lines, "-o", tmp_path / "d", "--layers", "0"]
    assert "all of it was there already" not in cli(*command).out
    before = files_in(tmp_path)
    outcome = cli(*command)
    assert (outcome.code, outcome.err) == (0, "")
    assert "all of it was there already" in outcome.out
    assert files_in(tmp_path) == before


def test_texts_and_layers_come_to_a_dataset(cli: Cli, lines: Path, few: Path, tmp_path: Path) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0,1").code == 0
    outcome = cli("extract", few, "-o", tmp_path / "d", "--layers", "0,1", "--append")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"{len(TEXTS) + 2} texts; layers 0, 1," in outcome.out
    (tmp_path / "lines.txt").write_bytes(lines.read_bytes())  # beside the dataset, where it is found again
    outcome = cli("extract", few, "-o", tmp_path / "d", "--layers", "4", "--add")
    assert (outcome.code, outcome.err) == (0, "")
    assert lamina.open(tmp_path / "d").layers == (0, 1, 4)
    assert cli("verify", tmp_path / "d").out == f"{tmp_path / 'd'}: whole\n"


def test_ways_that_exclude_each_other_are_a_mistyped_command(cli: Cli, lines: Path, tmp_path: Path) -> None:
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--append", "--overwrite")
    assert outcome.code == 2
    assert "overwrite and append exclude each other" in outcome.sentence
    assert not (tmp_path / "d").exists()


def test_damage_is_shown_with_its_rows_and_repaired(cli: Cli, lines: Path, tmp_path: Path) -> None:
    assert cli("extract", lines, "-o", tmp_path / "d", "--layers", "0").code == 0
    before = files_in(tmp_path / "d")
    (shard,) = (tmp_path / "d" / "shards").iterdir()
    shard.write_bytes(shard.read_bytes()[:-1])
    outcome = cli("verify", tmp_path / "d")
    assert outcome.code == 1
    assert f"{shard.name}: has " in outcome.out
    assert "(rows 0 to 4)" in outcome.out
    outcome = cli("verify", tmp_path / "d", "--repair")
    assert outcome.code == 1
    assert "lines.txt" in outcome.sentence
    assert "--source FILE" in outcome.sentence
    outcome = cli("verify", tmp_path / "d", "--repair", "--source", lines, "--json")
    assert outcome.code == 0
    said = json.loads(outcome.out)
    assert (said["whole"], [one["name"] for one in said["repaired"]]) == (True, [shard.name])
    assert files_in(tmp_path / "d") == before
    assert cli("verify", tmp_path / "d", "--repair").out == f"{tmp_path / 'd'}: whole\n"


def test_what_belongs_to_repair_alone_is_a_mistyped_command_without_it(cli: Cli, made: Path, lines: Path) -> None:
    for option in (["--source", lines], ["--model", "minilm"]):
        outcome = cli("verify", made, *option)
        assert outcome.code == 2
        assert "go with --repair" in outcome.err


def test_a_plan_is_a_table_and_writes_nothing(cli: Cli, lines: Path, tmp_path: Path) -> None:
    for command in (["plan", lines], ["extract", lines, "-o", tmp_path / "d", "--dry-run"]):
        outcome = cli(*command, "--unit", "word", "--layers", "0..2")
        assert (outcome.code, outcome.err) == (0, "")
        rows = [line.split() for line in outcome.out.splitlines()]
        (heads,) = [row for row in rows if row[:2] == ["unit", "rows"]]
        assert heads[-2:] == ["on", "disk"]
        (row,) = [row for row in rows if row[:1] == ["word"]]
        assert row[1:3] == [
            str(len(lamina.load("minilm", engine="reference").extract(TEXTS, unit="word", layers=0))),
            "3",
        ]
        for said in (f"{len(TEXTS)} texts", "tokens", "memory: about", "time: about"):
            assert said in outcome.out
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_several_tables_as_json(cli: Cli, lines: Path) -> None:
    recipes = ["--recipe", "texts: pool=cls layers=-1", "--recipe", "tokens: unit=token"]
    said = json.loads(cli("plan", lines, *recipes, "--json").out)
    assert [(one["name"], one["n_columns"]) for one in said["tables"]] == [("texts", 1), ("tokens", 7)]
    assert said["n_bytes"] == sum(one["n_bytes"] for one in said["tables"])
    assert said["tables"][1]["n_rows"] == said["rows_a_unit"]["token"] == said["n_tokens"]
    assert said["warning"] is None


def test_a_job_that_will_fill_the_disk_says_so_before_it_begins(
    cli: Cli, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamina.jobs.estimate.MAY_BE_LARGE", 0)
    monkeypatch.setattr("lamina.jobs.estimate.LARGE", 10_000)
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--unit", "token")
    assert outcome.code == 0
    assert outcome.err.startswith("lamina: this takes about 0.0 GB on disk, and ")
    assert "unit=word" in outcome.err
    assert cli("extract", lines, "-o", tmp_path / "quiet", "--unit", "token", "--quiet").err == ""
    assert "Smaller would be" in cli("plan", lines, "--unit", "token").err


def test_a_plan_of_a_broken_file_names_the_row(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n{broken\n')
    outcome = cli("plan", tmp_path / "in.jsonl")
    assert outcome.code == 1
    assert "line 2" in outcome.sentence
    assert cli("plan", tmp_path / "in.jsonl", "--on-error", "mark").code == 0


def test_a_text_beyond_the_longest_allowed_is_an_error_of_its_row(cli: Cli, lines: Path, tmp_path: Path) -> None:
    command = ["extract", lines, "-o", tmp_path / "d", "--layers", "0", "--longest", "40"]
    assert "row 1 has a text of 46 characters, more than 40" in cli(*command).sentence
    outcome = cli(*command, "--on-error", "mark")
    assert outcome.code == 3
    assert lamina.open(tmp_path / "d").units["status"].to_pylist() == ["ok", "error", "ok", "ok", "ok"]


def test_8_bits_are_calibrated_on_the_texts_of_a_file(cli: Cli, lines: Path, few: Path, tmp_path: Path) -> None:
    def manifest(name: str, *options: object) -> dict[str, object]:
        command = ["extract", lines, "-o", tmp_path / name, "--layers", "0,1", "--precision", "int8", "--json"]
        outcome = cli(*command, *options)
        assert outcome.code == 0, outcome.err
        found: dict[str, object] = json.loads(outcome.out)["datasets"][0]["manifest"]["made"]
        return found

    own, built_in = manifest("a", "--calibrate-on", few), manifest("b")
    assert own["calibration_sha256"] != built_in["calibration_sha256"]
    assert (
        "nowhere.txt"
        in cli(
            "extract", lines, "-o", tmp_path / "c", "--precision", "int8", "--calibrate-on", tmp_path / "nowhere.txt"
        ).sentence
    )
