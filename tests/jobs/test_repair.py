"""Repair: the damaged shards are made again, equal to the bit, or nothing is put in place; nothing else is touched."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import lamina
from lamina.dataset.verify import verify
from lamina.errors import DatasetError
from lamina.extraction.extractor import Extractor
from lamina.extraction.loading import load
from lamina.jobs.local import run
from lamina.jobs.repair import repair
from lamina.text.source import Source
from tests.dataset.making import files_in
from tests.samples import SCRIPTS

TEXTS = [*SCRIPTS.values(), "", "rain " * 60, "rain " * 60]
SPECS = {
    "texts": lamina.Spec(layers="0,1"),
    "tokens": lamina.Spec(unit="token", layers="1", dtype="float32"),
    "rare": lamina.Spec(unit="word", pool="idf"),
}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": text, "n": i}) + "\n" for i, text in enumerate(TEXTS)))
    return Source(str(path))


@pytest.fixture
def made(tiny: Extractor, source: Source, tmp_path: Path) -> Path:
    run(source, tmp_path / "d", tiny, SPECS, shard_bytes=300)
    return tmp_path / "d"


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "shards").iterdir())


@pytest.mark.parametrize("name", SPECS)
def test_every_damaged_shard_is_made_again_and_no_other_is_written(tiny: Extractor, made: Path, name: str) -> None:
    folder = made / name
    before = files_in(folder)
    paths = shards(folder)
    assert len(paths) > 4
    paths[0].unlink()
    paths[2].write_bytes(paths[2].read_bytes()[:-7])
    content = bytearray(paths[-1].read_bytes())
    content[len(content) // 2] ^= 1
    paths[-1].write_bytes(content)
    whole = {path: path.stat().st_mtime_ns for path in shards(folder) if path not in (paths[2], paths[-1])}
    assert len(verify(folder)) == 3
    assert repair(folder, model=tiny) == []
    assert files_in(folder) == before
    assert {path: path.stat().st_mtime_ns for path in whole} == whole


def test_any_shard_alone_even_one_within_a_text(tiny: Extractor, made: Path) -> None:
    folder = made / "tokens"
    before = files_in(folder)
    assert any(shard.n_open for shard in lamina.open(folder).manifest.shards)
    for path in random.Random(0).sample(shards(folder), 8):
        path.write_bytes(b"")
        assert repair(folder, model=tiny) == []
        assert files_in(folder) == before


def test_the_counts_of_idf_are_made_again_too(tiny: Extractor, made: Path) -> None:
    folder = made / "rare"
    before = files_in(folder)
    (folder / "idf.npy").write_bytes(b"\x93NUMPY")
    shards(folder)[1].unlink()
    assert [finding.name for finding in verify(folder)][-1] == "idf.npy"
    assert repair(folder, model=tiny) == []
    assert files_in(folder) == before


def test_all_shards_and_their_folder_may_be_gone(tiny: Extractor, made: Path) -> None:
    folder = made / "texts"
    before = files_in(folder)
    for path in shards(folder):
        path.unlink()
    (folder / "shards").rmdir()
    assert repair(folder, model=tiny) == []
    assert files_in(folder) == before


def test_what_was_appended_is_repaired_from_its_own_input(tiny: Extractor, source: Source, tmp_path: Path) -> None:
    spec = {"": SPECS["texts"]}
    second = tmp_path / "elsewhere" / "second.jsonl"
    second.parent.mkdir()
    second.write_text("".join(json.dumps({"text": f"more {i}", "n": i}) + "\n" for i in range(9)))
    run(source, tmp_path / "d", tiny, spec, shard_bytes=100)
    run(Source(str(second)), tmp_path / "d", tiny, spec, append=True, shard_bytes=100)
    before = files_in(tmp_path / "d")
    shards(tmp_path / "d")[-2].unlink()
    Path(source.path).unlink()  # not needed for that one
    with pytest.raises(DatasetError, match=r"second\.jsonl .* is not here, nor beside .* --source FILE"):
        repair(tmp_path / "d", model=tiny)
    assert repair(tmp_path / "d", sources=[second], model=tiny) == []
    assert files_in(tmp_path / "d") == before


def test_a_renamed_input_is_known_by_its_bytes(tiny: Extractor, made: Path, source: Source, tmp_path: Path) -> None:
    shards(made / "texts")[1].unlink()
    moved = Path(source.path).rename(tmp_path / "another name")
    assert repair(made / "texts", sources=[moved], model=tiny) == []


@pytest.mark.parametrize("given", [True, False])
def test_a_changed_input_repairs_nothing(tiny: Extractor, made: Path, source: Source, given: bool) -> None:
    shards(made / "texts")[1].unlink()
    before = files_in(made)
    path = Path(source.path)
    path.write_text(path.read_text().replace("rain", "snow"))
    with pytest.raises(DatasetError, match=r"in\.jsonl .* is not here, .*as it was then"):
        repair(made / "texts", sources=[path] if given else [], model=tiny)
    assert files_in(made) == before


def test_another_model_repairs_nothing(deep: Extractor, made: Path) -> None:
    shards(made / "texts")[1].unlink()
    with pytest.raises(DatasetError, match=r"other numbers \(.*weights_sha256 was"):
        repair(made / "texts", model=deep)


def test_other_bits_are_not_put_in_place(tiny: Extractor, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shards(made / "texts")[1]
    path.write_bytes(path.read_bytes()[:-1])
    before = files_in(made)
    real = Extractor.stream_rows

    def off_by_a_little(self: Extractor, *arguments: object, **options: object) -> object:
        for part in real(self, *arguments, **options):  # type: ignore[arg-type]
            for embeddings in part.values():
                for matrix in embeddings.columns.values():
                    matrix += 0.01  # type: ignore[misc]
            yield part

    monkeypatch.setattr(Extractor, "stream_rows", off_by_a_little)
    with pytest.raises(DatasetError, match=r"gives other bits on this machine .*it stays as it was"):
        repair(made / "texts", model=tiny)
    assert files_in(made) == before


def test_somebody_elses_files_stay_and_litter_of_ours_goes(tiny: Extractor, made: Path) -> None:
    folder = made / "texts" / "shards"
    (folder / "notes.txt").write_text("mine")
    (folder / "part-00099-01234567.parquet").write_bytes(b"litter")
    (folder / ".part-00001-01234567.parquet.partial").write_bytes(b"litter")
    assert [finding.name for finding in repair(made / "texts", model=tiny)] == ["notes.txt"]
    assert (folder / "notes.txt").read_text() == "mine"
    assert not list(folder.glob("*01234567*"))


def test_an_unfinished_dataset_is_repaired_as_far_as_it_goes(tiny: Extractor, source: Source, tmp_path: Path) -> None:
    def stops(_: object) -> None:
        if (tmp_path / "d" / "shards").is_dir() and len(shards(tmp_path / "d")) > 2:
            raise KeyboardInterrupt

    spec = {"": SPECS["texts"]}
    with pytest.MonkeyPatch.context() as small:
        small.setattr("lamina.extraction.regroup.MAX_TEXTS", 4)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "d", tiny, spec, shard_bytes=100, batch_tokens=1, on_batch=stops)
    shards(tmp_path / "d")[0].unlink()
    with pytest.raises(DatasetError, match=r"missing or cut short.*lamina verify .* --repair"):
        run(source, tmp_path / "d", tiny, spec, shard_bytes=100)
    assert [finding.name for finding in repair(tmp_path / "d", model=tiny)] == ["manifest.json"]  # it is unfinished
    run(source, tmp_path / "d", tiny, spec, shard_bytes=100)
    run(source, tmp_path / "whole", tiny, spec, shard_bytes=100)
    assert files_in(tmp_path / "d") == files_in(tmp_path / "whole")


def test_the_model_is_loaded_by_its_name_where_none_is_given(tiny_bert: Path, source: Source, tmp_path: Path) -> None:
    run(source, tmp_path / "d", load(tiny_bert), {"": SPECS["texts"]}, shard_bytes=300)
    shards(tmp_path / "d")[1].unlink()
    assert repair(tmp_path / "d") == []


def test_marked_rows_are_made_again_as_they_were(tiny: Extractor, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a door"}\n{"text": 7}\n{"text": "a key"}\n{broken\n{"text": "a lock"}\n')
    run(Source(str(path)), tmp_path / "d", tiny, {"": SPECS["texts"]}, shard_bytes=1, on_error="mark")
    before = files_in(tmp_path / "d")
    for shard in shards(tmp_path / "d"):
        shard.unlink()
    assert repair(tmp_path / "d", model=tiny) == []
    assert files_in(tmp_path / "d") == before
