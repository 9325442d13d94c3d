"""The whole of it: from Python and from the command line, what is recorded, what is refused, and the real MiniLM."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lamina
from lamina.compress.smaller import compress
from lamina.compress.texts import LONGEST, MAX_CHARACTERS, texts_of
from lamina.errors import SpecError
from lamina.extraction.extractor import Extractor
from tests.cli.conftest import Cli, cli
from tests.compress.conftest import SAMPLE, Checkpoints
from tests.parity.test_published import ranks

__all__ = ["cli"]


def test_all_at_once(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("bert", head="BertForTokenClassification")
    made = compress(folder, tmp_path / "small", layers=2, heads="50%", ffn_rank="50%", precision="int8", sample=SAMPLE)
    kept = ", ".join(str(len(heads)) for heads in made.record["heads"]["kept"])
    assert kept in ("1, 3", "3, 1", "2, 2")
    assert made.what == (
        f"{folder.name} with 2 of 3 layers, {kept.replace('2, 2', '2')} of 4 heads a layer, feed-forward of rank 7, "
        "weights in int8"
    )
    assert len(made.cost.mean) == 3
    assert all(-1 <= worst <= mean <= 1 + 1e-9 for worst, mean in zip(made.cost.worst, made.cost.mean, strict=True))
    assert made.cost.mean[0] > 0.999 > made.cost.mean[2]
    assert made.cost.after.bytes < 0.7 * made.cost.before.bytes
    assert made.cost.after.parameters < made.cost.before.parameters
    assert made.cost.n_texts == 6
    assert [note.split()[0] for note in made.notes] == ["The", "transformers"]
    before, after = (lamina.load(at).extract(SAMPLE) for at in (folder, made.folder))
    for k in range(3):
        x, y = (one.layer(k)[1::2].astype(np.float64) for one in (before, after))
        cosines = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        assert made.cost.worst[k] == pytest.approx(cosines.min(), abs=1e-5)
        assert made.cost.mean[k] == pytest.approx(cosines.mean(), abs=1e-5)


def test_what_was_done_is_recorded(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folder = checkpoint("bert")
    made = compress(folder, tmp_path / "small", heads=2, precision="bfloat16", sample=SAMPLE)
    text = (made.folder / "lamina_compression.json").read_text()
    record = json.loads(text)
    assert record == json.loads(json.dumps(made.record))
    digests = [hashlib.sha256((at / "model.safetensors").read_bytes()).hexdigest() for at in (folder, made.folder)]
    assert record["source"] == {"model": folder.name, "revision": None, "weights_sha256": digests[0]}
    assert record["weights_sha256"] == digests[1]
    assert str(tmp_path) not in text
    assert all(sample not in text for sample in SAMPLE)
    assert record["layers"] == {"kept": 3, "of": 3}
    assert [len(heads) for heads in record["heads"]["kept"]] == [2, 2, 2]
    assert (record["precision"], record["ffn_rank"], record["compatible"]) == ("bfloat16", None, False)
    assert [row["layer"] for row in record["cost"]["rows"]] == [0, 1, 2, 3]


def test_the_same_twice_is_the_same_folder(checkpoint: Checkpoints, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        compress(checkpoint("modernbert"), folder, heads="60%", ffn_rank=6, precision="int8", sample=SAMPLE)
    names = sorted(path.name for path in folders[0].iterdir())
    assert names == sorted(path.name for path in folders[1].iterdir())
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in names)


def test_the_command_prints_the_cost_of_each_layer(checkpoint: Checkpoints, tmp_path: Path, cli: Cli) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("id,review\n" + "".join(f'{k},"{text}"\n' for k, text in enumerate(SAMPLE)))
    arguments = [
        "compress",
        checkpoint("bert"),
        "--layers",
        2,
        "--heads",
        "75%",
        "--sample",
        sample,
        "--text",
        "review",
    ]
    outcome = cli(*arguments, "-o", tmp_path / "table")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[2].split() == ["layer", "mean", "cosine", "worst", "cosine"]
    assert [line.split()[0] for line in lines[3:6]] == ["0", "1", "2"]
    assert "over 6 texts" in outcome.out
    assert "transformers cannot read this form" in outcome.out
    outcome = cli(*arguments, "-o", tmp_path / "json", "--compatible", "--json")
    document = json.loads(outcome.out)
    assert [row["layer"] for row in document["rows"]] == [0, 1, 2]
    assert document["rows"][0]["worst_cosine"] == pytest.approx(1)
    assert document["measured_on"]["texts"] == 6
    assert document["heads"]["of"] == 4
    assert document["before"]["bytes"] > document["after"]["bytes"] > 0
    assert len(document["notes"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to do"),
        (["--precision", "int4"], 2, "precision must be one of float32, float16, bfloat16, int8, not 'int4'"),
        (["--layers", "9"], 2, "layers must be from 1 to 3"),
        (["--heads", "9"], 2, "heads must be from 1 to 4"),
        (["--ffn-rank", "many"], 2, "ffn_rank must be a whole number or a share"),
        (["--layers", "2", "--sample", "no.txt"], 1, "no.txt"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    checkpoint: Checkpoints, tmp_path: Path, cli: Cli, arguments: list[str], code: int, message: str
) -> None:
    outcome = cli("compress", checkpoint("bert"), "-o", tmp_path / "out", *arguments)
    assert outcome.code == code
    assert message in outcome.sentence
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_there(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("compress", "./nothing", "-o", tmp_path / "out", "--layers", 1)
    assert outcome.code == 1
    assert "no folder './nothing'" in outcome.sentence


def test_texts_to_calibrate_on_and_to_measure_on_differ() -> None:
    for texts in (texts_of(None), texts_of(SAMPLE), texts_of([*SAMPLE, *SAMPLE, " ", ""])):
        assert not {*texts.calibration} & {*texts.measured}
        assert len(texts.calibration) == len({*texts.calibration})
    assert texts_of([*SAMPLE, *SAMPLE, " "]) == texts_of(SAMPLE)
    assert texts_of(SAMPLE).sha256 != texts_of(SAMPLE[::-1]).sha256


def test_only_so_much_of_a_sample_is_read() -> None:
    def endless() -> Any:
        k = 0
        while True:
            yield f"{k} " * 5_000
            k += 1

    texts = texts_of(endless())
    together = [*texts.calibration, *texts.measured]
    assert max(map(len, together)) == LONGEST
    assert MAX_CHARACTERS <= sum(map(len, together)) <= MAX_CHARACTERS + LONGEST


@pytest.mark.parametrize("sample", [[], ["one"], ["one", "one", " "], "text"])
def test_a_sample_that_is_none(sample: Any) -> None:
    with pytest.raises(SpecError, match="sample"):
        texts_of(sample)


def test_minilm_in_eight_bits_ranks_sentences_as_before(minilm: Extractor, shared_data: Path, tmp_path: Path) -> None:
    """A tenth of the STS Benchmark's test set; benchmarks/compress.py takes all of it."""
    made = compress("minilm", tmp_path / "small", precision="int8")
    lines = (shared_data / "sts" / "STSB-test.tsv").read_text("utf-8").rstrip("\n").split("\n")
    rows = [line.split("\t") for line in lines[::10]]
    gold = ranks(np.array([float(row[0]) for row in rows]))
    scores = []
    for model in (minilm, lamina.load(made.folder)):
        vectors = model.extract([text for row in rows for text in row[1:3]], layers=-1, normalize=True).layer(6)
        cosines = (vectors[0::2].astype(np.float64) * vectors[1::2]).sum(axis=1)
        scores.append(100 * np.corrcoef(gold, ranks(cosines))[0, 1])
    assert scores[1] == pytest.approx(scores[0], abs=0.33)
    assert min(made.cost.mean) >= 0.995
    assert made.cost.after.bytes <= 0.27 * made.cost.before.bytes
