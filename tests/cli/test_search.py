"""`lamina search` through the front door: indexes, queries of every kind, and what is said where they make no sense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lamina.cli.main import run
from lamina.dataset.lock import locked
from tests.cli.conftest import TEXTS, Cli
from tests.cli.test_fit_and_health import change_manifest

SENSES = Path(__file__).parents[2] / "examples" / "senses.csv"


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of the dataset of five texts, to index."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The words of the first sentences of the examples, with their columns."""
    folder = tmp_path_factory.mktemp("words")
    lines = SENSES.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "some.csv").write_text("".join(lines[:40]), encoding="utf-8")
    command = ["extract", str(folder / "some.csv"), "-o", str(folder / "data"), "--unit", "word", "--layers", "0,4"]
    assert run([*command, "--quiet"]) == 0
    return folder / "data"


def rows(cli: Cli, *arguments: object) -> list[dict[str, Any]]:
    outcome = cli("search", *arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(outcome.out)["rows"]
    return found


def test_a_text_finds_itself_at_every_layer(cli: Cli, made: Path) -> None:
    found = rows(cli, "query", made, "--query", TEXTS[3], "--layers", "all", "--k", 2)
    assert [(row["layer"], row["rank"]) for row in found] == [(k, r) for k in ("0", "3", "6") for r in (1, 2)]
    for row in found[::2]:
        assert (row["row"], row["unit"]["surface"]) == (3, TEXTS[3])
        assert row["score"] == pytest.approx(1, abs=1e-5)  # stored in float16


def test_queries_of_a_file_are_as_those_typed(cli: Cli, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    path.write_text("".join(json.dumps({"id": f"q{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS[:3])))
    of_file = rows(cli, "query", made, "--queries", path, "--k", 3)
    typed = rows(cli, "query", made, *(part for text in TEXTS[:3] for part in ("--query", text)), "--k", 3)
    assert [row["query_id"] for row in of_file] == [f"q{i}" for i in range(3) for _ in range(3)]
    assert [{**row, "query_id": None} for row in of_file] == [{**row, "query_id": None} for row in typed]
    alone = rows(cli, "query", made, "--query", TEXTS[1], "--k", 3)
    assert [row["score"] for row in alone] == [row["score"] for row in typed[3:6]]  # to the bit


def test_a_file_is_searched_as_its_dataset_is(cli: Cli, lines: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    options = ("--query", "a light in a corridor", "--k", 3, "--keep", kept, "--quiet")
    of_file = rows(cli, "query", lines, *options)
    assert of_file[0]["unit"]["surface"] == TEXTS[0]
    assert rows(cli, "query", kept, "--query", "a light in a corridor", "--k", 3) == of_file


def test_an_index_is_used_and_made_again_where_the_dataset_has_changed(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    query = ("query", dataset, "--query", TEXTS[0], "--k", 5)
    in_memory = rows(cli, *query)
    outcome = cli("search", "index", dataset)
    assert (outcome.code, outcome.err) == (0, "")
    assert "6.cosine: 5 vectors × 384 float32" in outcome.out
    assert rows(cli, *query) == in_memory
    other = tmp_path / "other"
    (tmp_path / "two.txt").write_text("Only this.\nAnd this.\n")
    assert cli("extract", tmp_path / "two.txt", "-o", other, "--layers", "0,3,6", "--quiet").code == 0
    shutil.copytree(dataset / "indexes", other / "indexes")
    stale = cli("search", "query", other, "--query", "Only this.", "--json")
    assert stale.err.endswith("is of the dataset as it was: indexing it again\n")
    assert [row["unit"]["surface"] for row in json.loads(stale.out)["rows"]] == ["Only this.", "And this."]
    assert cli("search", "query", other, "--query", "Only this.").err == ""


def test_an_index_that_cannot_be_made_again_is_done_without(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    assert cli("search", "index", dataset).code == 0
    other = tmp_path / "other"
    (tmp_path / "two.txt").write_text("Only this.\nAnd this.\n")
    assert cli("extract", tmp_path / "two.txt", "-o", other, "--layers", "0,3,6", "--quiet").code == 0
    shutil.copytree(dataset / "indexes", other / "indexes")
    with locked(other / "indexes" / "6.cosine"):
        outcome = cli("search", "query", other, "--query", "Only this.", "--json")
    assert outcome.err.endswith("searching without it\n")
    assert [row["unit"]["surface"] for row in json.loads(outcome.out)["rows"]] == ["Only this.", "And this."]


@pytest.mark.parametrize(
    "options", [("--unit", "sentence"), ("--pool", "idf"), ("--pool", "model"), ("--combine", "mean")]
)
def test_queries_are_made_as_the_rows_were(cli: Cli, lines: Path, tmp_path: Path, options: tuple[str, str]) -> None:
    data = tmp_path / "data"
    assert cli("extract", lines, "-o", data, *options, "--quiet").code == 0
    found = rows(cli, "query", data, "--query", TEXTS[1], "--k", 1)
    assert (found[0]["unit"]["text_id"], found[0]["score"]) == (1, pytest.approx(1, abs=1e-5))


def test_a_damaged_index_is_one_sentence(cli: Cli, dataset: Path) -> None:
    assert cli("search", "index", dataset).code == 0
    (vectors,) = (dataset / "indexes" / "6.cosine").glob("vectors-*")
    vectors.write_bytes(b"")
    outcome = cli("search", "query", dataset, "--query", "x")
    assert outcome.code == 1
    assert "index the dataset again" in outcome.sentence


def test_usearch_says_how_many_it_finds(cli: Cli, words: Path) -> None:
    outcome = cli("search", "index", words, "--layer", 4, "--method", "usearch", "--json")
    assert outcome.code == 0
    header = json.loads(outcome.out)
    assert header["graph"]["recall"] >= 0.99
    query = ("query", words, "--query", "We sat on the river [bank].", "--layers", 4, "--k", 3)
    assert rows(cli, *query) == rows(cli, *query, "--method", "exact")
    assert "recall@10" in cli("search", "index", words, "--layer", 4).out


def test_through_a_transform(cli: Cli, dataset: Path) -> None:
    assert cli("fit", dataset, "--name", "centred").code == 0
    found = rows(cli, "query", dataset, "--query", TEXTS[2], "--transform", "centred", "--k", 1)
    assert found[0]["row"] == 2
    assert found[0]["score"] == pytest.approx(1, abs=1e-4)
    outcome = cli("search", "query", dataset, "--query", "x", "--transform", "missing")
    assert outcome.code == 2
    assert "it has centred" in outcome.sentence


@pytest.mark.parametrize(
    "asked", [("--query", "We sat on the river [bank]."), ("--query", "We sat on the river bank.", "--word", "bank")]
)
def test_where_is_a_word_used_like_this(cli: Cli, words: Path, asked: tuple[str, ...]) -> None:
    found = rows(cli, "query", words, *asked, "--layers", 4, "--k", 4)
    assert {row["unit"]["surface"] for row in found} == {"bank"}
    assert {row["unit"]["sense"] for row in found} == {"river"}
    assert {row["query"] for row in found} == {"We sat on the river [bank]."}
    for row in found:
        text = row["context"].replace("[bank]", "bank").strip("…")
        assert text in SENSES.read_text(encoding="utf-8").replace('""', '"')
    only = rows(cli, "query", words, *asked, "--where", "surface==bank and sense==money", "--layers", "0,4", "--k", 50)
    assert {(row["unit"]["sense"], row["unit"]["surface"]) for row in only} == {("money", "bank")}


def test_for_people(cli: Cli, words: Path) -> None:
    outcome = cli("search", "query", words, "--query", "We sat on the river [bank].", "--layers", "4", "--k", 2)
    lines = outcome.out.splitlines()
    assert (outcome.code, lines[0].split()) == (0, ["score", "row", "found"])
    assert all("[bank]" in line for line in lines[1:])
    assert "nothing" in cli("search", "query", words, "--query", "bank", "--where", "surface==zzz").out


def test_queries_of_one_id_are_told_apart(cli: Cli, made: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.csv").write_text(f'id,text\nq,"{TEXTS[0]}"\nq,{TEXTS[4]}\n', encoding="utf-8")
    lines = cli("search", "query", made, "--queries", tmp_path / "queries.csv", "--k", 1).out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines if line[:1].isdigit()] == [TEXTS[0], TEXTS[4]]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ((), 2, "--query TEXT or --queries FILE"),
        (("--query", "We sat on the river bank."), 2, "in brackets"),
        (("--query", "the [bank] and the [bank]"), 2, "in brackets"),
        (("--query", "a bank, a bank", "--word", "bank"), 2, "stands 2 times"),
        (("--query", "[bank]", "--where", "sense=>money"), 2, "cannot be read"),
        (("--query", "[bank]", "--where", "stars>3"), 2, "no column 'stars'"),
        (("--query", "[bank]", "--layers", "3"), 2, "layer 3"),
        (("--query", "[bank]", "--metric", "l2"), 2, "cosine, dot"),
        (("--query", "[bank]", "--method", "usearch", "--layers", "0"), 2, "no graph"),
        (("--query", "[bank]", "--method", "usearch", "--where", "surface==bank"), 2, "filtered search is exact"),
        (("--query", "\x00"), 2, "in brackets"),
        (("--queries", "missing.txt"), 1, "missing.txt"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    cli: Cli, words: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    outcome = cli("search", "query", words, *options)
    assert outcome.code == code
    assert said in outcome.err
    assert outcome.out == ""
    assert "bug in Lamina" not in outcome.err


def test_a_query_without_a_token_is_refused(cli: Cli, made: Path) -> None:
    outcome = cli("search", "query", made, "--query", "\x01")
    assert outcome.code == 2
    assert "yields no token" in outcome.sentence


def test_another_model_is_refused(cli: Cli, dataset: Path) -> None:
    change_manifest(dataset, weights_sha256="0" * 64)
    outcome = cli("search", "query", dataset, "--query", "x")
    assert outcome.code == 1
    assert "the weights of 'minilm' are not those that made" in outcome.sentence
    change_manifest(dataset, model="/nowhere/at/all")
    outcome = cli("search", "query", dataset, "--query", "x")
    assert "--model says where" in outcome.sentence


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Documents, queries and judgements."""
    documents = ["The cat sleeps.", "Rates went up at the bank.", "A boat on the river.", "Bread is baked early."]
    queries = [("q1", "an animal is resting", "c"), ("q2", "interest rates", "b"), ("q3", "sailing", "r")]
    ids = "cbrx"
    with (tmp_path / "documents.csv").open("w") as file:
        file.write("id,text\n" + "".join(f"{i},{text}\n" for i, text in zip(ids, documents, strict=True)))
    with (tmp_path / "queries.csv").open("w") as file:
        file.write("id,text,document\n" + "".join(f"{i},{text},{d}\n" for i, text, d in queries))
    (tmp_path / "qrels").write_text("".join(f"{i} 0 {d} 1\n" for i, _, d in queries))
    return tmp_path


def test_eval_by_a_column_and_by_trecs_judgements(cli: Cli, judged: Path) -> None:
    common = ("eval", judged / "documents.csv", "--queries", judged / "queries.csv", "--quiet")
    by_column = rows(cli, *common, "--relevant", "document", "--at", 1, "--at", 3)
    assert by_column == rows(cli, *common, "--qrels", judged / "qrels", "--at", 1, "--at", 3)
    assert [row["layer"] for row in by_column] == list("0123456")
    assert by_column[6] == {"layer": "6", "mrr": 1, "ndcg@1": 1, "ndcg@3": 1, "recall@1": 1, "recall@3": 1}
    assert rows(cli, *common, "--relevant", "document", "--layers", "6", "--at", 50)[0]["recall@50"] == 1


def test_eval_leaves_out_queries_without_a_relevant_document(cli: Cli, judged: Path) -> None:
    with (judged / "queries.csv").open("a") as file:
        file.write("q4,nothing of all this,\n")
    common = ("eval", judged / "documents.csv", "--queries", judged / "queries.csv", "--quiet")
    assert rows(cli, *common, "--relevant", "document") == rows(cli, *common, "--qrels", judged / "qrels")


def test_eval_draws_and_reports(cli: Cli, judged: Path) -> None:
    chart, page = judged / "mrr.svg", judged / "page.html"
    outcome = cli(
        "search", "eval", judged / "documents.csv", "--queries", judged / "queries.csv", "--relevant", "document",
        "--quiet", "--chart", chart, "--report", page,
    )  # fmt: skip
    assert outcome.code == 0
    assert outcome.out.split()[:2] == ["layer", "mrr"]
    assert chart.read_text().startswith("<svg")
    assert "mean reciprocal rank" in page.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--qrels FILE or --relevant COLUMN"),
        (("--qrels", "qrels", "--relevant", "document"), "--qrels FILE or --relevant COLUMN"),
        (("--relevant", "missing"), "no column 'missing'"),
        (("--relevant", "document", "--query-id", "nope"), "no column 'nope'"),
        (("--relevant", "document", "--id", "nope"), "no column 'nope'"),
        (("--qrels", "missing"), "missing cannot be read"),
        (("--relevant", "id"), "no document that was judged is there"),
    ],
)
def test_eval_without_judgements_is_one_sentence(cli: Cli, judged: Path, options: tuple[str, ...], said: str) -> None:
    command = ("search", "eval", judged / "documents.csv", "--queries", judged / "queries.csv", "--quiet")
    outcome = cli(*command, *options)
    assert outcome.code in (1, 2)
    assert said in outcome.err
    assert "bug in Lamina" not in outcome.err
