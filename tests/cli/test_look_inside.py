"""The verbs that look inside, through the front door: what map, attention, lens and trace print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import lamina
from lamina.extraction.extractor import Extractor
from tests.checkpoints import DEEP, save_vocabulary
from tests.cli.conftest import TEXTS, Cli

SENSES = Path(__file__).parents[2] / "examples" / "senses.csv"


@pytest.fixture(scope="module")
def senses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentences of two words, 40 of them."""
    lines = SENSES.read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path_factory.mktemp("senses") / "senses.csv"
    path.write_text("".join(line for line in lines if line.startswith(("id", "bank", "mouse"))), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with a masked-language-model head."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from tests.checkpoints import VOCABULARY

    torch.manual_seed(0)
    config = DEEP | {"num_hidden_layers": 2, "vocab_size": len(VOCABULARY), "max_position_embeddings": 64}
    folder = tmp_path_factory.mktemp("masked")
    model = BertForMaskedLM(BertConfig(**config, tie_word_embeddings=False))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_(0, 0.3)
    model.save_pretrained(folder)
    return save_vocabulary(folder)


def document(cli: Cli, *arguments: Any) -> dict[str, Any]:
    outcome = cli(*arguments, "--json", "--quiet")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_a_map_of_a_dataset(cli: Cli, made: Path, tmp_path: Path) -> None:
    page, picture, atlas, projector = (tmp_path / name for name in ("m.html", "m.png", "m.parquet", "projector"))
    found = document(
        cli, "map", made, "--report", page, "--chart", picture, "--atlas", atlas, "--projector", projector
    )  # fmt: skip
    assert [row["layer"] for row in found["rows"]] == ["0", "3", "6"]
    assert set(found["rows"][0]) == {"layer", "variance", "neighbours", "moved"}
    assert (found["points"], found["unusable"], found["thinned"]) == (len(TEXTS), 0, 0)
    assert found["files"][str(page)] == page.stat().st_size
    assert "A lamp was left burning" in page.read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert pq.read_table(atlas)["text"].to_pylist() == TEXTS
    assert np.loadtxt(projector / "layer_3.tsv").shape == (len(TEXTS), 384)


def test_a_map_of_words_in_their_sentences(cli: Cli, senses: Path, tmp_path: Path) -> None:
    words = (
        "--unit",
        "word",
        "--where",
        "surface==bank",
        "--colour",
        "sense",
        "--layers",
        "1,4",
        "--layers",
        "mean:1,4",
    )
    outcome = cli("map", senses, *words, "--report", tmp_path / "m.html", "--quiet")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["layer", "1", "4", "mean:1,4"]
    assert f"{tmp_path / 'm.html'}: 0.0 MB" in outcome.err
    data = (tmp_path / "m.html").read_text(encoding="utf-8").split('id="map-data">')[1].split("</script>")[0]
    page = json.loads(data)
    assert page["columns"][0]["names"] == ["money", "river"]
    of, start, end = page["within"][:3]
    assert page["texts"][of][start:end].casefold() == "bank"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--method", "mds"), "pca, tsne, umap"),
        (("--colour", "mood"), "no column 'mood'"),
        (("--layers", "9"), "layer 9"),
        (("--where", "mood==bad"), "no column 'mood'"),
        (("--where", "surface==nothing"), "3 units with a vector"),
        (("--chart", "map.gif"), "map.gif"),
    ],
)
def test_a_map_that_cannot_be_drawn_is_one_sentence(
    cli: Cli, made: Path, tmp_path: Path, options: tuple[str, str], reason: str
) -> None:
    outcome = cli("map", made, *options, "--report", tmp_path / "m.html")
    assert outcome.code == 2
    assert reason in outcome.sentence


def test_attention_of_texts(cli: Cli, tmp_path: Path, minilm: Extractor) -> None:
    text = "The river burst its bank."
    found = document(cli, "attention", text, "--layers", "2,5", "--heads", "0,7", "--report", tmp_path / "a.html")
    assert [row["layer"] for row in found["rows"]] == [2, 5]
    assert [(head["layer"], head["head"]) for head in found["heads"]] == [(2, 0), (2, 7), (5, 0), (5, 7)]
    (weights,) = minilm.attention([text], layers=[2, 5], heads=[0, 7], unit="word")
    looking = weights.weights[:, :, 1:-1]  # words, not [CLS] and [SEP]
    assert found["heads"][1]["cls"] == pytest.approx(float(looking[0, 1, :, 0].mean()), abs=1e-5)
    assert "<title>Attention</title>" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_attention_of_a_file(cli: Cli, senses: Path, tmp_path: Path) -> None:
    found = document(cli, "attention", senses, "--layers", "1", "--chart", tmp_path / "heads.svg", "--show", 2)
    assert found["texts"] == 40
    assert len(found["heads"]) == 12
    assert (tmp_path / "heads.svg").is_file()


def test_what_does_not_fit_a_window_is_refused_or_counted(cli: Cli, tmp_path: Path) -> None:
    long = "the river " * 400
    assert "one window" in cli("attention", "short", long).sentence
    path = tmp_path / "texts.txt"
    path.write_text(f"A short one.\n{long}\n", encoding="utf-8")
    outcome = cli("attention", path, "--layers", "1", "--json")
    assert json.loads(outcome.out)["texts"] == 1
    assert "1 texts left out" in outcome.err


