"""The manifest comes back as it was written; one that is damaged, newer or hostile is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamina.dataset.manifest import Input, Shard, read_manifest, write_manifest
from lamina.dataset.reader import open_dataset
from lamina.dataset.sealed import checksum
from lamina.errors import DatasetError
from tests.dataset.making import embeddings, manifest, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "d", [embeddings(3), embeddings(2, first=3)], shard_a_part=True)
    return tmp_path / "d"


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text()) | changes
    del values["checksum"]
    path.write_text(json.dumps({**values, "checksum": checksum(values)}))


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    full = replace(
        manifest(combine="0.5,1,2"),
        made=replace(manifest().made, model="модель/ü", revision="abc"),
        travelled=("stars", 'a "quoted" name', ""),
        n_texts=9,
        n_rows=7,
        n_tokens=40,
        statuses={"ok": 6, "empty": 1},
        shards=(
            Shard("part-00000-0123abcd.parquet", 4, 10, "a", 5, 1),
            Shard("part-123456-0123abcd.parquet", 3, 5, "b", 4),
        ),
        complete=True,
    )
    write_manifest(tmp_path, full)
    assert read_manifest(tmp_path) == full


def test_a_name_that_is_no_utf8_comes_back_from_a_file_that_is(tmp_path: Path) -> None:
    named = replace(manifest(), inputs=(Input(0, "caf\udce9 ü.txt", 1, "a", {}),))
    write_manifest(tmp_path, named)
    assert read_manifest(tmp_path) == named
    assert "caf\\udce9 ü.txt" in (tmp_path / "manifest.json").read_text(encoding="utf-8")


def test_it_is_plain_json_with_its_format_and_version_first(folder: Path) -> None:
    found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert list(found)[:2] == ["format", "format_version"]
    assert (found["format"], found["format_version"], found["complete"]) == ("lamina-dataset", 1, True)


@pytest.mark.parametrize("version", [2, 0, "1", None, 1.5])
def test_an_unknown_version_is_refused_with_its_number(folder: Path, version: object) -> None:
    _edit(folder, format_version=version)
    with pytest.raises(DatasetError, match=f"version {version!r}"):
        open_dataset(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[" * 100_000, b'{"format": 3}'])
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        open_dataset(folder)


def test_a_folder_without_one_is_no_dataset(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DatasetError, match="is no dataset"):
            open_dataset(place)


def test_every_key_is_needed_that_says_what_the_columns_are(folder: Path) -> None:
    original = (folder / "manifest.json").read_text()
    for key in ("spec", "layers", "width", "made", "shards"):
        (folder / "manifest.json").write_text(json.dumps({k: v for k, v in json.loads(original).items() if k != key}))
        with pytest.raises(DatasetError, match="damaged"):
            open_dataset(folder)


WRONG: dict[str, list[object]] = {
    "inputs": [5, None, [], [None], [{}], [{"first_text": 0}]],
    "spec": [5, None, "layers=nonsense", "unit=text colour=red"],
    "layers": [5, ["one"], None],
    "width": ["wide", None, -4],
    "made": [[], None, {"model": "x"}],
    "travelled": [5, None],
    "n_texts": ["5", None],
    "n_rows": ["5", None, 4],
    "statuses": [7, None],
    "shards": [5, None, [None], [{}], ["part-00000-0123abcd.parquet"]],
    "complete": ["no", None],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_value_of_the_wrong_kind_is_refused(folder: Path, key: str, value: object) -> None:
    _edit(folder, **{key: value})
    with pytest.raises(DatasetError):
        open_dataset(folder)


def test_an_unknown_key_is_refused(folder: Path) -> None:
    _edit(folder, surprise=1)
    with pytest.raises(DatasetError, match="surprise"):
        open_dataset(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../../secret.parquet",
        "/etc/part-00000-0123abcd.parquet",
        "a/part-00000-0123abcd.parquet",
        "..\\part-00000-0123abcd.parquet",
        "part-00000-0123abcd.parquet\n",
        "part-00000-0123abcd.parquet\0",
        "part-٠٠٠٠٠-0123abcd.parquet",
        "part-1-0123abcd.parquet",
        "",
        7,
    ],
)
def test_a_shard_cannot_point_out_of_its_folder(folder: Path, name: object) -> None:
    shards = json.loads((folder / "manifest.json").read_text())["shards"]
    _edit(folder, shards=[shards[0] | {"name": name}, shards[1]])
    with pytest.raises(DatasetError, match="damaged"):
        open_dataset(folder)


def test_rows_that_do_not_add_up_are_refused(folder: Path) -> None:
    _edit(folder, n_rows=6)
    with pytest.raises(DatasetError, match="6 rows, but 5"):
        open_dataset(folder)


def test_an_unfinished_dataset_is_refused_with_what_to_do(folder: Path) -> None:
    _edit(folder, complete=False)
    with pytest.raises(DatasetError, match=r"unfinished.*run the same job"):
        open_dataset(folder)
