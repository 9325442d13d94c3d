"""Whatever is wrong with the model: exit code 1, one sentence that names it, and no output folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def _only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04a pickle")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _truncated(folder: Path) -> None:
    with (folder / "model.safetensors").resolve().open("rb") as file:
        start = file.read(1_000_000)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(start)


def _empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(b"")


def _configured(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"')


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": {"type": "WordPiece"')


def _larger_tokenizer(folder: Path) -> None:
    _no_tokenizer(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(30_600))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")


# what is wrong -> how to break a good model, and what the sentence must name
BROKEN: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "only pickled weights": (_only_pickle, ["pytorch_model.bin", "no safetensors"]),
    "no weights": (_no_weights, ["no safetensors", "model.safetensors"]),
    "weights cut short": (_truncated, ["model.safetensors", "cut short"]),
    "empty weights": (_empty_weights, ["model.safetensors"]),
    "more layers than weights": (_configured(num_hidden_layers=7), ["model.safetensors", "missing"]),
    "fewer layers than weights": (_configured(num_hidden_layers=5), ["model.safetensors", "unexpected"]),
    "another width": (_configured(hidden_size=396), ["model.safetensors", "384"]),
    "a width that is no number": (_configured(hidden_size="wide"), ["config.json", "hidden_size", "wide"]),
    "an unknown family": (_configured(model_type="abacus"), ["abacus"]),
    "an unknown activation": (_configured(hidden_act="os.system"), ["config.json", "hidden_act"]),
    "a broken config": (_broken_config, ["config.json"]),
    "no config": (_no_config, ["config.json"]),
    "no tokenizer": (_no_tokenizer, ["tokenizer.json"]),
    "a broken tokenizer": (_broken_tokenizer, ["tokenizer.json"]),
    "a tokenizer of another model": (_larger_tokenizer, ["30,604", "30,522", "vocab.txt"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_named_in_one_sentence(
    cli: Cli, lines: Path, model_folder: Path, tmp_path: Path, case: str
) -> None:
    break_it, named = BROKEN[case]
    break_it(model_folder)
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--model", model_folder)
    assert outcome.code == 1
    for words in [str(model_folder), *named] if case != "an unknown family" else named:
        assert words in outcome.sentence
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("name", ["no/such/folder/here", "../nowhere", "a model"])
def test_a_model_that_is_nowhere_is_named(cli: Cli, lines: Path, tmp_path: Path, name: str) -> None:
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--model", name)
    assert outcome.code == 1
    assert repr(name) in outcome.sentence
    assert not (tmp_path / "d").exists()


def test_a_hub_model_that_cannot_be_had_is_named_with_its_revision(
    cli: Cli, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    outcome = cli("extract", lines, "-o", tmp_path / "d", "--model", "nobody/nothing", "--revision", "v9")
    assert outcome.code == 1
    for words in ("'nobody/nothing'", "'v9'", "minilm"):
        assert words in outcome.sentence


def test_a_revision_of_a_folder_is_refused(cli: Cli, lines: Path, model_folder: Path, tmp_path: Path) -> None:
    for name in ("minilm", str(model_folder)):
        outcome = cli("extract", lines, "-o", tmp_path / "d", "--model", name, "--revision", "main")
        assert outcome.code == 1
        assert name in outcome.sentence
        assert "'main'" in outcome.sentence
