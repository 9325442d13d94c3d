"""Layers and tables that come to what is there: computed alone, with the result of having asked for all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import lamina
from lamina.dataset.verify import verify
from lamina.engine.batch import Program
from lamina.errors import DatasetError, SpecError
from lamina.extraction.extractor import Extractor
from lamina.extraction.loading import load
from lamina.jobs.local import run
from lamina.text.source import Source
from tests.dataset.making import assert_same_files, files_in
from tests.jobs.conftest import TEXTS

UNITS = ("text", "word", "token")


@pytest.fixture(scope="module")
def model(deep_bert: Path) -> Extractor:
    return load(deep_bert)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS * 3))
    return path


@pytest.fixture
def more(tmp_path: Path) -> Path:
    path = tmp_path / "more.txt"
    path.write_text("one more\nand another one\n")
    return path


@pytest.fixture
def computed(model: Extractor, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The layers of each program that the engine is given."""
    seen: list[tuple[int, ...]] = []
    real = type(model.engine).compiled

    def compiled(self: object, program: Program, **how: int) -> object:
        seen.append(program.layers)
        return real(self, program, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(type(model.engine), "compiled", compiled)
    return seen


def extract(model: Extractor, source: Path, folder: Path, layers: str, **options: object) -> lamina.Dataset:
    specs = {"": lamina.Spec(layers=layers, **{"unit": "word", **options})}  # type: ignore[arg-type]
    return run(Source(str(source)), folder, model, specs, shard_bytes=4000)[""]


def add(model: Extractor, source: Path, folder: Path, layers: str, **options: object) -> lamina.Dataset:
    specs = {"": lamina.Spec(layers=layers, **{"unit": "word", **options})}  # type: ignore[arg-type]
    return run(Source(str(source)), folder, model, specs, add=True, shard_bytes=4000)[""]


@pytest.mark.parametrize("options", [{"unit": unit} for unit in UNITS] + [{"pool": "idf"}, {"dtype": "float32"}])
def test_every_byte_is_that_of_having_asked_for_all(
    model: Extractor, source: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    extract(model, source, tmp_path / "d", "7,0", **options)
    found = add(model, source, tmp_path / "d", "-1,3", **options)
    assert found.layers == (0, 3, 7, 12)
    assert len(found.manifest.shards) > 1
    extract(model, source, tmp_path / "whole", "0,3,7,12", **options)
    assert_same_files(tmp_path / "d", tmp_path / "whole")


def test_only_what_is_missing_is_computed(
    model: Extractor, source: Path, tmp_path: Path, computed: list[tuple[int, ...]]
) -> None:
    extract(model, source, tmp_path / "d", "0..4")
    computed.clear()
    add(model, source, tmp_path / "d", "2..6")
    assert set(computed) == {(5, 6)}
    computed.clear()
    assert add(model, source, tmp_path / "d", "1,6").layers == (0, 1, 2, 3, 4, 5, 6)
    assert computed == []


def test_a_dataset_of_several_inputs_gets_layers_for_all_of_them(
    model: Extractor, source: Path, more: Path, tmp_path: Path
) -> None:
    for folder, layers in ((tmp_path / "d", "0"), (tmp_path / "whole", "0,5")):
        for path, append in ((source, False), (more, True)):
            specs = {"": lamina.Spec(layers=layers, unit="word")}
            run(Source(str(path)), folder, model, specs, append=append, shard_bytes=4000)
    add(model, source, tmp_path / "d", "5")  # the other input is found beside the dataset
    assert_same_files(tmp_path / "d", tmp_path / "whole")
    more.unlink()
    with pytest.raises(DatasetError, match=r"more\.txt .* is not here, nor beside .*: put it there \("):
        add(model, source, tmp_path / "d", "6")
    assert verify(tmp_path / "d") == []


def test_a_table_more_is_made_alone(
    model: Extractor, source: Path, tmp_path: Path, computed: list[tuple[int, ...]]
) -> None:
    """Recipes are added by giving the same command with one more."""
    specs = {"texts": lamina.Spec(layers="4"), "words": lamina.Spec(layers="2", unit="word")}
    run(Source(str(source)), tmp_path / "d", model, {"texts": specs["texts"]}, shard_bytes=4000)
    before = files_in(tmp_path / "d" / "texts")
    computed.clear()
    run(Source(str(source)), tmp_path / "d", model, specs, shard_bytes=4000)
    assert set(computed) == {(2,)}
    assert files_in(tmp_path / "d" / "texts") == before
    run(Source(str(source)), tmp_path / "at once", model, specs, shard_bytes=4000)
    assert_same_files(tmp_path / "d", tmp_path / "at once")


def test_the_dataset_is_as_it_was_until_it_is_done(
    model: Extractor, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = extract(model, source, tmp_path / "d", "0")
    seen: list[bool] = []
    real: Callable[..., object] = lamina.dataset.writer.write_whole  # type: ignore[attr-defined]

    def looking(*arguments: object, **options: object) -> object:
        now = lamina.open(tmp_path / "d")
        seen.append(now.manifest == before.manifest and now.layer(0).tobytes() == before.layer(0).tobytes())
        return real(*arguments, **options)

    monkeypatch.setattr("lamina.dataset.writer.write_whole", looking)
    add(model, source, tmp_path / "d", "1")
    assert len(seen) > 1
    assert all(seen)
    assert lamina.open(tmp_path / "d").layers == (0, 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"unit": "text"}, r"another job \(spec was .*unit=word"),
        ({"dtype": "float32"}, r"another job \(spec was .*dtype=float16"),
        ({"dims": 8}, r"another job \(.*width was 48 and is 8"),
        ({"combine": "mean"}, r"another job \(spec was .*combine=none"),
    ],
)
def test_another_job_is_refused_with_the_difference(
    model: Extractor, source: Path, tmp_path: Path, options: dict[str, object], match: str
) -> None:
    extract(model, source, tmp_path / "d", "0")
    before = files_in(tmp_path / "d")
    with pytest.raises(DatasetError, match=match):
        add(model, source, tmp_path / "d", "1,2", **options)
    assert files_in(tmp_path / "d") == before


