"""Which folders a dataset may take: new, empty, or its own. Everything else is refused and left as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lamina.errors import DatasetError
from tests.dataset.making import embeddings, files_in, write


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of a dataset of three shards."""
    write(tmp_path / "d", [embeddings(2, first=2 * i) for i in range(3)], shard_a_part=True)
    return tmp_path / "d"


def test_a_folder_that_is_new_nested_or_empty_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new", tmp_path / "a" / "b" / "c", tmp_path / "empty"):
        assert len(write(folder, [embeddings(2)])) == 2


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "shards/part-00000.parquet"])
def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / "d" / name).parent.mkdir(parents=True)
    (tmp_path / "d" / name).write_text("mine")
    before = files_in(tmp_path)
    with pytest.raises(DatasetError, match="other files"):
        write(tmp_path / "d", [embeddings(2)], overwrite=overwrite)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ['{"name": "a web app", "icons": []}', '{"format": "other", "shards": []}', "[]"])
def test_somebody_elses_manifest_is_refused_and_untouched(tmp_path: Path, content: str, overwrite: bool) -> None:
    for name in ("manifest.json", "index.html", "shards/keep.bin"):
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(content)
    before = files_in(tmp_path)
    with pytest.raises(DatasetError):
        write(tmp_path / "site", [embeddings(2)], overwrite=overwrite)
    assert files_in(tmp_path) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(DatasetError, match="is a file"):
            write(tmp_path / "d", [embeddings(2)], overwrite=overwrite)
    assert (tmp_path / "d").read_text() == "mine"


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("mine")
    with pytest.raises(DatasetError, match="cannot be made"):
        write(tmp_path / "d" / "below", [embeddings(2)])


def test_a_dataset_is_refused_without_overwrite_and_untouched(old: Path) -> None:
    before = files_in(old)
    with pytest.raises(DatasetError, match="overwrite"):
        write(old, [embeddings(1)])
    assert files_in(old) == before


def test_overwriting_replaces_the_dataset_and_leaves_no_old_shard(old: Path) -> None:
    dataset = write(old, [embeddings(1, seed=9)], overwrite=True)
    assert sorted(files_in(old)) == ["manifest.json", f"shards/{dataset.manifest.shards[0].name}"]
    assert len(dataset) == 1


def test_overwriting_leaves_what_is_not_the_datasets(old: Path) -> None:
    (old / "notes.txt").write_text("mine")
    write(old, [embeddings(1)], overwrite=True)
    assert (old / "notes.txt").read_text() == "mine"


def test_overwriting_where_shards_is_a_link_leaves_no_old_shard(old: Path, tmp_path: Path) -> None:
    shutil.move(old / "shards", tmp_path / "larger_disk")
    (old / "shards").symlink_to(tmp_path / "larger_disk")
    write(old, [embeddings(1)], overwrite=True)
    assert pq.read_table(old / "shards").num_rows == 1


def test_an_overwrite_interrupted_while_it_clears_can_be_run_again(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(old, [embeddings(1)], overwrite=True)
    assert len(write(old, [embeddings(1)], overwrite=True)) == 1


def test_an_unfinished_dataset_without_shards_needs_no_overwrite(tmp_path: Path) -> None:
    def nothing() -> object:
        raise RuntimeError
        yield

    with pytest.raises(RuntimeError):
        write(tmp_path / "d", nothing())  # type: ignore[arg-type]
    assert len(write(tmp_path / "d", [embeddings(2)])) == 2
