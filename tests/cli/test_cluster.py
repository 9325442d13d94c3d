"""Proves `lamina cluster` through the front door: a file in, clusters, scores by layer, a page and rows out."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from lamina.cli.main import cli

THEMES = {
    "weather": [
        "It rained all night.",
        "Snow fell on the hills.",
        "The storm blew in from the sea.",
        "Fog hid the valley.",
    ],
    "money": [
        "The bank raised its rates.",
        "She paid the bill in cash.",
        "Shares lost two percent.",
        "He asked for a loan.",
    ],
}


def test_a_file_becomes_clusters(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": text, "theme": theme} for theme, texts in THEMES.items() for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, page = tmp_path / "out.jsonl", tmp_path / "page.html"
    arguments = [
        "cluster",
        str(path),
        "--label",
        "theme",
        "--layers",
        "0,6",
        "--json",
        "--quiet",
        "-o",
        str(out),
        "--report",
        str(page),
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [row["layer"] for row in document["rows"]] == ["0", "6"]
    assert document["rows"][1]["v_measure"] == document["v_measure"] > 0.5
    assert sum(one["size"] for one in document["clusters"]) == 8
    numbers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["text_id"] for row in numbers] == list(range(8))
    assert "By layer" in page.read_text()


def test_a_label_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one text\nanother\n")
    done = CliRunner().invoke(cli, ["cluster", str(path), "--label", "theme", "--quiet"])
    assert done.exit_code != 0
    assert "theme" in str(done.exception)
