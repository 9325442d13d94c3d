"""Proves that a hub model is found in the hub's own cache, offline, by name and revision, and nothing else is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.errors import CheckpointError
from lamina.model.checkpoint import HUB_FILES, find_checkpoint

COMMIT, OLDER = "0123456789abcdef0123456789abcdef01234567", "89abcdef" * 5


@pytest.fixture
def cache(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as huggingface_hub lays it out: blobs, snapshots that link to them, and refs; the hub is out of reach."""
    from huggingface_hub import constants

    model = tmp_path / "hub" / "models--someone--tiny-bert"
    (model / "blobs").mkdir(parents=True)
    (model / "refs").mkdir()
    for commit in (COMMIT, OLDER):
        snapshot = model / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for number, file in enumerate(sorted(tiny_bert.iterdir())):
            blob = model / "blobs" / f"{number:040x}"
            blob.write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    (model / "refs" / "main").write_text(COMMIT)
    (model / "refs" / "v1").write_text(OLDER)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_a_hub_model_is_found_in_the_cache(cache: Path, tiny_bert: Path) -> None:
    found = find_checkpoint("someone/tiny-bert")
    assert (found.name, found.revision) == ("someone/tiny-bert", COMMIT)
    assert found.folder == cache / "models--someone--tiny-bert" / "snapshots" / COMMIT
    assert found.weights_sha256() == find_checkpoint(tiny_bert).weights_sha256()


@pytest.mark.parametrize(("revision", "commit"), [("main", COMMIT), ("v1", OLDER), (OLDER, OLDER)])
def test_a_revision_is_a_branch_a_tag_or_a_commit(cache: Path, revision: str, commit: str) -> None:
    assert find_checkpoint("someone/tiny-bert", revision=revision).revision == commit


@pytest.mark.parametrize("revision", ["v2", "f" * 40])
def test_a_revision_that_is_not_there_is_named(cache: Path, revision: str) -> None:
    with pytest.raises(CheckpointError, match=f"'someone/tiny-bert' at revision '{revision}' could not be had"):
        find_checkpoint("someone/tiny-bert", revision=revision)


@pytest.mark.parametrize("name", ["someone/other", "no-such-model", "bert..base", "a--b/c"])
def test_an_unknown_name_says_all_places_that_were_looked_at(cache: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=rf"no folder '{name}', no bundled model .*\(minilm\), and the hub's"):
        find_checkpoint(name)


def test_a_snapshot_without_safetensors_is_refused_with_its_revision(cache: Path) -> None:
    snapshot = cache / "models--someone--tiny-bert" / "snapshots" / COMMIT
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=rf"at revision {COMMIT} .* no safetensors"):
        find_checkpoint("someone/tiny-bert").weight_files()


def test_neither_code_nor_pickles_are_ever_asked_of_the_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, object] = {}

    def note(name: str, **options: object) -> str:
        asked.update(options)
        return str(cache / "models--someone--tiny-bert" / "snapshots" / COMMIT)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", note)
    find_checkpoint("someone/tiny-bert")
    assert asked["allow_patterns"] == HUB_FILES
    assert not any(pattern.endswith((".bin", ".py", ".pt", ".h5", "*")) for pattern in HUB_FILES)


def test_a_process_with_hf_home_finds_the_model_and_computes(cache: Path) -> None:
    code = "import lamina; print(lamina.load('someone/tiny-bert').extract(['the river']).layer(1).shape)"
    environment = os.environ | {"HF_HOME": str(cache.parent), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 8)", done.stderr
