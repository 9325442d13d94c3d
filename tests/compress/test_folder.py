"""A smaller model's folder: there whole or not at all, never in the place of what somebody else made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lamina.compress import smaller
from lamina.compress.folder import RECORD, check_place, whole_folder
from lamina.compress.smaller import compress
from lamina.errors import CheckpointError
from tests.compress.conftest import SAMPLE, Checkpoints


def test_after_an_error_nothing_is_left(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        assert len(list(tmp_path.iterdir())) == 1  # it is being written, under another name
        raise KeyboardInterrupt

    monkeypatch.setattr(smaller, "cost_of", fails)
    with pytest.raises(KeyboardInterrupt):
        compress(checkpoint("bert"), tmp_path / "out", layers=1)
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_until_the_new_one_is_whole(
    checkpoint: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "models" / "small"  # the folders above are made
    compress(checkpoint("bert"), out, layers=1, sample=SAMPLE)
    before = (out / "config.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"holds a model already.*--overwrite"):
        compress(checkpoint("bert"), out, layers=2, sample=SAMPLE)
    with monkeypatch.context() as patched:
        patched.setattr(smaller, "write_json", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            compress(checkpoint("bert"), out, layers=2, sample=SAMPLE, overwrite=True)
    assert (out / "config.json").read_bytes() == before
    compress(checkpoint("bert"), out, layers=2, sample=SAMPLE, overwrite=True)
    assert json.loads((out / "config.json").read_text())["num_hidden_layers"] == 2
    assert [path.name for path in out.parent.iterdir()] == ["small"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    check_place(tmp_path / "out", tmp_path / "model", overwrite=False)
    with whole_folder(tmp_path / "out", overwrite=False) as folder:
        (folder / "file").write_text("x")
    assert (tmp_path / "out" / "file").read_text() == "x"


def test_what_lamina_did_not_make_is_never_replaced(checkpoint: Checkpoints, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    file = tmp_path / "file"
    file.write_text("x")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    for out in (mine, file, dangling):
        with pytest.raises(CheckpointError, match="lamina compress has not made it"):
            compress(checkpoint("bert"), out, layers=1, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "x"


def test_the_model_itself_is_never_replaced(checkpoint: Checkpoints, tmp_path: Path) -> None:
    model = Path(shutil.copytree(checkpoint("bert"), tmp_path / "models" / "bert"))
    (model / RECORD).write_text("{}")
    (model.parent / RECORD).write_text("{}")
    link = tmp_path / "link"
    link.symlink_to(model)
    for out in (model, model.parent, link, model / ".." / "bert"):
        with pytest.raises(CheckpointError, match="holds the model that is to be compressed"):
            compress(model, out, layers=1, overwrite=True)


def test_who_comes_second_does_not_replace_who_was_faster(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError, match="out"), whole_folder(out, overwrite=False) as folder:  # noqa: PT012
        (folder / "slow").write_text("x")
        with whole_folder(out, overwrite=False) as other:
            (other / "fast").write_text("x")
    assert [path.name for path in out.iterdir()] == ["fast"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_out_of_the_model_is_not_copied(checkpoint: Checkpoints, tmp_path: Path) -> None:
    model = Path(shutil.copytree(checkpoint("bert"), tmp_path / "model"))
    secret = tmp_path / "secret"
    secret.write_text("x")
    (model / "LICENSE").symlink_to(secret)
    with pytest.raises(CheckpointError, match="a link out of"):
        compress(model, tmp_path / "out", layers=1, sample=SAMPLE)
    assert not (tmp_path / "out").exists()