def test_other_texts_are_refused_by_name(model: Extractor, source: Path, more: Path, tmp_path: Path) -> None:
    extract(model, source, tmp_path / "d", "0")
    with pytest.raises(DatasetError, match=r"was made of other texts \(in\.txt"):
        add(model, more, tmp_path / "d", "1")
    source.write_text(source.read_text() + "changed\n")
    with pytest.raises(DatasetError, match="was made of other texts"):
        add(model, source, tmp_path / "d", "1")


def test_combined_layers_cannot_grow(model: Extractor, source: Path, tmp_path: Path) -> None:
    extract(model, source, tmp_path / "d", "0,1", combine="mean")
    with pytest.raises(SpecError, match="layers combined"):
        add(model, source, tmp_path / "d", "2", combine="mean")


def test_texts_that_were_no_file_cannot_be_read_again(model: Extractor, tmp_path: Path) -> None:
    lamina.extract(["a door"], tmp_path / "d", model=model, layers=0)
    with pytest.raises(DatasetError, match="was made of other texts"):
        lamina.extract(["a door"], tmp_path / "d", model=model, layers=1, add=True)


def test_a_damaged_column_is_not_carried_over(model: Extractor, source: Path, tmp_path: Path) -> None:
    extract(model, source, tmp_path / "d", "0")
    shard = sorted((tmp_path / "d" / "shards").iterdir())[1]
    shard.write_bytes(shard.read_bytes()[:-400])
    with pytest.raises(DatasetError, match=shard.name):
        add(model, source, tmp_path / "d", "1")
    assert lamina.open(tmp_path / "d").layers == (0,)