@pytest.mark.parametrize("verb", [("attention",), ("trace", "--word", "bank"), ("keywords", "--k", "2")])
def test_a_text_longer_than_a_name_can_be_is_a_text(cli: Cli, verb: tuple[str, ...]) -> None:
    text = "The bank was shut, and the river ran on past the other bank. " * 6
    outcome = cli(verb[0], text, *verb[1:], "--quiet")
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("verb", ["attention", "lens", "trace"])
def test_no_text_is_no_command(cli: Cli, verb: str) -> None:
    outcome = cli(verb)
    assert outcome.code == 2
    assert "Usage" in outcome.err


def test_a_head_that_is_no_number(cli: Cli) -> None:
    assert cli("attention", "a", "--heads", "first").code == 2
    assert "head 12 does not exist" in cli("attention", "a", "--heads", "12").sentence


def test_a_lens_needs_a_head_and_says_which_model_has_one(cli: Cli) -> None:
    outcome = cli("lens", "The river burst its [MASK].")
    assert outcome.code == 1
    assert "minilm carries no masked-language-model head" in outcome.sentence
    assert "--model bert-base-uncased" in outcome.sentence


def test_a_lens_of_every_token(cli: Cli, masked: Path, tmp_path: Path) -> None:
    text = "the river bank."
    found = document(cli, "lens", text, "--model", masked, "--report", tmp_path / "l.html", "--k", 3)
    assert [row["layer"] for row in found["rows"]] == [0, 1, 2]
    (tokens,) = found["texts"]
    assert [token["token"] for token in tokens] == ["[CLS]", "the", "river", "bank", ".", "[SEP]"]
    head = lamina.load(masked).head("masked_lm")
    for layer in range(3):
        top = head.top([text], k=3, layer=layer, at="all").to_pylist()
        for t, token in enumerate(tokens):
            cell = token["layers"][layer]
            expected = top[3 * t : 3 * t + 3]
            assert [one["token"] for one in cell["candidates"]] == [row["candidate"] for row in expected]
            for one, row in zip(cell["candidates"], expected, strict=True):
                assert one["probability"] == pytest.approx(row["probability"], rel=1e-4)
    assert "<bdi>river</bdi>" in (tmp_path / "l.html").read_text(encoding="utf-8")


def test_a_lens_at_the_mask_with_what_is_expected(cli: Cli, masked: Path) -> None:
    text = "the [MASK] bank."
    found = document(cli, "lens", text, "--model", masked, "--at", "mask", "--expect", "river")
    ((token,),) = found["texts"]
    logits = lamina.load(masked).head("masked_lm").logits([text]).values[2]
    river = lamina.load(masked).tokenizer.backend.token_to_id("river")
    assert token["layers"][2]["rank"] == 1 + int((logits > logits[river]).sum())
    unknown = document(cli, "lens", text, "--model", masked, "--at", "mask")
    assert unknown["rows"][0]["right"] is None
    assert 0 < unknown["rows"][0]["confidence"] <= 1
    assert "2 tokens" in cli("lens", text, "--model", masked, "--expect", "rivers").sentence


def test_a_lens_with_each_token_masked_in_turn(cli: Cli, masked: Path) -> None:
    found = document(cli, "lens", "the river bank.", "--model", masked, "--at", "each", "--layers", "2")
    (tokens,) = found["texts"]
    assert [token["token"] for token in tokens] == ["the", "river", "bank", "."]
    head = lamina.load(masked).head("masked_lm")
    masks = ["[MASK] river bank.", "the [MASK] bank.", "the river [MASK].", "the river bank[MASK]"]
    for token, text in zip(tokens, masks, strict=True):
        (row,) = head.top([text], k=1).to_pylist()
        assert token["layers"][0]["candidates"][0]["token"] == row["candidate"]
    assert found["rows"][0]["tokens"] == 4


def test_a_trace_of_senses(cli: Cli, senses: Path, tmp_path: Path) -> None:
    found = document(
        cli, "trace", senses, "--word-from", "word", "--groups", "sense", "--report", tmp_path / "t.html",
        "--chart", tmp_path / "t.svg",
    )  # fmt: skip
    assert set(found["words"]) == {"bank", "mouse"}
    assert found["words"]["bank"]["uses"] == 20
    rows = found["rows"]
    assert [row["layer"] for row in rows] == list("0123456")
    assert rows[4]["auc"] > rows[0]["auc"] + 0.05  # context tells senses apart, the embedding layer hardly
    page = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert "Deposits made after four" in page
    assert (tmp_path / "t.svg").is_file()


def test_a_trace_of_sentences_on_the_command_line(cli: Cli) -> None:
    outcome = cli("trace", "He sat on the bank.", "The bank was shut.", "--word", "bank", "--layers", "0,6")
    assert outcome.code == 0
    lines = [line.split() for line in outcome.out.splitlines()]
    assert lines[0] == ["layer", "similarity", "anywhere"]
    assert [line[0] for line in lines[1:]] == ["0", "6"]
    model = lamina.load("minilm")
    emb = model.extract(["He sat on the bank.", "The bank was shut."], unit="word", layers=6)
    one, other = emb.layer(6)[[4, 7]]
    assert emb.units["surface"].to_pylist()[4] == emb.units["surface"].to_pylist()[7] == "bank"
    cosine = float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    assert float(lines[2][1]) == pytest.approx(cosine, abs=1e-4)


def test_a_trace_that_cannot_be_followed(cli: Cli, made: Path) -> None:
    assert "extract with --unit word" in cli("trace", made, "--word", "lamp").sentence
    assert "occurs 1 times" in cli("trace", "one bank", "no more", "--word", "bank").sentence
    assert "one of the two" in cli("trace", "one bank", "a bank").sentence
